"""Flink's log configuration in the manifests, in the log4j that Flink ships: JSON lines without card numbers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from flink_jobs.local import checkout
from tests.lab.platform.k8s_manifests import Manifest, of_kind

FILE = "log4j-console.properties"
CARD = "4111111111111111"
PROGRAM = """
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
class Canary {
    public static void main(String[] arguments) {
        Logger log = LoggerFactory.getLogger("org.apache.flink.Canary");
        log.info("checkpoint 5 of job 00000000000000000000000000000000 at 1700000000000");
        log.warn("card 4111111111111111, 4111 1111 1111 1111, 5500-0000-0000-0004");
        RuntimeException cause = new RuntimeException("4111 1111 1111 1111");
        log.error("it failed", new IllegalStateException("row 4111111111111111", cause));
        LoggerFactory.getLogger("org.apache.flink.client.python.PythonEnvUtils").info("PASSWORD=canary-password");
    }
}
"""


def flink_lines(overlays: Mapping[str, list[Manifest]], tmp_path: Path) -> str:
    """Return what the program logs with the configuration of the manifests."""
    configurations = {item["spec"]["logConfiguration"][FILE] for item in of_kind(overlays["prod"], "FlinkDeployment")}
    (text,) = configurations
    (tmp_path / FILE).write_text(text)
    (tmp_path / "Canary.java").write_text(PROGRAM)
    options = ["-cp", f"{checkout.FLINK_HOME / 'lib'}/*", f"-Dlog4j2.configurationFile={tmp_path / FILE}"]
    done = subprocess.run(["java", *options, "Canary.java"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_flinks_log_lines_have_the_schema_and_no_card_numbers(
    overlays: Mapping[str, list[Manifest]], tmp_path: Path
) -> None:
    written = flink_lines(overlays, tmp_path)
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["level"] for line in lines] == ["info", "warn", "error"]
    for line in lines:
        assert {"timestamp", "level", "component", "logger", "event"} <= line.keys()
        assert line["timestamp"].endswith("Z")
    assert CARD not in written.replace(" ", "").replace("-", "")
    assert "canary-password" not in written
    assert lines[0]["event"] == "checkpoint 5 of job 00000000000000000000000000000000 at 1700000000000"
    assert lines[1]["event"] == "card [card number], [card number], [card number]"
    assert lines[2]["error"]["type"] == "java.lang.IllegalStateException"
    assert "Caused by: java.lang.RuntimeException: [card number]" in lines[2]["stack"]
