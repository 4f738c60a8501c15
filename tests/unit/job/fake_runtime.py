"""Flink's side of the operator, in memory: state per key, broadcast state, metrics, outputs.

Strict where Flink is strict, so that what passes here runs there: keyed state needs a key, broadcast state cannot be
written while a record is processed, a metric is registered once, outputs have the type they were declared with, and the
function arrives pickled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
from pyflink.common import Row
from pyflink.datastream import OutputTag
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.job.detector.operator import FraudDetectorFunction
from tests.packed_records import pack_record

THREAD_MODULE = "pyflink.fn_execution.datastream.embedded.runtime_context"
PROCESS_MODULE = "pyflink.fn_execution.datastream.process.runtime_context"

Labels = tuple[tuple[str, str], ...]


class ValueState:
    """One value per key; refuses to be used without one."""

    def __init__(self, backend: Backend, descriptor: ValueStateDescriptor) -> None:
        self._backend = backend
        self.descriptor = descriptor
        self.values: dict[str, bytes] = {}
        self.writes = 0

    def value(self) -> bytes | None:
        return self.values.get(self._backend.key())

    def update(self, value: bytes) -> None:
        assert isinstance(value, bytes), "the declared type is a byte array"
        self.writes += 1
        self.values[self._backend.key()] = value

    def clear(self) -> None:
        self.values.pop(self._backend.key(), None)


class Backend:
    """Keyed state by descriptor name."""

    def __init__(self) -> None:
        self.current_key: str | None = None
        self.states: dict[str, ValueState] = {}

    def key(self) -> str:
        if self.current_key is None:
            raise RuntimeError("No key set. This method should not be called outside of a keyed context.")
        return self.current_key


class ReadOnlyBroadcastState:
    """What a function may do with broadcast state while it processes a record: look."""

    def __init__(self, content: dict[str, str]) -> None:
        self._content = content

    def get(self, key: str) -> str | None:
        return self._content.get(key)

    def items(self) -> list[tuple[str, str]]:
        return list(self._content.items())


class BroadcastState(ReadOnlyBroadcastState):
    """What it may do while it processes a broadcast element: write too."""

    def put(self, key: str, value: str) -> None:
        assert isinstance(value, str), "the declared type is a string"
        self._content[key] = value

    def remove(self, key: str) -> None:
        self._content.pop(key, None)


class TimerService:
    """Keeps timers; each belongs to the key at hand. Of event time there is one per key and time, as in Flink."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.timers: list[tuple[int, str]] = []
        self.event_timers: set[tuple[int, str]] = set()
        self.watermark = -(2**63)
        """Flink's watermark of a task that has not read anything since its start."""

    def current_watermark(self) -> int:
        return self.watermark

    def register_event_time_timer(self, timestamp: int) -> None:
        assert isinstance(timestamp, int)
        self.event_timers.add((timestamp, self._backend.key()))

    def register_processing_time_timer(self, timestamp: int) -> None:
        assert isinstance(timestamp, int)
        self.timers.append((timestamp, self._backend.key()))


class Context:
    """Hands out broadcast state, writable or not, and timers."""

    def __init__(
        self, broadcast: dict[str, dict[str, str]], state: type[ReadOnlyBroadcastState], timers: TimerService
    ) -> None:
        self._broadcast = broadcast
        self._state = state
        self._timers = timers

    def timer_service(self) -> TimerService:
        return self._timers

    def get_broadcast_state(self, descriptor: MapStateDescriptor) -> ReadOnlyBroadcastState:
        return self._state(self._broadcast[descriptor.name])


@dataclass
class Counter:
    """A counter; Flink's never goes back."""

    count: int = 0

    def inc(self, n: int = 1) -> None:
        assert n >= 0
        self.count += n


@dataclass
class Distribution:
    """PyFlink's distribution: a gauge of the last value."""

    values: list[int] = field(default_factory=list)

    def update(self, value: int) -> None:
        assert isinstance(value, int)
        self.values.append(value)


class MetricGroup:
    """A group of metrics and its labels; all groups of one operator share a registry."""

    def __init__(self, registry: dict[tuple[str, Labels], Counter | Distribution], labels: Labels = ()) -> None:
        self._registry = registry
        self._labels = labels

    def add_group(self, name: str, extra: str | None = None) -> MetricGroup:
        assert extra is not None, "a group without a value would become part of the metric's name"
        assert extra, "Prometheus takes no empty label value"
        return MetricGroup(self._registry, (*self._labels, (name, str(extra))))

    def counter(self, name: str) -> Counter:
        counter = Counter()
        self._register(name, counter)
        return counter

    def distribution(self, name: str) -> Distribution:
        distribution = Distribution()
        self._register(name, distribution)
        return distribution

    def _register(self, name: str, metric: Counter | Distribution) -> None:
        assert (name, self._labels) not in self._registry, "Flink reports only the first of two metrics of one name"
        self._registry[name, self._labels] = metric


class RuntimeContext:
    """What ``open`` receives, as process mode gives it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._names = set[str]()

    def get_state(self, descriptor: ValueStateDescriptor) -> ValueState:
        assert descriptor.name not in self._names, "a state is asked for once"
        self._names.add(descriptor.name)
        states = self._runtime.backend.states
        state = ValueState(self._runtime.backend, descriptor)
        if descriptor.name in states:  # another attempt, on what the one before left
            state.values = states[descriptor.name].values
        states[descriptor.name] = state
        return state

    def get_metrics_group(self) -> MetricGroup:
        return MetricGroup(self._runtime.metrics)

    def get_index_of_this_subtask(self) -> int:
        return self._runtime.subtask

    def get_number_of_parallel_subtasks(self) -> int:
        return self._runtime.parallelism

    def get_attempt_number(self) -> int:
        return self._runtime.attempt


class ThreadRuntimeContext(RuntimeContext):
    """As thread mode gives it: over a Java context, whose old names Flink 2 no longer has."""

    @property
    def _runtime_context(self) -> _JavaContext:
        return _JavaContext(self._runtime)

    def get_index_of_this_subtask(self) -> int:
        raise AttributeError("getIndexOfThisSubtask")

    get_number_of_parallel_subtasks = get_attempt_number = get_index_of_this_subtask


RuntimeContext.__module__ = PROCESS_MODULE
ThreadRuntimeContext.__module__ = THREAD_MODULE


class _JavaContext:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def getTaskInfo(self) -> _JavaContext:  # noqa: N802 - Java's name
        return self

    def getIndexOfThisSubtask(self) -> int:  # noqa: N802
        return self._runtime.subtask

    def getNumberOfParallelSubtasks(self) -> int:  # noqa: N802
        return self._runtime.parallelism

    def getAttemptNumber(self) -> int:  # noqa: N802
        return self._runtime.attempt


@dataclass
class Runtime:
    """One parallel instance's surroundings; give the same ``broadcast`` to several to restore or to scale."""

    mode: str = "thread"
    subtask: int = 0
    parallelism: int = 1
    attempt: int = 0
    broadcast: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    backend: Backend = field(default_factory=Backend)
    metrics: dict[tuple[str, Labels], Counter | Distribution] = field(default_factory=dict)

    def context(self) -> RuntimeContext:
        return ThreadRuntimeContext(self) if self.mode == "thread" else RuntimeContext(self)

    def count(self, name: str, **labels: str) -> int | None:
        """Return what a counter stands at, ``None`` when it is not registered."""
        metric = self.metrics.get((name, tuple(labels.items())))
        assert not isinstance(metric, Distribution)
        return None if metric is None else metric.count

    def gauge(self, name: str) -> int | None:
        """Return the last value of a gauge."""
        metric = self.metrics[name, ()]
        assert isinstance(metric, Distribution)
        return metric.values[-1] if metric.values else None


@dataclass
class Outputs:
    """What one element led to, by output; each line is ``key LF value``."""

    main: list[str] = field(default_factory=list)
    side: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, items: Iterable[Any]) -> Outputs:
        """Sort as PyFlink does: a tuple that begins with a tag goes to a side output."""
        outputs = cls()
        for item in items:
            line = item[1] if isinstance(item, tuple) else item
            assert isinstance(line, str), "every output is declared as a string"
            if isinstance(item, tuple):
                assert isinstance(item[0], OutputTag)
                outputs.side[item[0].tag_id].append(line)
            else:
                outputs.main.append(line)
        return outputs

    def __bool__(self) -> bool:
        """Tell whether anything came out."""
        return bool(self.main or any(self.side.values()))


class Operator:
    """The detector, shipped and opened as Flink does it."""

    def __init__(self, function: FraudDetectorFunction, runtime: Runtime | None = None) -> None:
        self.runtime = runtime or Runtime()
        self.timers = TimerService(self.runtime.backend)
        self.function: FraudDetectorFunction = cloudpickle.loads(cloudpickle.dumps(function))
        self.function.open(self.runtime.context())

    @property
    def state(self) -> ValueState:
        """The only keyed state."""
        (state,) = self.runtime.backend.states.values()
        return state

    def send(self, record: SourceRecord) -> Outputs:
        """Process a transaction record under its key."""
        self.runtime.backend.current_key = record.routing_key
        try:
            context = Context(self.runtime.broadcast, ReadOnlyBroadcastState, self.timers)
            return Outputs.of(self.function.process_element(pack_record(record), context))
        finally:
            self.runtime.backend.current_key = None

    def fire_timers(self) -> Outputs:
        """Let every timer that was set go off, in order, under its key."""
        due, self.timers.timers = sorted(self.timers.timers), []
        outputs: list[Any] = []
        for timestamp, key in due:
            self.runtime.backend.current_key = key
            context = Context(self.runtime.broadcast, ReadOnlyBroadcastState, self.timers)
            outputs.extend(self.function.on_timer(timestamp, context))
        self.runtime.backend.current_key = None
        return Outputs.of(outputs)

    def control(self, record: SourceRecord) -> Outputs:
        """Process a control record; no key is set."""
        context = Context(self.runtime.broadcast, BroadcastState, self.timers)
        return Outputs.of(self.function.process_broadcast_element(Row(pack_record(record)), context))


class Clock:
    """Stands in for the module ``time``; moves when told to; the stopwatch moves by 40 us with each look."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._ticks_ns = 0

    def time_ns(self) -> int:
        return self.now_ms * 1_000_000

    def perf_counter_ns(self) -> int:
        self._ticks_ns += 40_000
        return self._ticks_ns


def lines(text: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Split output lines as the sinks do: at the first line feed."""
    for line in text:
        key, _, value = line.partition("\n")
        yield key, value
