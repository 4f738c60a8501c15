"""Rows for training and evaluation: history replayed through the code that computes the stream's features.

This module computes no feature. It encodes each transaction as a producer would, and the stream's parser and evaluator
turn it into a feature vector. Models therefore train on the same features that the stream serves.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.currencies import MINOR_UNITS, major_amount
from flink_jobs.core.features.table import FEATURE_NAMES, NEUTRAL_VALUES
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.replay import replay_features
from flink_jobs.core.rules import RULES, FraudRuleEvaluator
from flink_jobs.core.transaction import Rejection, Transaction
from ml.columns import NOTHING, Coded, Coder, Grower
from ml.own_columns import OwnColumns, OwnRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from flink_jobs.cards.card_files import SourceEvent
    from flink_jobs.core.features.vector import FeatureVector
    from flink_jobs.core.own_features.values import OwnValues
    from flink_jobs.core.rules import RuleVerdict
    from ml.risk_columns import RiskColumns

DAY_MS = 86_400_000
UNKNOWN, GENUINE, FRAUD = -1, 0, 1
"""Values of ``Dataset.labels``."""
RULE_CODES: tuple[ReasonCode, ...] = tuple(rule.code for rule in RULES)
"""The columns of ``Dataset.rule_hits``."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows in the order of the stream; every array has one entry per row.

    Attributes:
        features: rows x ``FEATURE_NAMES``, as served; NaN where a feature had no value.
        event_time_ms: event time, UTC milliseconds.
        labels: ``FRAUD``, ``GENUINE`` or ``UNKNOWN``; never an input of a model.
        amount: major units of the row's currency.
        customer: customer id.
        currency: ISO 4217 code.
        category: category of the purchase; None where the source has none.
        merchant: merchant; None where the source has none.
        terminal: id of the terminal; None where the source has none, as for device and card.
        device: id of the cardholder's device.
        card: token of the card.
        scenario: name of the fraud pattern where the source has one (mapping key ``pattern``).
        segment: customer segment for comparisons where the source has one (mapping key ``segment``).
        transaction_ids: one text per row.
        rule_score: score of the rules under the configuration of ``build_dataset``, 0 to 1.
        rule_hits: rows x ``RULE_CODES``, true where the rule fired.
        rejected: number of events that the stream would reject as unreadable; they are not rows.
        risk: inputs of merchants, terminals, devices and cards; None unless ``with_risk`` added them.
        own: own features; None for a data set without any.
    """

    features: NDArray[np.float64]
    event_time_ms: NDArray[np.int64]
    labels: NDArray[np.int8]
    amount: NDArray[np.float64]
    customer: Coded
    currency: Coded
    category: Coded
    merchant: Coded
    terminal: Coded
    device: Coded
    card: Coded
    scenario: Coded
    segment: Coded
    transaction_ids: NDArray[np.object_]
    rule_score: NDArray[np.float64]
    rule_hits: NDArray[np.bool_]
    rejected: int = 0
    risk: RiskColumns | None = None
    own: OwnColumns | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.features)

    @property
    def inputs(self) -> NDArray[np.float64]:
        """Model inputs: rows x ``FEATURE_NAMES``, finite; an absent feature has its neutral value."""
        return np.where(np.isnan(self.features), NEUTRAL_VALUES, self.features)

    def where(self, mask: NDArray[np.bool_] | NDArray[np.intp]) -> Dataset:
        """Return the rows where ``mask`` is true, or the rows with the given numbers in that order."""
        parts = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "rejected"}
        chosen: dict[str, Any] = {name: None if part is None else part[mask] for name, part in parts.items()}
        return replace(self, **chosen, rejected=0)

    def transactions(self) -> Iterator[Transaction]:
        """Yield one transaction per row, with the fields that encodings and entities use."""
        for row in range(len(self)):
            currency, amount = str(self.currency.text(row)), float(self.amount[row])
            yield Transaction(
                str(self.transaction_ids[row]),
                str(self.customer.text(row)),
                round(amount * MINOR_UNITS[currency]),
                currency,
                int(self.event_time_ms[row]),
                self.merchant.text(row),
                self.category.text(row),
                terminal=self.terminal.text(row),
                device=self.device.text(row),
                card=self.card.text(row),
            )

    def labels_digest(self) -> str:
        """SHA-256 (hex) of the labels."""
        return hashlib.sha256(np.ascontiguousarray(self.labels, dtype="<i1").tobytes()).hexdigest()

    def digest(self) -> str:
        """SHA-256 (hex) of all training inputs except labels: feature names and values, times, amounts, coded texts.

        Ids of terminals, devices and cards count where a row has one; without any the digest is that of older releases.
        """
        digest = hashlib.sha256(orjson.dumps([FEATURE_NAMES, self.features.shape]))
        for values, dtype in ((self.inputs, "<f8"), (self.event_time_ms, "<i8"), (self.amount, "<f8")):
            digest.update(np.ascontiguousarray(values, dtype=dtype).tobytes())
        for column in (self.currency, self.category, self.merchant):
            column.update(digest)
        for name, ids in (("terminal", self.terminal), ("device", self.device), ("card", self.card)):
            if (ids.codes != NOTHING).any():
                digest.update(name.encode())
                ids.update(digest)
        if self.risk is not None:
            self.risk.update(digest)
        if self.own is not None:
            self.own.update(digest)
        return digest.hexdigest()


@dataclass(slots=True)
class DatasetRows:
    """Builds a data set row by row, in arrays: a million rows take a few hundred megabytes."""

    features: Grower = field(default_factory=lambda: Grower("<f8", len(FEATURE_NAMES)))
    rule_hits: Grower = field(default_factory=lambda: Grower("?", len(RULES)))
    event_time_ms: Grower = field(default_factory=lambda: Grower("<i8"))
    labels: Grower = field(default_factory=lambda: Grower("<i1"))
    amount: Grower = field(default_factory=lambda: Grower("<f8"))
    rule_score: Grower = field(default_factory=lambda: Grower("<f8"))
    transaction_ids: list[str] = field(default_factory=list)
    customer: Coder = field(default_factory=Coder)
    currency: Coder = field(default_factory=Coder)
    category: Coder = field(default_factory=Coder)
    merchant: Coder = field(default_factory=Coder)
    terminal: Coder = field(default_factory=Coder)
    device: Coder = field(default_factory=Coder)
    card: Coder = field(default_factory=Coder)
    scenario: Coder = field(default_factory=Coder)
    segment: Coder = field(default_factory=Coder)
    own: OwnRows | None = None

    def add(
        self,
        transaction: Transaction,
        features: FeatureVector,
        verdict: RuleVerdict,
        label: int,
        *,
        scenario: str | None = None,
        segment: str | None = None,
        own: Sequence[float | None] = (),
    ) -> None:
        """Add one row.

        Args:
            transaction: the transaction.
            features: features as served.
            verdict: result of the rules.
            label: ``FRAUD``, ``GENUINE`` or ``UNKNOWN``.
            scenario: see ``Dataset``.
            segment: see ``Dataset``.
            own: the own features, for rows with some.
        """
        if self.own is not None:
            self.own.append(own)
        codes = {code for code, _ in verdict.hits}
        self.features.append([np.nan if value is None else value for value in features])
        self.rule_hits.append([code in codes for code in RULE_CODES])
        self.event_time_ms.append(transaction.event_time_ms)
        self.labels.append(label)
        self.amount.append(major_amount(transaction.amount_minor, transaction.currency))
        self.rule_score.append(verdict.score)
        self.transaction_ids.append(transaction.transaction_id)
        self.customer.append(transaction.customer_id)
        self.currency.append(transaction.currency)
        self.category.append(transaction.category)
        self.merchant.append(transaction.merchant)
        self.terminal.append(transaction.terminal)
        self.device.append(transaction.device)
        self.card.append(transaction.card)
        self.scenario.append(scenario)
        self.segment.append(segment)

    def dataset(self, rejected: int = 0) -> Dataset:
        """Return the rows so far; ``rejected`` is the number of events that did not become rows."""
        ids = np.empty(len(self.transaction_ids), dtype=np.object_)
        ids[:] = self.transaction_ids
        columns = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "transaction_ids"}
        parts: dict[str, Any] = {name: None if part is None else part.array() for name, part in columns.items()}
        return Dataset(**parts, transaction_ids=ids, rejected=rejected)


class Feed:
    """Passes transactions to the replay one by one, and keeps label, scenario and segment of the latest transaction."""

    def __init__(
        self,
        events: Iterable[SourceEvent],
        now_ms: int,
        on_rejected: Callable[[SourceEvent, Rejection], None] | None = None,
    ) -> None:
        """Take the events.

        Args:
            events: in the order of the stream.
            now_ms: the wall clock for the parser's check of event times.
            on_rejected: called for each event that the parser rejects.
        """
        self._on_rejected = on_rejected
        self.label = UNKNOWN
        self.scenario: str | None = None
        self.segment: str | None = None
        self.rejected = 0
        self._events = events
        self._now_ms = now_ms

    def __iter__(self) -> Iterator[Transaction]:
        """Yield the transactions that the parser accepts, and count the rejected events."""
        for event in self._events:
            parsed = parse_transaction(orjson.dumps(event.transaction), self._now_ms)
            if isinstance(parsed, Rejection):
                self.rejected += 1
                if self._on_rejected is not None:
                    self._on_rejected(event, parsed)
                continue
            self.label = UNKNOWN if event.label is None else FRAUD if event.label else GENUINE
            self.scenario, self.segment = event.pattern, event.segment
            yield parsed


def build_dataset(
    events: Iterable[SourceEvent],
    now_ms: int,
    config: DetectionConfig | None = None,
    on_rejected: Callable[[SourceEvent, Rejection], None] | None = None,
    own: OwnValues | None = None,
) -> Dataset:
    """Replay history into rows.

    Args:
        events: in the order the stream would receive them.
        now_ms: wall clock for the parser's check of event times, UTC milliseconds.
        config: configuration for the blacklist, ``rule_score`` and ``rule_hits``; default: the configuration that a
            job starts with.
        on_rejected: called for each event that the parser rejects.
        own: the own features to compute, if any.
    """
    config = config or DetectionConfig()
    feed, rows = Feed(events, now_ms, on_rejected), DatasetRows(own=None if own is None else OwnRows(own.features))
    for _ in fill(rows, feed, config, own):
        pass
    return rows.dataset(feed.rejected)


def fill(rows: DatasetRows, feed: Feed, config: DetectionConfig, own: OwnValues | None) -> Iterator[None]:
    """Add a row for each transaction of ``feed`` that is no duplicate, and yield after each row."""
    rules = FraudRuleEvaluator(config.rules)
    for transaction, features in replay_features(feed, config, own=own):
        verdict, more = rules.evaluate(features), () if own is None else own.of(transaction)
        rows.add(transaction, features, verdict, feed.label, scenario=feed.scenario, segment=feed.segment, own=more)
        yield
