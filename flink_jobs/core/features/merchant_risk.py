"""Inputs that describe a merchant: transactions, amounts and known frauds of the last 1, 7 and 30 days.

The numbers of a merchant change at the start of each slot of six hours only, so that a stream that is minutes late and
a replay of history use the same numbers. A label counts only when its transaction is older than the delay, however
early it arrived: a model must not learn from labels that the stream will not have.
"""

from typing import Final, NamedTuple

from flink_jobs.core.features.table import FeatureSpec
from flink_jobs.core.state.merchant import LOG_UNIT, SLOT_MS, SLOTS_PER_DAY, MerchantState, log_units

DEFAULT_DELAY_DAYS: Final = 7
SETTLE_MS: Final = 600_000
"""Time after the start of a slot from which transactions use its numbers: 10 minutes."""
WINDOW_DAYS: Final = (1, 7, 30)
MAX_LOG_RATIO: Final = 20.0
_MOST: Final = 4_294_967_295.0


def _specs(days: int) -> tuple[FeatureSpec, ...]:
    last = f"of the merchant in the last {days} days" if days > 1 else "of the merchant in the last day"
    return (
        FeatureSpec(
            f"merchant_count_{days}d", "transactions", 0.0, _MOST * 120, 0.0, "0", f"transactions {last}",
        ),
        FeatureSpec(
            f"merchant_amount_{days}d", "natural logarithm", -MAX_LOG_RATIO, MAX_LOG_RATIO, 0.0,
            "absent without a transaction in the window",
            f"logarithm of this amount less the mean logarithm of the amounts {last}",
        ),
        FeatureSpec(
            f"merchant_due_{days}d", "transactions", 0.0, _MOST * 120, 0.0, "0",
            f"transactions {last} before the delay of labels",
        ),
        FeatureSpec(
            f"merchant_fraud_share_{days}d", "ratio", 0.0, 1.0, 0.0, "0",
            f"share of known frauds among the transactions {last} before the delay of labels",
        ),
    )  # fmt: skip


MERCHANT_RISK: Final = tuple(spec for days in WINDOW_DAYS for spec in _specs(days))
"""The inputs in the order of ``MerchantRisk``; none of them is a feature of the stream yet."""
MERCHANT_RISK_NAMES: Final = tuple(spec.name for spec in MERCHANT_RISK)
MERCHANT_RISK_NEUTRALS: Final = {spec.name: spec.neutral for spec in MERCHANT_RISK}


class WindowRisk(NamedTuple):
    """The numbers of a merchant over one window, at the start of a slot."""

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
    """Return the numbers of a merchant at the start of a slot, one per window.

    Args:
        state: the merchant; later transactions than the start of the slot do not count.
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
    """Return the inputs of a transaction in the order of ``MERCHANT_RISK``; ``None`` where a value is absent.

    Args:
        windows: the numbers of its merchant.
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
