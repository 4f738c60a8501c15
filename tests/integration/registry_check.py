"""Avro with a real registry: Apicurio, started by the stack. `make registry-check` runs this, in about two minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flink_jobs.kafka.schema_registry import RegistryError, call, register, subject_of
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import wait_for
from tests.avro_samples import our_schema
from tests.integration import avro_client, jobs
from tests.stack_folder import stack_folder
from tests.unit.job.samples import write_model

AVRO = 20
SUBJECT = subject_of(f"{jobs.PREFIX}.transactions")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with stack_folder("registry") as folder:
        stack = Stack(folder / "home")
        try:
            stack.up(["postgres", "kafka", "flink", "registry"], taskmanagers=1)
            yield stack
        finally:
            stack.down(wipe=True)


def test_schemas_are_registered_and_a_confluent_client_uses_them(stack: Stack, tmp_path: Path) -> None:
    """The command registers; the registry refuses a breaking schema; a client's records are decided, and come back."""
    settings = stack.settings()
    access = settings.registry()
    assert access is not None
    command = [sys.executable, "-m", "flink_jobs.cli", "schemas", "register", "--output", "json"]
    env = {**os.environ, "STREAMFLOW_HOME": str(stack.home.root)}
    for _ in range(2):
        done = subprocess.run(command, env=env, cwd=REPO_ROOT, capture_output=True, text=True, check=True)
    registered = json.loads(done.stdout)
    assert [item["subject"] for item in registered] == [SUBJECT, SUBJECT], "versions 1 and 2 of the contract"
    assert call(access, f"subjects/{SUBJECT}/versions") == [1, 2], "registering twice changes nothing"

    breaking = our_schema()
    breaking["fields"].append({"name": "shelf", "type": "string"})
    with pytest.raises(RegistryError) as refused:
        register(access, SUBJECT, json.dumps(breaking), "FULL_TRANSITIVE")
    assert refused.value.status == 409
    breaking["fields"][-1] = {"name": "shelf", "type": ["null", "string"], "default": None}
    newer = json.dumps(breaking)
    register(access, SUBJECT, newer, "FULL_TRANSITIVE")

    write_model(tmp_path, "v1")
    environment = {
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "500",
        "STREAMFLOW_MODEL_DIR": str(tmp_path),
        "STREAMFLOW_MODEL_VERSION": "v1",
        "STREAMFLOW_SCHEMA_REGISTRY": access.place,
    }
    with jobs.running_job(stack, "detect", environment):
        avro_client.send(stack, access.place, jobs.PREFIX, AVRO, schema=newer)
        wait_for(lambda: len(jobs.committed(stack, "decisions")) == AVRO, limit_s=240, what="the decisions")
        letters = avro_client.dead_letters(stack, jobs.PREFIX)
    assert letters == avro_client.REASONS
