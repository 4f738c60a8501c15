"""The Flink operator around the step of one merchant or other entity: keyed state in, rows and new states out.

The state of an entity changes with each decision and label. A timer at the start of each slot of six hours publishes
the row of the slot. Flink fires it when the watermark passes it: the watermark is the event time of the newest decision
less ``LATENESS_MIN``, so a replay of history publishes the same rows as the stream did.
"""

from collections.abc import Iterator
from typing import Final

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueState, ValueStateDescriptor
from pyflink.metrics import Counter

from flink_jobs.contracts import uids
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.merchants.book import EntityBook, LabelOutcome
from flink_jobs.core.merchants.coverage import COVERED_DAYS
from flink_jobs.core.merchants.events import (
    NOT_NAMED,
    UNREADABLE,
    Purchase,
    read_entity_label,
    read_fields,
    read_purchase,
)
from flink_jobs.core.merchants.keys import split_key
from flink_jobs.core.merchants.row import EntityRow
from flink_jobs.core.merchants.start import EntityStarts
from flink_jobs.core.state.codec import StateCorrupt
from flink_jobs.core.state.merchant import SLOT_MS
from flink_jobs.job.log import log_error, log_event
from flink_jobs.job.time_to_live import time_to_live
from flink_jobs.metrics import catalogue

LATENESS_MIN: Final = 5
"""Minutes that a decision may be late and still count in the row of the next slot when that row is first published."""
DECISION, FIELDS, LABEL, BEAT = "D", "P", "L", "H"
"""The first character of an element: a decision, the fields of a history that Java picked from a decision, or a label;
or a beat, which only says that the job runs."""
CODES: Final = {entity: entity.value[0] for entity in Entity}
"""The second character of an element: whose event it is."""
_COMPONENT: Final = "merchants"
_ENTITIES: Final = {code: entity for entity, code in CODES.items()}
_LATENESS_MS: Final = LATENESS_MIN * 60_000
_HELD: Final = f"models get no inputs of it until it covers {COVERED_DAYS} days (docs/histories.md)"
_USED: Final = "STREAMFLOW_RISK_ACCEPT_SHORT_HISTORY lets models use it at once"
_NEVER_LEARNED: Final = frozenset({UNREADABLE, *NOT_NAMED.values()})


class MerchantFunction(KeyedProcessFunction):  # type: ignore[misc]  # PyFlink is untyped
    """Keeps the history of each merchant or other entity, and publishes its row of each slot."""

    def __init__(
        self, state_ttl_days: int, entities: tuple[Entity, ...], *, is_short_history_accepted: bool = False
    ) -> None:
        """Keep the settings; ``open`` creates everything else on the TaskManager."""
        self._state_ttl_days = state_ttl_days
        self._entities = entities
        self._is_short_history_accepted = is_short_history_accepted

    def open(self, runtime_context: RuntimeContext) -> None:
        """Set up states and metrics."""
        states: list[ValueState] = []
        for name in (uids.MERCHANT_STATE, uids.MERCHANT_PROGRESS):
            descriptor = ValueStateDescriptor(name, Types.PICKLED_BYTE_ARRAY())
            descriptor.enable_time_to_live(time_to_live(self._state_ttl_days))
            states.append(runtime_context.get_state(descriptor))
        self._history, self._progress = states
        group = runtime_context.get_metrics_group()
        self._rows: Counter = group.counter(catalogue.MERCHANT_ROWS.name)
        self._labels: dict[str, Counter] = {
            outcome: group.add_group("outcome", outcome).counter(catalogue.MERCHANT_LABELS.name)
            for outcome in catalogue.MERCHANT_LABELS.values
        }
        self._logged: set[str] = set()
        self._unreadable: Counter = group.counter(catalogue.MERCHANT_UNREADABLE.name)
        self._lost: dict[str, Counter] = {
            state: group.add_group("state", state).counter(catalogue.MERCHANT_LOST.name)
            for state in catalogue.MERCHANT_LOST.values
        }

    def process_element(self, value: str, ctx: KeyedProcessFunction.Context) -> Iterator[str]:
        """Add a decision or a label to one of its entities; yield the row that it changes after its publication."""
        origin = value[:1]
        if origin == BEAT:
            yield from self._beat(ctx.timestamp())
            return
        entity = _ENTITIES[value[1]]
        if origin in {FIELDS, DECISION}:
            is_whole = origin == DECISION
            purchase = read_purchase(value[2:].encode("latin-1"), entity) if is_whole else read_fields(value[2:])
            if isinstance(purchase, Purchase):
                yield from self._buy(entity, purchase, ctx)
            else:
                self._unreadable.inc()
            return
        label = read_entity_label(value[2:].encode("latin-1"), entity)
        if isinstance(label, str):
            self._count_label(label)
            return
        book = self._book(entity, label.name)
        outcome, row = book.learn(label)
        self._count_label(outcome)
        if outcome is LabelOutcome.LEARNED:
            self._history.update(book.history.to_bytes())
        if outcome in {LabelOutcome.LEARNED, LabelOutcome.WAITING}:
            self._progress.update(book.progress_bytes())
        yield from self._emit(row)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[str]:
        """Publish the row of the slot that begins at the timer; forget an entity without history.

        An entity that the settings no longer name is forgotten without a further row: rows without its newest purchases
        would be wrong, and a detector that still needs them gets no score a day later. The first one is logged.
        """
        key = ctx.get_current_key()  # thread mode hands over the text, process mode a row
        entity, name = split_key(key if isinstance(key, str) else key[0])
        if entity in self._entities:
            yield from self._publish(self._book(entity, name), timestamp // SLOT_MS, ctx)
        else:
            self._log_once(entity, "history_forgotten", f"STREAMFLOW_RISK_ENTITIES no longer names {entity}")
            self._history.clear()
            self._progress.clear()

    def _beat(self, time_ms: int) -> Iterator[str]:
        """Publish since when each entity is kept, once per slot and when it changes. The key is that of the starts."""
        try:
            starts = EntityStarts(self._progress.value())
        except StateCorrupt as damage:
            self._report_lost("starts", damage, f"the history of all ids of {', '.join(self._entities)} counts")
            starts = EntityStarts.lost()
        found = starts.at(self._entities, time_ms, is_short_accepted=self._is_short_history_accepted)
        if found:
            self._progress.update(starts.to_bytes())
        for start in found:
            if start.complete_from > time_ms // SLOT_MS:
                detail = f"{start.entity}: models use its history once it covers {COVERED_DAYS} days"
                self._log_once(start.key, "history_too_short", detail)
            yield f"{start.key}\n{start.to_json()}"

    def _publish(self, book: EntityBook, slot: int, ctx: KeyedProcessFunction.Context) -> Iterator[str]:
        has_rows = book.published is not None
        # A watermark is LATENESS_MIN behind the newest decision, and unknown to a task that has just started.
        row = book.advance(slot, max(slot * SLOT_MS, ctx.timer_service().current_watermark() + _LATENESS_MS))
        if row is None:
            return
        if has_rows or not row.is_empty:
            yield from self._emit(row)
        following = book.next_slot()
        if following is None:
            self._history.clear()
            waiting = book.forget()
            if waiting is None:
                self._progress.clear()
            else:
                self._progress.update(waiting)
            return
        self._progress.update(book.progress_bytes())
        ctx.timer_service().register_event_time_timer(following * SLOT_MS)

    def _buy(self, entity: Entity, purchase: Purchase, ctx: KeyedProcessFunction.Context) -> Iterator[str]:
        book = self._book(entity, purchase.name)
        slot = purchase.time_ms // SLOT_MS
        is_new_slot = slot not in book.history.slots
        row = book.buy(purchase.time_ms, purchase.amount)
        self._history.update(book.history.to_bytes())
        if book.has_new_progress:
            self._progress.update(book.progress_bytes())
        yield from self._emit(row)
        present = ctx.timer_service().current_watermark() // SLOT_MS
        if book.published is None and slot < present:
            # A timer in the past fires with the next watermark: at the end of a backlog, that can be hours later.
            yield from self._publish(book, present, ctx)
        elif is_new_slot and (book.published is None or slot >= book.published):
            ctx.timer_service().register_event_time_timer((slot + 1) * SLOT_MS)

    def _book(self, entity: Entity, name: str) -> EntityBook:
        """Return the entity at hand; one with damaged states begins again, and its rows say since when."""
        try:
            book = EntityBook(name, self._history.value(), self._progress.value(), entity)
        except StateCorrupt as damage:
            self._report_lost("id", damage, f"the history of one {entity} begins")
            book = EntityBook.lost(name, entity)
            self._history.clear()
            self._progress.update(book.progress_bytes())
        if self._is_short_history_accepted:
            book.accept_short_history()
        return book

    def _report_lost(self, state: str, damage: StateCorrupt, whose: str) -> None:
        """Count and log a damaged state. The line names no id: ids can be card numbers."""
        self._lost[state].inc()
        then = _USED if self._is_short_history_accepted else _HELD
        log_error("history_lost", component=_COMPONENT, detail=f"{damage}; {whose} from now on, and {then}")

    def _emit(self, row: EntityRow | None) -> Iterator[str]:
        if row is not None:
            self._rows.inc()
            yield f"{row.key}\n{row.to_json()}"

    def _count_label(self, outcome: str) -> None:
        """Count a label; the first one of an attempt that cannot be learned is logged, too."""
        self._labels[outcome].inc()
        if outcome in _NEVER_LEARNED:
            self._log_once(outcome, "label_not_learned", f"{outcome}; the metric merchant_labels counts all")

    def _log_once(self, subject: str, event: str, detail: str) -> None:
        """Log an event, unless this attempt has logged its subject before."""
        if subject not in self._logged:
            self._logged.add(subject)
            log_event(event, component=_COMPONENT, detail=detail)
