"""Precision of alerts by the labels known today, by reason and by model, from the views of migration 0003."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from ml.drift.intervals import wilson_interval

if TYPE_CHECKING:
    from ml.history.connection import Connection

_RULES: Final = """
    SELECT reason_code AS name, '' AS role, sum(alerts) AS alerts, sum(labelled_alerts) AS labelled_alerts,
        sum(fraud_alerts) AS fraud_alerts, NULL AS decisions, NULL AS frauds
    FROM ml.rule_precision
    WHERE (%(since)s::date IS NULL OR event_day >= %(since)s) AND (%(until)s::date IS NULL OR event_day < %(until)s)
    GROUP BY 1 ORDER BY 3 DESC, 1"""
_MODELS: Final = """
    SELECT model_version AS name, role, sum(alerts) AS alerts, sum(labelled_alerts) AS labelled_alerts,
        sum(fraud_alerts) AS fraud_alerts, sum(decisions) AS decisions, sum(frauds) AS frauds
    FROM ml.model_precision
    WHERE (%(since)s::date IS NULL OR event_day >= %(since)s) AND (%(until)s::date IS NULL OR event_day < %(until)s)
    GROUP BY 1, 2 ORDER BY 6 DESC, 1, 2"""


@dataclass(frozen=True, slots=True)
class AlertPrecision:
    """Alerts of one reason or one model in a period.

    Attributes:
        name: reason code or model version.
        role: champion, challenger or shadow; "" for a reason.
        alerts: number of alerts.
        labelled_alerts: alerts with a label.
        fraud_alerts: alerts labelled fraud.
        decisions: decisions of the model; None for a reason.
        frauds: transactions labelled fraud among the model's decisions; None for a reason.
    """

    name: str
    role: str
    alerts: int
    labelled_alerts: int
    fraud_alerts: int
    decisions: int | None
    frauds: int | None

    @property
    def precision(self) -> float | None:
        """Share of frauds among the labelled alerts."""
        return self.fraud_alerts / self.labelled_alerts if self.labelled_alerts else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the precision."""
        return wilson_interval(self.fraud_alerts, self.labelled_alerts)

    @property
    def recall(self) -> float | None:
        """Share of the labelled frauds with an alert; too high if only alerts get labels."""
        return self.fraud_alerts / self.frauds if self.frauds else None


@dataclass(frozen=True, slots=True)
class Precision:
    """Precision by reason and by model in a period."""

    reasons: tuple[AlertPrecision, ...]
    models: tuple[AlertPrecision, ...]


def read_precision(connection: Connection, since: date | None, until: date | None) -> Precision:
    """Return the precision for the UTC days of event time from ``since`` (inclusive) to ``until`` (exclusive)."""
    period = {"since": since, "until": until}
    tables = []
    for query in (_RULES, _MODELS):
        rows = connection.execute(query, period).fetchall()
        tables.append(
            tuple(
                AlertPrecision(
                    row["name"], row["role"],
                    *(None if row[name] is None else int(row[name]) for name in (
                        "alerts", "labelled_alerts", "fraud_alerts", "decisions", "frauds")),  # type: ignore[arg-type]
                )
                for row in rows
            )
        )  # fmt: skip
    return Precision(*tables)
