"""The job of merchants in memory: elements and watermarks in, lines of its sink out."""

from __future__ import annotations

from typing import Any

import cloudpickle
import orjson

from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.label import Label
from flink_jobs.core.merchants.keys import entity_key
from flink_jobs.core.merchants.row import EntityRow, parse_row
from flink_jobs.core.merchants.start import STARTS_KEY, EntityStart, parse_message
from flink_jobs.core.parsing.source_record import SourceRecord, WholePayload
from flink_jobs.job.merchant_operator import BEAT, CODES, DECISION, FIELDS, LABEL, MerchantFunction
from tests.unit.job.fake_runtime import Runtime, TimerService, lines
from tests.unit.job.samples import SENT_AT

MERCHANTS_TOPIC = "streamflow.merchant-risk"


class _Context:
    """The context of a keyed function in thread mode."""

    def __init__(self, key: str, timers: TimerService, timestamp: int | None = None) -> None:
        self._key, self._timers, self._timestamp = key, timers, timestamp

    def timestamp(self) -> int:
        assert self._timestamp is not None, "only a beat has a time here"
        return self._timestamp

    def get_current_key(self) -> str:
        return self._key

    def timer_service(self) -> TimerService:
        return self._timers


class MerchantStream:
    """The operator, shipped and opened as Flink does it; give it the runtime of another one to restore."""

    def __init__(
        self,
        runtime: Runtime | None = None,
        entities: tuple[Entity, ...] = (Entity.MERCHANT,),
        *,
        is_short_history_accepted: bool = False,
        origin: str = DECISION,
    ) -> None:
        self.entities, self._origin = entities, origin
        self.runtime = runtime or Runtime()
        self.timers = TimerService(self.runtime.backend)
        function = MerchantFunction(180, self.entities, is_short_history_accepted=is_short_history_accepted)
        self.function: MerchantFunction = cloudpickle.loads(cloudpickle.dumps(function))
        self.function.open(self.runtime.context())

    def decide(self, decision: dict[str, Any]) -> list[dict[str, Any]]:
        """Process a decision under each of its entities, and return the rows."""
        named = [(entity, name) for entity in self.entities if (name := decision.get(entity)) is not None]
        if self._origin == FIELDS:
            common = "\n".join(str(decision[name]) for name in ("event_time_ms", "amount_minor", "currency"))
            return [row for entity, name in named for row in self._send(entity, name, f"{common}\n{name}", FIELDS)]
        payload = orjson.dumps(decision)
        return [row for entity, name in named for row in self._element(entity, name, payload)]

    def beat(self, time_ms: int) -> list[EntityStart]:
        """Process a beat at an event time, and return the starts that it publishes."""
        self.runtime.backend.current_key = STARTS_KEY
        output = list(lines(self.function.process_element(BEAT, _Context(STARTS_KEY, self.timers, time_ms))))
        starts = [parse_message(value.encode()) for _, value in output]
        assert all(isinstance(start, EntityStart) for start in starts)
        found = [start for start in starts if isinstance(start, EntityStart)]
        assert [key for key, _ in output] == [start.key for start in found]
        return found

    def label(self, label: Label) -> list[dict[str, Any]]:
        """Process a label under each of its entities, and return the rows."""
        return self.raw_label(orjson.dumps(document := label.document()), dict(document))

    def raw_label(self, payload: bytes, named: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Process any bytes of the topic of labels; a label without an id comes under the key of no id."""
        ids = [(entity, (named or {}).get(entity) or "") for entity in self.entities]
        return [row for entity, name in ids for row in self._element(entity, name, payload, LABEL)]

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

    def _element(self, entity: Entity, name: str, payload: bytes, origin: str = DECISION) -> list[dict[str, Any]]:
        return self._send(entity, name, payload.decode("latin-1"), origin)

    def _send(self, entity: Entity, name: str, text: str, origin: str) -> list[dict[str, Any]]:
        self.runtime.backend.current_key = key = entity_key(entity, name)
        value = origin + CODES[entity] + text
        return _documents(self.function.process_element(value, _Context(key, self.timers)))


def row_record(row: dict[str, Any] | bytes, key: str = "") -> SourceRecord:
    """Return a record of the topic of rows, marked as by the detector's source; the key matters for other bytes."""
    payload = row if isinstance(row, bytes) else orjson.dumps(row)
    whole = WholePayload(len(payload), "", is_action=True)
    return SourceRecord(payload, 0, 0, SENT_AT, "", key, MERCHANTS_TOPIC, whole)


def _documents(output: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - what a PyFlink function yields
    documents = []
    for key, value in lines(output):
        row = parse_row(value.encode())
        assert isinstance(row, EntityRow)
        assert key == row.key
        documents.append(orjson.loads(value))
    return documents
