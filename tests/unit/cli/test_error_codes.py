"""The code of an error names the cause, whatever part of the program reports it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.dead_letters.redrive_audit import open_redrives
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.flink.rest import FlinkRest
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.errors import denied, unreachable, wrong_password
from flink_jobs.local.ports import free_ports
from flink_jobs.model_registry.versions import open_registry
from flink_jobs.settings import ENV_PREFIX, Settings, load_settings
from ml.history.connection import warehouse

BROKER = Broker("b:1")


@pytest.mark.parametrize("connect", [open_redrives, open_registry, warehouse])
def test_a_postgres_that_does_not_answer(connect: object) -> None:
    (port,) = free_ports(1)
    assert callable(connect)
    with pytest.raises(UserError) as error, connect(f"host=127.0.0.1 port={port} user=u password=p"):
        pass
    assert error.value.code is ErrorCode.POSTGRES_UNREACHABLE


def test_a_flink_that_does_not_answer() -> None:
    with pytest.raises(UserError) as error:
        FlinkRest(f"http://127.0.0.1:{free_ports(1)[0]}").jobs()
    assert error.value.code is ErrorCode.FLINK_UNREACHABLE


def test_a_kafka_that_does_not_answer_or_denies_access() -> None:
    assert unreachable(BROKER, "timeout").code is ErrorCode.KAFKA_UNREACHABLE
    assert wrong_password(BROKER).code is ErrorCode.KAFKA_DENIED
    assert denied(BROKER, "no right").code is ErrorCode.KAFKA_DENIED


def test_missing_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)
    with pytest.raises(UserError) as error:
        load_settings(tmp_path)
    assert error.value.code is ErrorCode.SETTINGS_INVALID
