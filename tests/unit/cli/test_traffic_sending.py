from __future__ import annotations

import json

import pytest

from flink_jobs.cli.traffic_sending import progress_report


def test_progress_for_programs_is_one_json_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress_report(log_json=True)("delivered", "     1,000 delivered", records=1_000, per_s=250.0)
    out, err = capsys.readouterr()
    assert out == "", "standard output is for results"
    line = json.loads(err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "delivered", "level": "info", "records": 1_000, "per_s": 250.0}


def test_progress_for_people_is_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("flink_jobs.cli.traffic_sending.say", said.append)
    progress_report(log_json=False)("delivered", "1,000 delivered", records=1_000)
    assert said == ["1,000 delivered"]
