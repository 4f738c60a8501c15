"""Cases in which processes are killed or stopped while records arrive."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from flink_jobs.local.flink import JOB_MANAGER
from flink_jobs.traffic.faults import FaultPlan, with_faults
from flink_jobs.waiting import wait_for
from tests.lab.faults.fault_case import FaultCase
from tests.lab.faults.system_under_test import PairPlan
from tests.stack_control import kill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flink_jobs.kafka.outgoing import Outgoing
    from tests.lab.faults.trial import Trial

EVENTS = 3_000
RATE = 250.0
"""Records per second: low enough for a small machine, and the stream lasts longer than the fault."""
POSTGRES_DOWN_S = 60.0
DETECTOR = "fraud detector"
STORM = 4


def mixed(trial: Trial, events: int = EVENTS) -> Iterator[Outgoing]:
    """Return card traffic with 5 % malformed records and 3 % duplicates."""
    faults = FaultPlan(malformed=0.05, duplicates=0.03, seed=trial.seed)
    return with_faults(trial.events(events), faults)


def hold(seconds: float) -> None:
    """Keep a fault in place for some seconds."""
    time.sleep(seconds)


@contextmanager
def writers_held_up(dsn: str) -> Iterator[None]:
    """Block all writes to ``raw.decisions`` until the block or Postgres ends."""
    connection = psycopg.connect(dsn)
    connection.execute("LOCK TABLE raw.decisions IN SHARE MODE")
    try:
        yield
    finally:
        connection.close()


def kill_taskmanager(trial: Trial) -> None:
    """Kill the detector's TaskManager; the spare one takes over."""
    system = trial.system
    with system.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            victim = system.taskmanager_of(pair.detect, DETECTOR)
            trial.strike(f"SIGKILL of {victim}")
            kill(system.stack, victim)
            trial.recovered(pair.detect)
        system.restart("flink")
        trial.settle()
        trial.expect_restarts(1, 4)


def kill_jobmanager(trial: Trial) -> None:
    """Kill and restart the JobManager; ZooKeeper and the checkpoints hold its jobs."""
    system = trial.system
    with system.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            trial.strike("SIGKILL of the JobManager, started again at once")
            kill(system.stack, JOB_MANAGER)
            system.restart("flink")
            trial.recovered(pair.detect)
        restored = system.rest.checkpoints(pair.detect).restored
        trial.note(f"the job kept its id; restores from a checkpoint: {restored}")
        trial.expect(restored >= 1, "the job resumed from a checkpoint")
        trial.settle()


def kill_broker(trial: Trial) -> None:
    """Kill and restart the broker; its log holds open transactions, group offsets and producer sequence numbers."""
    system = trial.system
    with system.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            trial.strike("SIGKILL of the broker, started again at once")
            kill(system.stack, "kafka")
            system.restart("kafka")
            trial.recovered(pair.detect)
        trial.settle()


def kill_postgres(trial: Trial) -> None:
    """Kill Postgres during a checkpoint of the archive; decisions continue, and the archive catches up."""
    system = trial.system
    with system.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            with writers_held_up(system.stack.settings().postgres_dsn):
                # A checkpoint of the archive first flushes its rows to Postgres. The lock makes it last long enough for
                # Flink's cached REST answer to show it.
                wait_for(lambda: system.rest.checkpoints(pair.archive).in_progress, limit_s=60, what="a checkpoint")
                kill(system.stack, "postgres")
            began = time.time() * 1000
            hold(POSTGRES_DOWN_S)
            meanwhile = system.rest.checkpoints(pair.detect).last_completed_ms or 0
            trial.expect(
                meanwhile - began > (POSTGRES_DOWN_S - 20) * 1000, "the detector kept committing without Postgres"
            )
            failed = [item for item in system.rest.failures(pair.detect) if item.at_ms >= began]
            trial.expect(not failed, "the detector did not restart")
            trial.strike(f"SIGKILL of Postgres during a checkpoint, down for {POSTGRES_DOWN_S:.0f} s")
            system.restart("postgres")
            trial.recovered(pair.archive)
        trial.settle()
        trial.expect_restarts(1, 30)


def pause_taskmanager(trial: Trial) -> None:
    """Stop a TaskManager for longer than the heartbeat timeout; when it continues, its job attempt is already over."""
    system = trial.system
    with system.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial, 2 * EVENTS), RATE) as stream:
            stream.reach(EVENTS // 4)
            victim = system.taskmanager_of(pair.detect, DETECTOR)
            trial.strike(f"SIGSTOP of {victim}, SIGCONT after the spare one took over")
            kill(system.stack, victim, signal.SIGSTOP)
            try:
                trial.recovered(pair.detect)
            finally:
                kill(system.stack, victim, signal.SIGCONT)
        trial.expect(system.taskmanager_of(pair.detect, DETECTOR) != victim, "another TaskManager took over")
        trial.settle()
        trial.expect_restarts(1, 4)
        # The next case needs a slot, so wait until the stopped TaskManager has registered again.
        system.restart("flink")
        wait_for(
            lambda: system.rest.overview()["slots-available"], limit_s=120, what="the stopped TaskManager to register"
        )


def restart_storm(trial: Trial) -> None:
    """Kill the detector's TaskManager several times, each time as soon as the detector's tasks run again."""
    system = trial.system
    with system.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial, 2 * EVENTS), RATE) as stream:
            stream.reach(EVENTS // 4)
            for _ in range(STORM):
                wait_for(
                    lambda: system.rest.all_tasks_running(pair.detect), limit_s=180, what="the detector to run again"
                )
                victim = system.taskmanager_of(pair.detect, DETECTOR)
                kill(system.stack, victim)
                system.restart("flink")
            trial.strike(f"{STORM} SIGKILLs of the detector's TaskManager, each as soon as its tasks ran again")
            trial.recovered(pair.detect)
        trial.settle()
        trial.expect_restarts(STORM, 4 * STORM)


def expire_transaction(trial: Trial) -> None:
    """Stop the detector until the broker aborts its transaction; its next write fails, and the job replays."""
    system = trial.system
    timeout_ms = 10_000
    plan = PairPlan(
        detect={"STREAMFLOW_TRANSACTION_TIMEOUT_MS": str(timeout_ms), "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "8000"}
    )
    with system.pair(plan) as pair:
        trial.on(pair)
        with trial.sending(mixed(trial, 4 * EVENTS), RATE) as stream:
            stream.reach(EVENTS)
            # The pauses are shorter than the heartbeat timeout of 20 s, so the transaction expires and not the attempt.
            # The broker checks for expired transactions every 10 s; one of two pauses covers an open transaction.
            for _ in range(2):
                wait_for(lambda: system.rest.all_tasks_running(pair.detect), limit_s=180, what="the detector to run")
                # Pause right after a commit. A pause between the two phases of a checkpoint would lose the records of
                # its transaction, which no restart can recover (docs/faults.md).
                system.checkpoint_after(pair.detect, time.time() * 1000)
                hold(1.0)
                victim = system.taskmanager_of(pair.detect, DETECTOR)
                kill(system.stack, victim, signal.SIGSTOP)
                hold(18.0)
                kill(system.stack, victim, signal.SIGCONT)
                hold(6.0)
            trial.strike(f"transactions of {timeout_ms / 1000:.0f} s, the detector paused twice for 18 s")
            ended = system.dead_taskmanagers()
            if ended:  # Flink ends a TaskManager whose sink cannot be closed
                trial.note(f"{len(ended)} TaskManager ended itself over its aborted transaction")
                system.restart("flink")
            trial.recovered(pair.detect)
        trial.settle()
        trial.expect_restarts(1, 10)


CASES = (
    FaultCase(
        "taskmanager-kill", "SIGKILL of the detector's TaskManager while records arrive",
        "the spare TaskManager resumes from the last checkpoint", kill_taskmanager,
    ),
    FaultCase(
        "jobmanager-kill", "SIGKILL of the JobManager while records arrive",
        "the restarted JobManager restores both jobs from their checkpoints", kill_jobmanager,
    ),
    FaultCase(
        "broker-kill", "SIGKILL of the Kafka broker while records arrive",
        "producers and both jobs wait, then continue", kill_broker,
    ),
    FaultCase(
        "postgres-down", f"SIGKILL of Postgres during a checkpoint, down for {POSTGRES_DOWN_S:.0f} s",
        "decisions on Kafka continue at the same throughput; the archive catches up", kill_postgres,
    ),
    FaultCase(
        "process-paused", "SIGSTOP of the detector's TaskManager beyond the heartbeat timeout, then SIGCONT",
        "another TaskManager takes over; the stopped one can commit nothing", pause_taskmanager,
    ),
    FaultCase(
        "restart-storm", f"SIGKILL of the detector's TaskManager, {STORM} times in a row",
        "the detector recovers each time", restart_storm,
    ),
)  # fmt: skip

OWN_CASES = (
    FaultCase(
        "transaction-expired", "the detector is stopped for longer than the timeout of its Kafka transaction",
        "the broker aborts the transaction; the job restarts and scores its records again", expire_transaction,
    ),
)  # fmt: skip
