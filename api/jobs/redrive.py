"""Redrives dead letters with the logic of ``streamflow dlq redrive``: a dry run, then the records that it listed.

Only records are sent. Rows that the archive job rejected stay with the command line: the API has no right to
write them.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from flink_jobs.core.dead_letters.policies import RedriveMethod, policy_of
from flink_jobs.core.dead_letters.redrive import place_of
from flink_jobs.dead_letters.letters import LetterFilter, read_letters
from flink_jobs.dead_letters.payload_parser import payload_parser
from flink_jobs.dead_letters.redrive_audit import RedriveItem, RedriveStore, open_redrives
from flink_jobs.dead_letters.redrive_recovery import settle_interrupted
from flink_jobs.dead_letters.redrive_run import RedriveOrder, RedrivePlan, RedriveSettings, plan_redrive, run_redrive
from flink_jobs.errors import UserError
from flink_jobs.kafka.pacing import Pace

if TYPE_CHECKING:
    from api.jobs.what_if import Progress
    from flink_jobs.settings import Settings

RATE: Final = 100.0
"""Records per second."""
SHOWN: Final = 20
MOST_LETTERS: Final = 50_000
"""Dead letters of one dry run: the process holds them in memory."""


def dry_run(settings: Settings, request: dict[str, Any], _: str, __: Progress) -> dict[str, Any]:
    """Return what a redrive would send and what it would leave; nothing is sent."""
    kafka = _kafka(settings)
    with open_redrives(settings.postgres_dsn_as("api")) as store:
        plan, items = _plan(kafka, store, request)
    counts = Counter((verdict.is_allowed, verdict.why) for _, verdict in plan.verdicts)
    rows = len(plan.items) - len(items)
    return {
        "records": len(items),
        "rows": rows,
        "plan": [{"goes": goes, "why": why, "count": count} for (goes, why), count in counts.most_common()],
        "first": [{"id": item.letter["dlq_id"], "place": place_of(item.letter)} for item in items[:SHOWN]],
    }


def carry_out(settings: Settings, request: dict[str, Any], who: str, progress: Progress) -> dict[str, Any]:
    """Send the records of a dry run; return the run's id and how many were sent. Each record is sent at most once."""
    kafka = _kafka(settings)
    with open_redrives(settings.postgres_dsn_as("api"), alone=True) as store:
        settle_interrupted(store, kafka.broker)
        _, items = _plan(kafka, store, request)
        selection = {"reason": request["reason"], "since_ms": request["since_ms"], "until_ms": request["until_ms"]}
        order = RedriveOrder(who, request["why"], selection, Pace(rate=RATE))
        report = run_redrive(store, kafka, order, items, lambda now: progress(now.sent, len(items)))
    return {"run": report.run, "sent": report.sent, "taken": report.taken}


def _kafka(settings: Settings) -> RedriveSettings:
    return RedriveSettings(
        settings.broker("api"), settings.topic_prefix, settings.replay_limit, payload_parser(settings)
    )


def _plan(
    kafka: RedriveSettings, store: RedriveStore, request: dict[str, Any]
) -> tuple[RedrivePlan, list[RedriveItem]]:
    """Return the verdict on every chosen dead letter, and the records to send, oldest first."""
    chosen = LetterFilter(
        reasons=frozenset({request["reason"]}), since_ms=request["since_ms"], until_ms=request["until_ms"]
    )
    found = list(islice(read_letters(kafka.broker, kafka.prefix, chosen), MOST_LETTERS + 1))
    if len(found) > MOST_LETTERS:
        raise UserError(
            f"these days have more than {MOST_LETTERS:,} dead letters of this reason",
            "choose fewer days, or use `streamflow dlq redrive`",
        )
    letters = sorted(
        found,
        key=lambda letter: (letter["processing_time_ms"], letter["offset"]),
    )
    plan = plan_redrive(kafka, letters, store.histories(), now_ms=time.time_ns() // 1_000_000, is_forced=False)
    return plan, [item for item in plan.items if policy_of(item.letter).method is not RedriveMethod.ROW]
