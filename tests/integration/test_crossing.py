"""The batched crossing in Flink's own test harness: the tests of ``flink_jobs/crossing``, run by Maven."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyflink.fn_execution.flink_fn_execution_pb2 import UserDefinedDataStreamFunction

from flink_jobs.job.detector.batch_runner import SIDE_OUTPUTS
from flink_jobs.local import checkout, toolchain
from flink_jobs.settings import REPO_ROOT
from tests.integration.crossing_input import write_input
from tests.unit.job.samples import write_model

MODULE = REPO_ROOT / "flink_jobs" / "crossing"


@pytest.mark.slow
def test_the_java_tests_pass(tmp_path: Path) -> None:
    """Both operators over the real detector: outputs, snapshots, flush rules, failures, time to live."""
    models = tmp_path / "models"
    write_model(models, "v1")
    (models / "staging").rmdir()
    write_input(tmp_path, models)
    command = [
        "mvn", "--batch-mode", "--quiet", "--file", str(MODULE / "pom.xml"), "--activate-profiles", "harness",
        f"-Dflink.lib={checkout.FLINK_LIB}",
        f"-Dbuild.folder={tmp_path / 'build'}",
        f"-Dstreamflow.input={tmp_path}",
        f"-Dstreamflow.python={sys.executable}",
        f"-Dstreamflow.sideOutputs={','.join(SIDE_OUTPUTS)}",
        f"-Dstreamflow.functionType={UserDefinedDataStreamFunction.KEYED_CO_BROADCAST_PROCESS}",
        "test",
    ]  # fmt: skip
    env = {**os.environ, "JAVA_HOME": str(toolchain.find_java()), "PYTHONPATH": checkout.python_path()}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    reports = list((tmp_path / "build" / "surefire-reports").glob("*.txt"))
    assert len(reports) == len(list(MODULE.glob("src/test/java/**/*Test.java")))
