"""The Python side of the batched crossing gives what the function gives for one record at a time."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.job.detector import batch_runner
from flink_jobs.job.detector.batch_runner import PROTOCOL, SIDE_OUTPUTS, BatchRunner, take_runner
from flink_jobs.job.detector.detector_metrics import FLUSH_MS
from flink_jobs.settings import REPO_ROOT
from tests.account_samples import action, action_record
from tests.packed_batches import Answer, pack_batch, read_answer
from tests.unit.job.fake_runtime import Clock, Counter, Outputs, Runtime
from tests.unit.job.samples import control, detector, record, transaction, write_model


@pytest.fixture(autouse=True)
def same_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runner use the clock of the function."""
    monkeypatch.setattr(batch_runner, "time", clock)


class Backend:
    """Java's side: the stored states by customer, and which of them Java was asked for."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.batch: list[SourceRecord] = []
        self.asked: list[int] = []

    def read(self, index: int) -> bytes | None:
        self.asked.append(index)
        return self.stored.get(self.batch[index].routing_key)

    def run(self, runner: BatchRunner, records: list[SourceRecord], *, sends: bool = True) -> Answer:
        """Run a batch; the state of each customer comes with the first record, or not at all."""
        self.batch, seen, states = records, set[str](), list[bytes | None]()
        for item in records:
            first = item.routing_key not in seen
            seen.add(item.routing_key)
            states.append(self.stored.get(item.routing_key, b"") if sends and first else None)
        answer = read_answer(runner.process(pack_batch(records, states)))
        self.stored |= answer.states
        return answer

    def barrier(self, runner: BatchRunner) -> None:
        """Store every state, as Java does before a barrier."""
        self.stored |= read_answer(runner.unsaved()).states


def opened(backend: Backend, model_dir: Path | str = "/nowhere", model_version: str | None = None) -> BatchRunner:
    """Return the runner of an open detector."""
    detector(model_dir, model_version)
    return take_runner(backend, PROTOCOL)


def by_output(answer: Answer) -> Outputs:
    outputs = Outputs()
    for _, tag, text in answer.outputs:
        (outputs.side[SIDE_OUTPUTS[tag - 1]] if tag else outputs.main).append(text)
    return outputs


def samples() -> list[SourceRecord]:
    good = [transaction(f"t-{number}", f"c-{number % 3}", amount_minor=100 + number) for number in range(9)]
    wild = transaction("t-wild", "c-1", amount_minor=9_999_999)
    payloads: list[dict[str, Any] | bytes | None] = [
        *good,
        good[4],
        wild,
        b"{",
        None,
        good[5],
        transaction("t-last", "c-2"),
    ]
    sent = [record(payload, offset=offset) for offset, payload in enumerate(payloads)]
    block = action_record(action("block", customer="c-1"), offset=0)
    return [*sent[:4], block, *sent[4:], block, action_record(b"{", offset=1)]


@pytest.mark.parametrize("sends", [True, False])
def test_outputs_and_states_are_those_of_the_function(tmp_path: Path, *, sends: bool) -> None:
    write_model(tmp_path, "v1")
    single, backend = detector(tmp_path, "v1"), Backend()
    runner = opened(backend, tmp_path, "v1")
    expected = Outputs()
    for item in samples():
        outputs = single.send(item)
        expected.main += outputs.main
        for name, lines in outputs.side.items():
            expected.side[name] += lines
    answer = backend.run(runner, samples(), sends=sends)
    backend.barrier(runner)
    assert by_output(answer) == expected
    assert {key: pickle.loads(state) for key, state in backend.stored.items()} == single.state.values  # noqa: S301
    assert expected.side["dead-letters"]
    assert answer.size == len(samples())


def test_the_next_batch_needs_no_state_of_a_decoded_customer() -> None:
    backend = Backend()
    runner = opened(backend)
    backend.run(runner, [record(transaction("t-1"))])
    backend.run(runner, [record(transaction("t-2"))], sends=False)
    assert backend.asked == []


def test_java_is_asked_for_a_state_that_has_left_the_cache() -> None:
    """The cache has two places: the state of the first customer is encoded when it leaves."""
    backend = Backend()
    runner = opened(backend)
    customers = [record(transaction(f"t-{customer}", customer)) for customer in ("c-1", "c-2", "c-3")]
    answer = backend.run(runner, customers)
    assert answer.states.keys() == {"c-1"}
    assert answer.forgotten == []
    backend.run(runner, [record(transaction("t-4"))], sends=False)
    assert backend.asked == [0]


def test_a_duplicate_leaves_the_state_decoded() -> None:
    backend = Backend()
    runner = opened(backend)
    backend.run(runner, [record(transaction("t-1"))])
    answer = backend.run(runner, [record(transaction("t-1")), record(transaction("t-1"))], sends=False)
    assert (answer.forgotten, backend.asked) == ([], [])
    assert len(by_output(answer).side["dead-letters"]) == 2


def test_a_rejected_record_is_forgotten() -> None:
    answer = Backend().run(opened(Backend()), [record(b"{"), record(transaction()), record(None)])
    assert answer.forgotten == [0, 2]


def test_a_state_is_encoded_at_the_barrier_and_not_before() -> None:
    backend = Backend()
    runner = opened(backend)
    for number in range(5):
        assert backend.run(runner, [record(transaction(f"t-{number}"))]).states == {}
    backend.barrier(runner)
    assert backend.stored.keys() == {"c-1"}
    backend.stored.clear()
    backend.barrier(runner)
    assert backend.stored == {}


def test_the_oldest_of_too_many_unsaved_states_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_runner, "MOST_UNSAVED", 1)
    backend = Backend()
    answer = backend.run(opened(backend), [record(transaction("t-1", "c-1")), record(transaction("t-2", "c-2"))])
    assert answer.states.keys() == {"c-1"}
    assert backend.asked == []


@pytest.mark.parametrize("sends", [True, False])
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.sampled_from(["", "damaged"])), max_size=9),
        max_size=6,
    ),
    afterwards=st.lists(st.sampled_from(["", "barrier", "failure"]), min_size=6, max_size=6),
)
@settings(max_examples=25)
def test_batches_barriers_and_failures_give_the_states_of_the_function(
    *, batches: list[list[tuple[str, int, str]]], afterwards: list[str], sends: bool
) -> None:
    """More customers than the cache has places, duplicates and garbage; a failure goes back to the last barrier."""
    single, backend = detector(), Backend()
    runner, checkpoint, expected = opened(backend), dict[str, bytes](), dict[str, bytes]()
    offset = 0
    for batch, event in zip(batches, afterwards, strict=False):
        records = []
        for customer, number, kind in batch:
            offset += 1
            payload = b"{" if kind == "damaged" else transaction(f"t-{number}", customer, amount_minor=100 + number)
            records.append(record(payload, offset=offset))
        outputs = Outputs()
        for item in records:
            sent = single.send(item)
            outputs.main += sent.main
            for name, lines in sent.side.items():
                outputs.side[name] += lines
        if records:
            assert by_output(backend.run(runner, records, sends=sends)) == outputs
        if event == "barrier":
            backend.barrier(runner)
            assert {key: pickle.loads(state) for key, state in backend.stored.items()} == single.state.values  # noqa: S301
            checkpoint, expected = dict(backend.stored), dict(single.state.values)
        if event == "failure":
            backend.stored = dict(checkpoint)
            runner = opened(backend)
            single = detector()
            single.state.values.update(expected)


def test_a_failure_names_the_record() -> None:
    backend = Backend()
    backend.stored["c-1"] = b"no pickle"
    records = [record(transaction("t-0", "c-0"), offset=6), record(transaction("t-1"), offset=7)]
    with pytest.raises(RuntimeError, match=r"streamflow\.transactions, partition 2, offset 7: UnpicklingError"):
        backend.run(opened(backend), records)


def test_a_restored_configuration_is_in_force_for_the_first_record() -> None:
    first = detector()
    first.control(control({"alert_threshold": 0.123}))
    stored = first.runtime.broadcast["detection-config"]["current"]
    backend = Backend()
    runner = opened(backend)
    runner.restore(stored)
    (line,) = by_output(backend.run(runner, [record(transaction())])).main
    assert '"threshold":0.123' in line


def test_counts_wait_for_the_flush(clock: Clock) -> None:
    single = detector()
    backend = Backend()
    runner = take_runner(backend, PROTOCOL)
    runner.flush_metrics(clock.now_ms)
    backend.run(runner, [record(transaction())])
    assert not single.runtime.count("records")
    clock.now_ms += FLUSH_MS
    runner.flush_metrics(clock.now_ms)
    assert single.runtime.count("records") == 1


def test_the_counts_of_a_batch_are_those_of_the_function(clock: Clock) -> None:
    """Rejected records, duplicates and alerts among ordinary decisions."""
    runtimes = (Runtime(), Runtime())
    single, backend = detector(runtime=runtimes[0]), Backend()
    for item in samples():
        single.send(item)
    detector(runtime=runtimes[1])
    runner = take_runner(backend, PROTOCOL)
    backend.run(runner, samples())
    clock.now_ms += FLUSH_MS
    single.fire_timers()
    runner.flush_metrics(clock.now_ms)
    counts = [
        {
            key: metric.count
            for key, metric in runtime.metrics.items()
            if isinstance(metric, Counter) and "state_bytes" not in key[0]
        }
        for runtime in runtimes
    ]
    assert counts[0] == counts[1]
    assert runtimes[1].count("dead_letters", reason="DUPLICATE_TRANSACTION") == 2


def test_the_jar_of_another_release_is_refused() -> None:
    """Such a jar would not ask for the states before a barrier: a checkpoint would be without customers."""
    detector()
    with pytest.raises(RuntimeError, match=r"of another release \(protocol 1, not 4\): run `make setup`"):
        take_runner(Backend())


def test_java_and_python_have_the_same_protocol() -> None:
    parts = REPO_ROOT / "flink_jobs/crossing/src/main/java/io/streamflow/crossing/JobParts.java"
    assert f"public static final int PROTOCOL = {PROTOCOL};" in parts.read_text(encoding="utf-8")
