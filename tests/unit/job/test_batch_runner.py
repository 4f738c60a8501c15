"""The Python side of the batched crossing gives what the function gives for one record at a time."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.job.detector import batch_runner
from flink_jobs.job.detector.batch_runner import SIDE_OUTPUTS, BatchRunner, take_runner
from flink_jobs.job.detector.detector_metrics import FLUSH_MS
from tests.packed_batches import Answer, pack_batch, read_answer
from tests.unit.job.fake_runtime import Clock, Outputs
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
        for index, state in answer.states.items():
            self.stored[records[index].routing_key] = state
        return answer


def opened(backend: Backend, model_dir: Path | str = "/nowhere", model_version: str | None = None) -> BatchRunner:
    """Return the runner of an open detector."""
    detector(model_dir, model_version)
    return take_runner(backend)


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
    return [record(payload, offset=offset) for offset, payload in enumerate(payloads)]


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


def test_java_is_asked_for_a_state_that_is_no_longer_decoded() -> None:
    """A duplicate takes the customer out of the decoded states; the customer's next record needs the state again."""
    backend = Backend()
    runner = opened(backend)
    backend.run(runner, [record(transaction("t-1"))])
    answer = backend.run(runner, [record(transaction("t-1")), record(transaction("t-1"))], sends=False)
    assert answer.forgotten == [0, 1]
    assert backend.asked == [1]
    assert backend.run(runner, [record(transaction("t-2"))], sends=False).forgotten == []


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
    runner = take_runner(backend)
    runner.flush_metrics(clock.now_ms)
    backend.run(runner, [record(transaction())])
    assert not single.runtime.count("records")
    clock.now_ms += FLUSH_MS
    runner.flush_metrics(clock.now_ms)
    assert single.runtime.count("records") == 1
