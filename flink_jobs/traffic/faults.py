"""Adds faults to a stream of valid events: malformed records, redelivered records, late events. Seeded: repeatable."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from flink_jobs.core.state.fields import RING_CAPACITY
from flink_jobs.errors import UserError
from flink_jobs.kafka.outgoing import Fate, Outgoing, encode
from flink_jobs.traffic.malformed import MALFORMED_KINDS, MalformedKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flink_jobs.cards.card_files import SourceEvent

REDELIVERY_WINDOW = RING_CAPACITY
"""A redelivery repeats one of this many latest valid records, as a producer's retry does.

The detector remembers at least this number of ids per customer, so it recognises every redelivery planted here.
"""
MOST_EXTRA = 0.9
"""Largest share of malformed and redelivered records; above it a run would hardly contain a valid event."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The shares of faults.

    Attributes:
        malformed: share of all sent records that are malformed, 0 to 0.9.
        duplicates: share of all sent records that redeliver an earlier one, 0 to 0.9; together with malformed at
            most 0.9.
        late: share of the valid events that are sent late, 0 to 1.
        max_delay: a late event is sent after 1 to ``max_delay`` further valid events.
        seed: seed of every random choice.
    """

    malformed: float = 0.0
    duplicates: float = 0.0
    late: float = 0.0
    max_delay: int = 200
    seed: int = 1

    def __post_init__(self) -> None:
        """Reject impossible shares.

        Raises:
            UserError: a share is outside its range.
        """
        for name in ("malformed", "duplicates", "late"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                what = f"the share of {name} is {getattr(self, name):g}"
                raise UserError(what, "give a share between 0 and 1, such as 0.05")
        if self.malformed + self.duplicates > MOST_EXTRA:
            what = f"malformed and duplicates make up {self.malformed + self.duplicates:.0%} of the records"
            raise UserError(what, f"leave room for valid events: together at most {MOST_EXTRA:.0%}")
        if self.max_delay < 1:
            what = f"the longest delay is {self.max_delay} events"
            raise UserError(what, "give 1 or more")


def with_faults(events: Iterable[SourceEvent], plan: FaultPlan) -> Iterator[Outgoing]:
    """Yield every event once as a valid record, with the planned faults between them.

    Faults are added and never replace a valid event: the decisions on the valid events equal those of a run without
    faults, except where a late event changes the order. Memory is bounded by ``max_delay`` and ``REDELIVERY_WINDOW``.
    """
    rng = Random(plan.seed)  # noqa: S311 - repeatable faults, no secret
    recent: deque[Outgoing] = deque(maxlen=REDELIVERY_WINDOW)
    extra = plan.malformed + plan.duplicates
    weights = list(itertools.accumulate(kind.weight for kind in MALFORMED_KINDS))
    for event, record in _reordered(events, plan, rng):
        yield record
        recent.append(record)
        # After each valid record, add as many faulty ones as keep the planned share on average.
        while rng.random() < extra:
            if rng.random() * extra < plan.malformed:
                yield malformed(rng.choices(MALFORMED_KINDS, cum_weights=weights)[0], event, rng)
            else:
                original = recent[rng.randrange(len(recent))]
                yield replace(original, fate=Fate.DUPLICATE, fault="duplicate", label=None, pattern=None)


def malformed(kind: MalformedKind, event: SourceEvent, rng: Random) -> Outgoing:
    """Return a malformed record of this kind, made from a valid event."""
    transaction = event.transaction
    return Outgoing(
        key=transaction["customer_id"].encode(),
        value=kind.build(rng, transaction),
        event_time_ms=transaction["event_time_ms"],
        fate=Fate.REJECTED,
        reason=kind.reason.value,
        fault=kind.name,
    )


def _reordered(events: Iterable[SourceEvent], plan: FaultPlan, rng: Random) -> Iterator[tuple[SourceEvent, Outgoing]]:
    """Yield each event with its record, in an order where some events come late."""
    held: list[tuple[int, int, SourceEvent, Outgoing]] = []  # (release after this index, own index, ...)
    for index, event in enumerate(events):
        record = encode(event)
        if plan.late and rng.random() < plan.late:
            release = index + rng.randint(1, plan.max_delay)
            heapq.heappush(held, (release, index, event, replace(record, fault="late")))
        else:
            yield event, record
        while held and held[0][0] <= index:
            yield heapq.heappop(held)[2:]
    while held:
        yield heapq.heappop(held)[2:]
