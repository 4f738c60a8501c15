"""The schemas of a running job: loaded at the start, refreshed by a thread, and no record waits for them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.transaction import Rejection, Transaction
from flink_jobs.job.detector import schemas as schemas_module
from flink_jobs.job.detector.detector_metrics import DetectorMetrics
from flink_jobs.job.detector.schemas import JobSchemas, SchemaSettings
from flink_jobs.kafka.registry_access import RegistryAccess
from flink_jobs.kafka.schema_registry import subject_of
from flink_jobs.metrics import catalogue
from flink_jobs.waiting import wait_for
from tests.avro_samples import READER, avro, body, framed, our_schema
from tests.registry_server import RegistryServer
from tests.strategies import NOW_MS
from tests.unit.job.fake_runtime import MetricGroup, Runtime
from tests.unit.job.samples import transaction

SUBJECT = subject_of("streamflow.transactions")
OURS = json.dumps(our_schema())
DOCUMENT: dict[str, Any] = transaction()


class Job:
    """An open ``JobSchemas`` with its metrics."""

    def __init__(self, settings: SchemaSettings | None) -> None:
        self.runtime = Runtime()
        self.metrics = DetectorMetrics(MetricGroup(self.runtime.metrics))
        self.schemas = JobSchemas(settings, self.metrics).open()

    def reason(self, schema_id: int) -> DeadLetterReason | None:
        """Return the reason why a record of a schema is rejected, ``None`` if it is a transaction."""
        answer = self.schemas.parse(framed(body(DOCUMENT, our_schema()), schema_id), NOW_MS)
        assert isinstance(answer, Transaction | Rejection)
        return answer.reason if isinstance(answer, Rejection) else None

    def faults(self) -> int | None:
        self.metrics.flush(NOW_MS)
        return self.runtime.count(catalogue.SCHEMA_REGISTRY_FAULTS.name)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryServer]:
    monkeypatch.setattr(schemas_module, "REFRESH_S", 0.02)
    monkeypatch.setattr(schemas_module, "FIRST_LOAD_S", 10.0)
    with RegistryServer() as running:
        yield running


def settings(place: str, known: tuple[tuple[int, str], ...] = ()) -> SchemaSettings:
    return SchemaSettings(RegistryAccess(place), SUBJECT, READER, known)


def test_the_schemas_are_loaded_before_the_first_record_and_later_ones_follow(server: RegistryServer) -> None:
    first = server.register(SUBJECT, OURS)
    job = Job(settings(server.url))
    assert job.reason(first) is None
    assert job.reason(first + 1) is DeadLetterReason.UNKNOWN_SCHEMA
    second = server.register(SUBJECT, json.dumps({**our_schema(), "doc": "another"}))
    third = server.register(SUBJECT, '"string"')
    wait_for(lambda: job.reason(second) is None, limit_s=120, what="the second schema")
    wait_for(lambda: job.reason(third) is DeadLetterReason.INCOMPATIBLE_SCHEMA, limit_s=120, what="the third schema")
    assert job.faults() == 0
    assert job.runtime.gauge(catalogue.WRITER_SCHEMAS.name) == 3
    job.schemas.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "schemas"]


def test_a_registry_that_is_away_blocks_nothing_and_known_schemas_stay(server: RegistryServer) -> None:
    server.status, server.body = 503, b"{}"
    job = Job(settings(server.url, ((7, OURS),)))
    assert job.reason(7) is None
    assert job.reason(1) is DeadLetterReason.UNKNOWN_SCHEMA
    wait_for(lambda: (job.faults() or 0) > 0, limit_s=120, what="a counted fault")
    server.register(SUBJECT, OURS)
    server.status, server.body = 200, None
    wait_for(lambda: job.reason(1) is None, limit_s=120, what="the schema of the registry")
    assert job.reason(7) is None
    job.schemas.close()


def test_a_folder_is_read_like_a_registry(server: RegistryServer, tmp_path: Path) -> None:
    (tmp_path / "3.avsc").write_text(OURS)
    job = Job(settings(str(tmp_path)))
    assert job.reason(3) is None
    (tmp_path / "4.avsc").write_text(OURS)
    wait_for(lambda: job.reason(4) is None, limit_s=120, what="the second file")
    job.schemas.close()
    assert server.paths == []


def test_without_a_registry_every_avro_record_has_an_unknown_schema() -> None:
    job = Job(None)
    assert job.reason(7) is DeadLetterReason.UNKNOWN_SCHEMA
    assert job.schemas.parse(avro(DOCUMENT), NOW_MS) == job.schemas.parse(avro(DOCUMENT), NOW_MS)
    job.schemas.close()
