"""Inputs that describe an entity of a transaction: its transactions, amounts and known frauds of 1, 7 and 30 days.

An entity is the merchant, the terminal, the device or the card. Its numbers change at the start of each slot of six
hours only, so that a stream that is minutes late and a replay of history use the same numbers. A label counts only when
its transaction is older than the delay, however early it arrived: a model must not learn from labels that the stream
will not have.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from flink_jobs.core.features.table import FeatureSpec
from flink_jobs.core.state.merchant import LOG_UNIT, SLOT_MS, SLOTS_PER_DAY, MerchantState, log_units
from flink_jobs.core.transaction import Transaction

DEFAULT_DELAY_DAYS: Final = 7
SETTLE_MS: Final = 600_000
"""Time after the start of a slot from which transactions use its numbers: 10 minutes."""
WINDOW_DAYS: Final = (1, 7, 30)
MAX_LOG_RATIO: Final = 20.0
_MOST: Final = 4_294_967_295.0


class Entity(StrEnum):
    """Who can have a history beside the customer, in canonical order. The value is the field of the transaction."""

    MERCHANT = "merchant"
    TERMINAL = "terminal"
    DEVICE = "device"
    CARD = "card"


def entity_id(transaction: Transaction, entity: Entity) -> str | None:
    """Return the id of an entity in a transaction; ``None`` where the transaction names none."""
    found: str | None = transaction[_PLACES[entity]]  # type: ignore[assignment]  # each of the four is a text
    return found


def entities_of(text: str) -> tuple[Entity, ...]:
    """Return the entities that a text names, separated by commas, each once and in canonical order.

    >>> entities_of("terminal, merchant")
    (<Entity.MERCHANT: 'merchant'>, <Entity.TERMINAL: 'terminal'>)

    Raises:
        ValueError: the text names something else.
    """
    names = {name.strip() for name in text.split(",")} - {""}
    unknown = sorted(names - set(Entity))
    if unknown:
        raise ValueError(f"{', '.join(unknown)} has no history; choose from {', '.join(Entity)}")
    return tuple(entity for entity in Entity if entity in names)


def risk_specs(entity: Entity) -> tuple[FeatureSpec, ...]:
    """Return the inputs of an entity, in the order of ``risk_inputs``."""
    return tuple(spec for days in WINDOW_DAYS for spec in _specs(entity, days))


def _specs(entity: Entity, days: int) -> tuple[FeatureSpec, ...]:
    last = f"of the {entity} in the last {days} days" if days > 1 else f"of the {entity} in the last day"
    return (
        FeatureSpec(
            f"{entity}_count_{days}d", "transactions", 0.0, _MOST * 120, 0.0, "0", f"transactions {last}",
        ),
        FeatureSpec(
            f"{entity}_amount_{days}d", "natural logarithm", -MAX_LOG_RATIO, MAX_LOG_RATIO, 0.0,
            "absent without a transaction in the window",
            f"logarithm of this amount less the mean logarithm of the amounts {last}",
        ),
        FeatureSpec(
            f"{entity}_due_{days}d", "transactions", 0.0, _MOST * 120, 0.0, "0",
            f"transactions {last} before the delay of labels",
        ),
        FeatureSpec(
            f"{entity}_fraud_share_{days}d", "ratio", 0.0, 1.0, 0.0, "0",
            f"share of known frauds among the transactions {last} before the delay of labels",
        ),
    )  # fmt: skip


RISK_SPECS: Final = {entity: risk_specs(entity) for entity in Entity}
"""The inputs of each entity, in canonical order of the entities."""
RISK_NAMES: Final = {entity: tuple(spec.name for spec in specs) for entity, specs in RISK_SPECS.items()}
ENTITY_OF: Final = {name: entity for entity, names in RISK_NAMES.items() for name in names}
"""The entity of each input; its keys are the names of all inputs in canonical order."""
RISK_NEUTRALS: Final = {spec.name: spec.neutral for specs in RISK_SPECS.values() for spec in specs}
_PLACES: Final = {entity: Transaction._fields.index(entity.value) for entity in Entity}


class WindowRisk(NamedTuple):
    """The numbers of an entity over one window, at the start of a slot."""

    bought: int
    """Transactions in the window."""
    log_sum: int
    """Sum of ``log_units`` of their amounts."""
    due: int
    """Transactions in the window of the same length that ends at the delay of labels."""
    frauds: int
    """Known frauds among these."""


def slot_of(time_ms: int) -> int:
    """Return the slot whose numbers a transaction at an event time uses."""
    return (time_ms - SETTLE_MS) // SLOT_MS


def risk_at(state: MerchantState, slot: int, delay_days: int) -> tuple[WindowRisk, ...]:
    """Return the numbers of an entity at the start of a slot, one per window.

    Args:
        state: its history; later transactions than the start of the slot do not count.
        slot: see ``slot_of``.
        delay_days: days until a label is known.
    """
    due_end = slot - delay_days * SLOTS_PER_DAY
    windows = []
    for days in WINDOW_DAYS:
        length = days * SLOTS_PER_DAY
        count, log_sum, _ = state.totals(slot - length, slot)
        due, _, frauds = state.totals(due_end - length, due_end)
        windows.append(WindowRisk(count, log_sum, due, frauds))
    return tuple(windows)


def risk_inputs(windows: tuple[WindowRisk, ...], amount: float) -> tuple[float | None, ...]:
    """Return the inputs of a transaction in the order of ``risk_specs``; ``None`` where a value is absent.

    Args:
        windows: the numbers of its merchant or other entity.
        amount: its amount in major units.
    """
    inputs: list[float | None] = []
    own = log_units(amount)
    for count, log_sum, due, frauds in windows:
        distance = None
        if count:
            distance = max(-MAX_LOG_RATIO, min(MAX_LOG_RATIO, (own - log_sum / count) / LOG_UNIT))
        share = min(1.0, frauds / due) if due else 0.0
        inputs += [float(count), distance, float(due), share]
    return tuple(inputs)
