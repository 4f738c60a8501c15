"""Checks own features on made-up customers: pure, the same in every process and order, in range, and fast enough."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Final

from flink_jobs.core.own_features.customer_view import Customer
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.samples import samples_of
from flink_jobs.core.state.customer import CustomerFraudState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flink_jobs.core.own_features.declaration import OwnFeature
    from flink_jobs.core.own_features.samples import Sample
    from flink_jobs.core.own_features.source import FeatureSource

CUSTOMERS: Final = 150
MAX_MEDIAN_US: Final = 50.0
"""Longest median time of one call, microseconds: the detector makes it for every transaction."""
_SEED: Final = 20_260_101
Answer = float | str | None
"""A value, or the exception as text."""


@dataclass(slots=True)
class CheckedFeature:
    """The result of one feature.

    Attributes:
        name: its name.
        calls: number of samples.
        absent: share of the samples without a value, 0 to 1.
        low: smallest value, ``None`` without any.
        high: largest value.
        median_us: median time of one call, microseconds.
        problems: what is wrong; empty for a feature that passes.
    """

    name: str
    calls: int
    absent: float
    low: float | None
    high: float | None
    median_us: float
    problems: list[str] = field(default_factory=list)


def check_features(sources: Sequence[FeatureSource], clock_ns: Callable[[], int]) -> list[CheckedFeature]:
    """Check the features of modules.

    Args:
        sources: source texts of the modules.
        clock_ns: a stopwatch, ns.

    Raises:
        OwnFeatureError: a module cannot be loaded.
    """
    random = Random(_SEED)  # noqa: S311 - samples must be the same each time
    samples = [sample for number in range(CUSTOMERS) for sample in samples_of(random, f"customer-{number}")]
    first, again = load_features(sources), load_features(sources)
    order = list(range(len(samples)))
    random.shuffle(order)
    return [
        _checked(one, other, samples, order, clock_ns)
        for one, other in zip(first.features, again.features, strict=True)
    ]


def _checked(
    feature: OwnFeature, other: OwnFeature, samples: list[Sample], order: list[int], clock_ns: Callable[[], int]
) -> CheckedFeature:
    answers: list[Answer] = []
    times: list[int] = []
    changes = False
    for sample in samples:
        state = CustomerFraudState(sample.state)
        before, customer = state.to_bytes(), Customer(state)
        started = clock_ns()
        answers.append(_ask(feature, customer, sample))
        times.append(clock_ns() - started)
        changes = changes or state.to_bytes() != before
    spec = feature.spec
    values = [answer for answer in answers if isinstance(answer, int | float)]
    valid = [float(value) for value in values if isfinite(value) and spec.low <= value <= spec.high]
    result = CheckedFeature(
        spec.name,
        len(answers),
        1.0 - len(valid) / len(answers),
        min(valid, default=None),
        max(valid, default=None),
        median(times) / 1_000,
    )
    raised = [(place, answer) for place, answer in enumerate(answers) if isinstance(answer, str)]
    if raised:
        place, text = raised[0]
        result.problems.append(
            f"raised in {len(raised)} of {len(answers)} calls, first {text} for {_about(samples[place])}"
        )
    wrong = [(place, answer) for place, answer in enumerate(answers) if not _is_valid(answer, spec.low, spec.high)]
    if wrong:
        place, value = wrong[0]
        result.problems.append(
            f"no number from {spec.low:g} to {spec.high:g} in {len(wrong)} calls, first {value!r} for "
            f"{_about(samples[place])}"
        )
    if changes:
        result.problems.append("it changes the customer's statistics")
    shuffled: dict[int, Answer] = {}
    for place in order:
        sample = samples[place]
        shuffled[place] = _ask(other, Customer(CustomerFraudState(sample.state)), sample)
    differing = [place for place, answer in enumerate(answers) if repr(shuffled[place]) != repr(answer)]
    if differing:
        result.problems.append(
            f"not pure: another answer for the same arguments in {len(differing)} calls, in another order"
        )
    if not valid:
        result.problems.append("it has no value for any sample")
    if result.median_us > MAX_MEDIAN_US:
        result.problems.append(f"a call takes {result.median_us:.0f} us; at most {MAX_MEDIAN_US:g} are allowed")
    return result


def _ask(feature: OwnFeature, customer: Customer, sample: Sample) -> Answer:
    try:
        value: object = feature.function(customer, sample.transaction)
    except Exception as error:  # noqa: BLE001 - the check reports it
        return f"{type(error).__name__}: {error}"
    if value is None or isinstance(value, int | float):
        return value
    return float("nan")  # no number: reported as one out of range


def _is_valid(answer: Answer, low: float, high: float) -> bool:
    if answer is None or isinstance(answer, str):
        return True
    return isfinite(answer) and low <= answer <= high


def _about(sample: Sample) -> str:
    known = CustomerFraudState(sample.state).seen_count
    one = sample.transaction
    return (
        f"amount_minor {one.amount_minor} {one.currency}, category {one.category!r}, after {known} transactions of the "
        "customer"
    )
