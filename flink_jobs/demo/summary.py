"""The summary of the demo: every sent record accounted for, in Kafka and in Postgres, and the next steps."""

from __future__ import annotations

import itertools
import textwrap
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.demo.board import Latencies
    from flink_jobs.demo.measures import Percentiles
    from flink_jobs.traffic.balance import Balance
    from flink_jobs.traffic.ledger import SentLedger

BALANCED, NOT_BALANCED = 0, 1
WIDTH = 100
LABEL = 14
INDENT = " " * LABEL


@dataclass(frozen=True, slots=True)
class Locations:
    """The addresses that the summary shows to the user."""

    home: Path
    flink_ui: str
    postgres_host: str
    postgres_port: int
    postgres_user: str
    postgres_database: str
    console_login: str | None = None
    """Address that logs into the console once; ``None`` if the console does not run."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The outcomes of all records that the demo sent.

    Attributes:
        run: prefix of this run's customer and transaction ids.
        source: name of the card file.
        ledger: the sent records.
        kafka: the reconciliation with the committed records of the output topics.
        postgres: the reconciliation with the tables.
        seconds: time from the first sent record to the last outcome in Kafka.
        latencies: latencies of the decisions.
        timings: duration of each part of the demo, in seconds.
        locations: of the Flink UI, the database and the home folder.
        interrupted: whether Ctrl-C stopped the sender early.
        first_alert_s: seconds from the start of the command until the first alert was read; ``None`` without an alert.
    """

    run: str
    source: str
    ledger: SentLedger
    kafka: Balance
    postgres: Balance
    seconds: float
    latencies: Latencies
    locations: Locations
    timings: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False
    first_alert_s: float | None = None

    @property
    def is_balanced(self) -> bool:
        """Whether records were sent, and Kafka and Postgres both hold the planned outcome of each."""
        return self.ledger.sent > 0 and self.kafka.is_as_expected and self.postgres.is_as_expected

    @property
    def exit_code(self) -> int:
        """0 if every record is accounted for with its planned outcome, else 1."""
        return BALANCED if self.is_balanced else NOT_BALANCED

    def as_dict(self) -> dict[str, Any]:
        """Return all values for JSON output."""
        return {
            "run": self.run,
            "source": self.source,
            "balanced": self.is_balanced,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "records_per_second": round(self.ledger.sent / self.seconds, 1) if self.seconds else None,
            "sent": self.ledger.as_dict(),
            "kafka": self.kafka.as_dict(),
            "postgres": self.postgres.as_dict(),
            "latency": asdict(self.latencies),
            "first_alert_s": None if self.first_alert_s is None else round(self.first_alert_s, 1),
            "timings_s": self.timings,
            "flink_ui": self.locations.flink_ui,
            "home": str(self.locations.home),
        }

    def lines(self) -> list[str]:
        """Return the summary as lines of text."""
        ledger, fates = self.ledger, self.ledger.fates
        rate = ledger.sent / self.seconds if self.seconds else 0.0
        good = f"{fates['decided']:,} good ({ledger.faults['late']:,} of them late)"
        early = ", ended early" if self.interrupted else ""
        lines = [
            f"{self.source}: {ledger.sent:,} records in {self.seconds:.1f} s ({rate:,.0f}/s){early}",
            f"{'sent':<{LABEL}}{good}, {fates['rejected']:,} malformed, {fates['duplicate']:,} redelivered",
        ]
        for name, account in (("Kafka", self.kafka), ("Postgres", self.postgres)):
            lines.append(f"{name:<{LABEL}}{account.lines()[0]}")
            lines += [f"{INDENT}{problem}" for problem in problems(account)]
        latency = self.latencies
        lines += [
            f"{'latency':<{LABEL}}alerts (at once), send to readable: {_both(latency.alert, latency.alert_warm)}",
            f"{INDENT}decisions (checkpoint), send to readable: {_both(latency.readable, latency.readable_warm)}",
            f"{INDENT}decisions in the job, Kafka timestamp to score: {_both(latency.decision, latency.decision_warm)}",
            *self._counts(),
        ]
        if ledger.sent == 0:
            lines.append("no record was sent, so this run proves nothing")
        return lines

    def _counts(self) -> list[str]:
        """Return the lines about alerts and dead letters."""
        kafka = self.kafka
        degraded = f", {kafka.degraded:,} scored without the model" if kafka.degraded else ""
        incidents = f", {kafka.incidents:,} incidents" if kafka.incidents else ""
        first = (
            "" if self.first_alert_s is None else f"; the first {self.first_alert_s:.0f} s after the command started"
        )
        lines = [f"{'alerts':<{LABEL}}{kafka.alerts:,}{first}{degraded}{incidents}"]
        if kafka.detection is not None:
            found = kafka.detection
            frauds = found.true_alerts + found.missed_frauds
            lines.append(f"{INDENT}{found.true_alerts:,} of {frauds:,} labelled frauds among them")
        # A reason and its count stay on one line.
        reasons = ", ".join(f"{name}\xa0{count:,}" for name, count in kafka.reasons.items()) or "none"
        wrapped = [text.replace("\xa0", " ") for text in textwrap.wrap(reasons, WIDTH)]
        return [*lines, f"{'dead letters':<{LABEL}}{wrapped[0]}", *(f"{INDENT}{text}" for text in wrapped[1:])]

    def next_steps(self, *, stack_runs: bool) -> list[str]:
        """Return the next steps for the user; for a stopped stack, how to start it again."""
        at = self.locations
        if not stack_runs:
            return [
                f"Everything is stopped; topics, tables and logs stay in {at.home}.",
                "To explore: `streamflow demo --keep`, or `streamflow up` and `streamflow submit`.",
            ]
        password = f". {at.home / 'stack.env'}; PGPASSWORD=$STREAMFLOW_POSTGRES_PASSWORD"
        connect = f"psql -h {at.postgres_host} -p {at.postgres_port} -U {at.postgres_user} {at.postgres_database}"
        query = "select reasons, score, merchant, amount_minor from raw.alerts order by score desc limit 5"
        console = [f"Console:       {at.console_login}   (works once)"] if at.console_login else []
        return [
            *console,
            f"Flink UI:      {at.flink_ui}",
            f'Tables:        ({password} {connect} -c "{query}")',
            "Dead letters:  streamflow dlq list",
            "Rules:         streamflow control --help   (thresholds, weights, blacklists, without a restart)",
            "More traffic:  streamflow simulate --events 20000 --rate 500 --account 60",
        ]


def problems(account: Balance) -> list[str]:
    """Return the problems of a reconciliation: its lines between the verdict and the counts."""
    lines = itertools.takewhile(lambda text: text.startswith("  "), account.lines()[1:])
    return [] if account.is_as_expected else [text.strip() for text in lines]


def _both(whole: Percentiles, warm: Percentiles) -> str:
    return f"{whole.text()}; second half of the run: {warm.text()}"
