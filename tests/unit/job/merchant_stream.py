"""The job of merchants in memory: elements and watermarks in, lines of its sink out."""

from __future__ import annotations

from typing import Any

import cloudpickle
import orjson

from flink_jobs.core.label import Label
from flink_jobs.core.parsing.source_record import SourceRecord, WholePayload
from flink_jobs.job.merchant_operator import DECISION, LABEL, MerchantFunction
from tests.unit.job.fake_runtime import Runtime, TimerService, lines
from tests.unit.job.samples import SENT_AT

MERCHANTS_TOPIC = "streamflow.merchant-risk"


class _Context:
    """The context of a keyed function in thread mode."""

    def __init__(self, key: str, timers: TimerService) -> None:
        self._key, self._timers = key, timers

    def get_current_key(self) -> str:
        return self._key

    def timer_service(self) -> TimerService:
        return self._timers


class MerchantStream:
    """The operator, shipped and opened as Flink does it; give it the runtime of another one to restore."""

    def __init__(self, runtime: Runtime | None = None) -> None:
        self.runtime = runtime or Runtime()
        self.timers = TimerService(self.runtime.backend)
        self.function: MerchantFunction = cloudpickle.loads(cloudpickle.dumps(MerchantFunction(180)))
        self.function.open(self.runtime.context())

    def decide(self, decision: dict[str, Any]) -> list[dict[str, Any]]:
        """Process a decision under its merchant, and return the rows."""
        return self._element(decision["merchant"], DECISION, orjson.dumps(decision))

    def label(self, label: Label) -> list[dict[str, Any]]:
        """Process a label under its merchant, and return the rows."""
        return self.raw_label(orjson.dumps(label.document()), label.merchant or "")

    def raw_label(self, payload: bytes, merchant: str = "") -> list[dict[str, Any]]:
        """Process any bytes of the topic of labels."""
        return self._element(merchant, LABEL, payload)

    def advance(self, watermark_ms: int) -> list[dict[str, Any]]:
        """Fire the timers up to a watermark, and those that they set, and return the rows."""
        rows: list[dict[str, Any]] = []
        self.timers.watermark = max(self.timers.watermark, watermark_ms)
        while due := sorted(item for item in self.timers.event_timers if item[0] <= watermark_ms):
            timestamp, key = due[0]
            self.timers.event_timers.discard(due[0])
            self.runtime.backend.current_key = key
            rows += _documents(self.function.on_timer(timestamp, _Context(key, self.timers)))
        return rows

    def _element(self, key: str, origin: str, payload: bytes) -> list[dict[str, Any]]:
        self.runtime.backend.current_key = key
        value = origin + payload.decode("latin-1")
        return _documents(self.function.process_element(value, _Context(key, self.timers)))


def row_record(row: dict[str, Any] | bytes) -> SourceRecord:
    """Return a record of the topic of rows, as the detector's source marks it."""
    payload = row if isinstance(row, bytes) else orjson.dumps(row)
    whole = WholePayload(len(payload), "", is_action=True)
    return SourceRecord(payload, 0, 0, SENT_AT, "", "", MERCHANTS_TOPIC, whole)


def _documents(output: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - what a PyFlink function yields
    documents = []
    for key, value in lines(output):
        document = orjson.loads(value)
        assert key == document["merchant"]
        documents.append(document)
    return documents
