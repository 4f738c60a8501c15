"""Input of the Java tests of the batched crossing: the pickled detector, transactions with faults, control messages."""

from __future__ import annotations

import hashlib
import itertools
import struct
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle
import orjson

from flink_jobs.core.dead_letters.letter import MAX_PAYLOAD_KEPT_BYTES
from flink_jobs.core.parsing.source_record import SourceRecord, WholePayload
from flink_jobs.core.parsing.transactions import MAX_PAYLOAD_BYTES
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.job.detector.operator_settings import DetectorSettings
from flink_jobs.traffic.faults import FaultPlan, with_faults
from flink_jobs.traffic.simulate import SimulationPlan, simulate
from tests.account_samples import ACTIONS_TOPIC, action, action_record
from tests.packed_batches import pack_line
from tests.strategies import TOPIC
from tests.unit.job.samples import CONTROL_TOPIC, SENT_AT, control

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

EVENTS = 1_200
CONTROL_AT = (200, 900)
"""A control message comes before the records with these numbers, and one more after half of all records."""


def detector_settings(models: Path) -> DetectorSettings:
    """Return settings with the only model of a folder."""
    (version,) = [path.name for path in models.iterdir() if path.is_dir()]
    return DetectorSettings(
        transactions_topic=TOPIC,
        control_topic=CONTROL_TOPIC,
        actions_topic=ACTIONS_TOPIC,
        replies_topic="streamflow.replies",
        reply_routes=("a", "b"),
        are_alerts_at_once=True,
        model_dir=str(models),
        model_version=version,
        execution_mode="thread",
        state_ttl_days=90,
        state_cache_customers=100,
        model_budget_ms=10_000,
    )


def transactions(events: int, plan: FaultPlan) -> Iterator[SourceRecord]:
    """Yield records with faults, routed as the source routes them; one customer is called as records without an id."""
    sent = with_faults(simulate(SimulationPlan(customers=60)), plan)
    odd: bytes | None = None
    for offset, item in enumerate(itertools.islice(sent, events)):
        odd = item.key if odd is None else odd
        value = None if item.value is None else item.value.replace(b'"%b"' % odd, b'"unroutable-1"')
        whole = None
        if value is not None and len(value) > MAX_PAYLOAD_BYTES:
            whole = WholePayload(len(value), hashlib.sha256(value).hexdigest())
            value = value[:MAX_PAYLOAD_KEPT_BYTES]
        headers = _request(offset) if offset % 7 == 0 else ""
        yield SourceRecord(
            value, 0, offset, SENT_AT, headers, _routing_key(value if whole is None else None, offset), TOPIC, whole
        )


def _request(number: int) -> str:
    """Return headers that ask for a reply."""
    values = {"streamflow-reply-to": b"streamflow.replies", "streamflow-request-id": b"r-%d" % number}
    return orjson.dumps({name: b64encode(value).decode() for name, value in values.items()}).decode()


def _routing_key(value: bytes | None, offset: int) -> str:
    try:
        key = orjson.loads(value or b"")["customer_id"]
    except (ValueError, TypeError, KeyError, IndexError):
        key = None
    return key.replace("\n", " ") if isinstance(key, str) else f"unroutable-{offset}"


def with_control(records: list[SourceRecord]) -> Iterator[SourceRecord]:
    """Yield the records with control messages and actions between them; the last control message is refused."""
    for number, record in enumerate(records):
        if number in CONTROL_AT:
            yield control({"alert_threshold": 0.3 + number / 10_000}, f"ctl-{number}", offset=number)
        if number == 2 * len(records) // 3:
            yield control({"alert_threshold": 7}, "ctl-refused", offset=number)
        if number % 40 == 7:
            yield action_record(
                action(("block", "allow", "watch", "clear")[number // 40 % 4], record.routing_key), offset=number
            )
        if number % 400 == 9:
            yield action_record(b"{", offset=number)
        yield record


def write_records(path: Path, records: Iterable[SourceRecord]) -> None:
    """Write key and packed bytes of each record with their lengths; control messages have an empty key."""
    with path.open("wb") as file:
        for record in records:
            for field in (record.routing_key.encode(), pack_line(record)):
                file.write(struct.pack(">i", len(field)) + field)


def write_input(folder: Path, models: Path) -> None:
    """Write all files that the Java tests read."""
    settings = detector_settings(models)
    for name, cached in (
        ("function", settings),
        ("function-without-cache", replace(settings, state_cache_customers=0)),
    ):
        (folder / f"{name}.pickle").write_bytes(cloudpickle.dumps(FraudDetectorFunction(cached)))
    faults = FaultPlan(malformed=0.1, duplicates=0.1)
    write_records(folder / "inputs.bin", with_control(list(transactions(EVENTS, faults))))
    write_records(folder / "transactions.bin", transactions(200, FaultPlan(malformed=0.0)))
