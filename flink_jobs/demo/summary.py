"""The end of the demo: the account of every record sent, from Kafka and from Postgres, and what to do next."""

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


@dataclass(frozen=True, slots=True)
class Locations:
    """Where things are, for the person at the terminal."""

    home: Path
    flink_ui: str
    postgres_host: str
    postgres_port: int
    postgres_user: str
    postgres_database: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of everything that was sent.

    Attributes:
        run: prefix of this run's customer and transaction ids.
        source: name of the card file.
        ledger: what was sent.
        kafka: the account by the committed records of the output topics.
        postgres: the account by the tables.
        seconds: from the first record sent until the last outcome was in Kafka.
        latencies: of the decisions.
        timings: seconds each part of the demo took.
        locations: of the Flink UI, the database and the home folder.
        interrupted: whether Ctrl-C ended the sending early.
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

    @property
    def is_balanced(self) -> bool:
        """Tell whether something was sent, and Kafka and Postgres both hold for each record what was planned."""
        return self.ledger.sent > 0 and self.kafka.is_as_expected and self.postgres.is_as_expected

    @property
    def exit_code(self) -> int:
        """Return 0 only when the account balances."""
        return BALANCED if self.is_balanced else NOT_BALANCED

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON output."""
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
            "timings_s": self.timings,
            "flink_ui": self.locations.flink_ui,
            "home": str(self.locations.home),
        }

    def lines(self) -> list[str]:
        """Return the account in words."""
        ledger, fates = self.ledger, self.ledger.fates
        rate = ledger.sent / self.seconds if self.seconds else 0.0
        good = f"{fates['decided']:,} good ({ledger.faults['late']:,} of them late)"
        early = ", ended early" if self.interrupted else ""
        lines = [
            f"{self.source}: {ledger.sent:,} records in {self.seconds:.1f} s ({rate:,.0f}/s){early}",
            f"sent      {good}, {fates['rejected']:,} malformed, {fates['duplicate']:,} redelivered",
        ]
        for name, account in (("Kafka", self.kafka), ("Postgres", self.postgres)):
            lines.append(f"{name:<10}{account.lines()[0]}")
            lines += [f"          {problem}" for problem in problems(account)]
        latency = self.latencies
        lines += [
            f"latency   sending to readable decision: {_both(latency.readable, latency.readable_warm)}",
            f"          Kafka timestamp to decision:  {_both(latency.decision, latency.decision_warm)}",
            *self._counts(),
        ]
        if ledger.sent == 0:
            lines.append("nothing was sent, so nothing is shown to work")
        return lines

    def _counts(self) -> list[str]:
        """Return what the decisions and dead letters were, below their headings."""
        kafka = self.kafka
        degraded = f", {kafka.degraded:,} decided without the model" if kafka.degraded else ""
        incidents = f", {kafka.incidents:,} incidents" if kafka.incidents else ""
        lines = [f"alerts    {kafka.alerts:,}{degraded}{incidents}"]
        if kafka.detection is not None:
            found = kafka.detection
            frauds = found.true_alerts + found.missed_frauds
            lines.append(f"          {found.true_alerts:,} of {frauds:,} labelled frauds among them")
        # A reason and its count stay on one line.
        reasons = ", ".join(f"{name}\xa0{count:,}" for name, count in kafka.reasons.items()) or "none"
        wrapped = [text.replace("\xa0", " ") for text in textwrap.wrap(reasons, WIDTH)]
        return [*lines, f"letters   {wrapped[0]}", *(f"          {text}" for text in wrapped[1:])]

    def next_steps(self, *, stack_runs: bool) -> list[str]:
        """Return what to do now; with the stack gone, how to get it back."""
        at = self.locations
        if not stack_runs:
            return [
                f"Everything is stopped; topics, tables and logs stay in {at.home}.",
                "To look around: `streamflow demo --keep`, or `streamflow up` and `streamflow submit`.",
            ]
        password = f". {at.home / 'stack.env'}; PGPASSWORD=$STREAMFLOW_POSTGRES_PASSWORD"
        connect = f"psql -h {at.postgres_host} -p {at.postgres_port} -U {at.postgres_user} {at.postgres_database}"
        query = "select reasons, score, merchant, amount_minor from raw.alerts order by score desc limit 5"
        return [
            f"Flink UI:      {at.flink_ui}",
            f'Tables:        ({password} {connect} -c "{query}")',
            "Dead letters:  streamflow dlq list",
            "Rules:         streamflow control --help   (thresholds, weights, blacklists, without a restart)",
            "More traffic:  streamflow simulate --events 20000 --rate 500 --account 60",
        ]


def problems(account: Balance) -> list[str]:
    """Return what is wrong with an account, in words: the lines between its verdict and its counts."""
    lines = itertools.takewhile(lambda text: text.startswith("  "), account.lines()[1:])
    return [] if account.is_as_expected else [text.strip() for text in lines]


def _both(whole: Percentiles, warm: Percentiles) -> str:
    return f"{whole.text()}; later half: {warm.text()}"
