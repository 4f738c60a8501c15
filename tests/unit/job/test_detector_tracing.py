"""Spans of the detector and the archive: which records get one, what it contains, and what it never contains."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.probability import ProbabilityCurve
from flink_jobs.job.archiver.tracing import ArchiveTracer, context_of
from flink_jobs.job.detector import batch_runner
from flink_jobs.job.detector.batch_runner import PROTOCOL, BatchRunner, take_runner
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.local.ports import free_ports
from flink_jobs.tracing.target import TraceTarget
from tests.contract.conftest import StrictValidator
from tests.otlp_receiver import Receiver, receiving
from tests.packed_batches import pack_batch, read_answer
from tests.unit.core.evaluation import FixedModel
from tests.unit.job.fake_runtime import Clock, Operator, Runtime, lines
from tests.unit.job.samples import record, settings, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CUSTOMER, CARD = "customer-canary", "4111111111111111"


class NoStates:
    def read(self, index: int) -> bytes | None:  # noqa: ARG002
        return None


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def same_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_runner, "time", clock)


def traced(item: SourceRecord, flags: str = "01") -> SourceRecord:
    """Return a record with the context of a trace."""
    value = b64encode(f"00-{TRACE_ID}-{SPAN_ID}-{flags}".encode()).decode()
    return item._replace(headers=orjson.dumps({"traceparent": value}).decode())


def opened(target: TraceTarget | None, runtime: Runtime | None = None) -> Operator:
    return Operator(FraudDetectorFunction(replace(settings(), traces=target)), runtime)


def batched(target: TraceTarget | None) -> tuple[Operator, BatchRunner]:
    operator = opened(target)
    return operator, take_runner(NoStates(), PROTOCOL)


def document(line: str) -> dict[str, Any]:
    ((_, value),) = lines([line])
    found: dict[str, Any] = orjson.loads(value)
    return found


def purchase(name: str, **fields: object) -> SourceRecord:
    return record(transaction(name, CUSTOMER, merchant=f"paid with {CARD}", **fields))


def test_a_record_of_a_sampled_trace_has_a_span_and_its_decision_the_context(receiver: Receiver) -> None:
    runtime = Runtime()
    detector = opened(receiver.target, runtime)
    (line,) = detector.send(traced(purchase("t-1"))).main
    detector.function.close()
    detector.function._metrics.flush(0)
    (span,) = receiver.spans
    decision = document(line)
    assert list(StrictValidator(load_contracts()["decisions"].schema(4)).iter_errors(decision)) == []
    assert (decision["schema_version"], decision["traceparent"]) == (4, f"00-{TRACE_ID}-{span.span_id}-01")
    assert (span.service, span.name, span.kind) == ("streamflow-detect", "score transaction", "consumer")
    assert (span.trace_id, span.parent_id) == (TRACE_ID, SPAN_ID)
    attributes = span.attributes
    assert attributes["streamflow.waited_ms"] == 120
    assert (attributes["messaging.destination.partition.id"], attributes["messaging.kafka.offset"]) == ("2", 7)
    assert attributes["streamflow.score_band"] == "0.0-0.1"
    assert (attributes["streamflow.outcome"], attributes["streamflow.is_alert"]) == ("decided", False)
    assert (attributes["streamflow.model"], attributes["streamflow.model_version"]) == ("degraded", "")
    assert runtime.count("spans", outcome="sent") == 1
    assert runtime.count("spans", outcome="dropped") == 0


def test_a_decision_with_a_probability_keeps_its_version_beside_the_context(receiver: Receiver) -> None:
    detector = opened(receiver.target)
    model = FixedModel(0.1)
    model.probability = ProbabilityCurve(0.6, [0.0, 1.0], [0.001, 0.501])
    detector.function._evaluator.lineup.use_champion(model)
    (line,) = detector.send(traced(purchase("t-1"))).main
    detector.function.close()
    decision = document(line)
    assert list(StrictValidator(load_contracts()["decisions"].schema(5)).iter_errors(decision)) == []
    assert decision["schema_version"] == 5
    assert {"traceparent", "fraud_probability"} <= decision.keys()


def test_a_span_contains_no_card_data(receiver: Receiver) -> None:
    detector = opened(receiver.target)
    detector.send(traced(purchase("transaction-canary")))
    detector.send(traced(purchase("transaction-canary")))
    detector.send(traced(purchase("t-2", amount_minor=-77_777)))
    detector.function.close()
    assert [span.attributes["streamflow.outcome"] for span in receiver.spans] == ["decided", "duplicate", "rejected"]
    assert receiver.spans[2].attributes["streamflow.reason"] == "NEGATIVE_AMOUNT"
    text = repr(receiver.spans)
    assert [word for word in (CUSTOMER, CARD, "canary", "77777", "77_777", "-777") if word in text] == []


@pytest.mark.parametrize("flags", ["00", ""])
def test_other_records_have_no_span_and_the_same_decision(receiver: Receiver, flags: str) -> None:
    item = traced(purchase("t-1"), flags) if flags else purchase("t-1")
    detector = opened(receiver.target)
    with_traces = detector.send(item)
    detector.function.close()
    assert receiver.spans == []
    assert with_traces == opened(None).send(purchase("t-1"))
    assert document(with_traces.main[0])["schema_version"] == 2


def test_without_a_receiver_a_sampled_record_is_like_any_other() -> None:
    assert opened(None).send(traced(purchase("t-1"))) == opened(None).send(purchase("t-1"))


def test_the_spans_of_a_batch_have_a_link_to_it(receiver: Receiver) -> None:
    detector, runner = batched(receiver.target)
    for names in (("t-1", "t-2", "t-3"), ("t-4",)):
        records = [purchase(name, customer_id=f"{CUSTOMER}-{name}") for name in names]
        records = [item if name == "t-2" else traced(item) for name, item in zip(names, records, strict=True)]
        answer = read_answer(runner.process(pack_batch(records, [b""] * len(records))))
        versions = [document(text)["schema_version"] for _, tag, text in answer.outputs if tag == 0]
        assert versions == [2 if name == "t-2" else 4 for name in names]
    runner.process(pack_batch([purchase("t-5")], [None]))
    detector.function.close()
    batches = receiver.named("score batch")
    assert [span.attributes["messaging.batch.message_count"] for span in batches] == [3, 1]
    links = [span.links for span in receiver.named("score transaction")]
    first, second = [(span.trace_id, span.span_id) for span in batches]
    assert links == [[first], [first], [second]]


def test_a_receiver_that_is_away_costs_spans_and_no_decision() -> None:
    (port,) = free_ports(1)
    runtime = Runtime()
    detector = opened(TraceTarget(f"http://127.0.0.1:{port}"), runtime)
    assert len(detector.send(traced(purchase("t-1"))).main) == 1
    detector.function.close()
    detector.function._metrics.flush(0)
    assert runtime.count("spans", outcome="dropped") == 1


def test_the_archive_makes_a_span_of_each_decision_with_a_context(receiver: Receiver) -> None:
    decision = orjson.dumps({"merchant": 'x"traceparent":"00-', "traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}).decode()
    refused = decision.replace(SPAN_ID, "1" * 16)
    tracer = ArchiveTracer(receiver.target)
    plain = orjson.dumps({"merchant": f'x"traceparent":"00-{TRACE_ID}-{SPAN_ID}-01"'}).decode()
    tracer.written([plain, decision, refused, "{"], {2}, 1_000, 2_000)
    tracer.close()
    assert tracer.news() == (2, 0)
    assert tracer.news() == (0, 0)
    assert [(span.parent_id, span.is_error) for span in receiver.spans] == [(SPAN_ID, False), ("1" * 16, True)]
    span = receiver.spans[0]
    assert (span.service, span.name, span.start_ns, span.end_ns) == (
        "streamflow-archive",
        "archive decision",
        1_000,
        2_000,
    )
    assert span.attributes["db.operation.batch.size"] == 4
    assert context_of(plain) is None
