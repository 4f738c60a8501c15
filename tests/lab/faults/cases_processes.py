"""Processes that die or stand still in mid-stream."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from flink_jobs.local.flink import JOB_MANAGER
from flink_jobs.traffic.faults import FaultPlan, with_faults
from flink_jobs.waiting import wait_for
from tests.lab.faults.fault_stack import PairPlan
from tests.lab.faults.finding import Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flink_jobs.kafka.outgoing import Outgoing
    from tests.lab.faults.trial import Trial

EVENTS = 3_000
RATE = 250.0
"""Records a second: the stream outlasts the fault, and a small machine keeps up."""
POSTGRES_DOWN_S = 60.0
DETECTOR = "fraud detector"
STORM = 4


def mixed(trial: Trial, events: int = EVENTS) -> Iterator[Outgoing]:
    """Return card traffic with some of everything that is wrong in ordinary times."""
    faults = FaultPlan(malformed=0.05, duplicates=0.03, seed=trial.seed)
    return with_faults(trial.events(events), faults)


def hold(seconds: float) -> None:
    """Let a fault last."""
    time.sleep(seconds)


@contextmanager
def writers_held_up(dsn: str) -> Iterator[None]:
    """Let nobody write decisions, for as long as the block takes or Postgres lives."""
    connection = psycopg.connect(dsn)
    connection.execute("LOCK TABLE raw.decisions IN SHARE MODE")
    try:
        yield
    finally:
        connection.close()


def kill_taskmanager(trial: Trial) -> None:
    """The detector's own: the spare one takes over."""
    lab = trial.lab
    with lab.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            victim = lab.taskmanager_of(pair.detect, DETECTOR)
            trial.strike(f"SIGKILL of {victim}")
            lab.stack.kill(victim)
            trial.recovered(pair.detect)
        lab.restart("flink")
        trial.settle()
        trial.expect_restarts(1, 4)


def kill_jobmanager(trial: Trial) -> None:
    """A supervisor starts it again; what it knew is in ZooKeeper and the checkpoints."""
    lab = trial.lab
    with lab.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            trial.strike("SIGKILL of the JobManager, started again at once")
            lab.stack.kill(JOB_MANAGER)
            lab.restart("flink")
            trial.recovered(pair.detect)
        restored = lab.rest.checkpoints(pair.detect).restored
        trial.note(f"the job has its id still, {restored} restore from a checkpoint")
        trial.expect(restored >= 1, "the job went on from a checkpoint")
        trial.settle()


def kill_broker(trial: Trial) -> None:
    """Open transactions, group offsets and the producer's sequence numbers all survive in its log."""
    lab = trial.lab
    with lab.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            trial.strike("SIGKILL of the broker, started again at once")
            lab.stack.kill("kafka")
            lab.restart("kafka")
            trial.recovered(pair.detect)
        trial.settle()


def kill_postgres(trial: Trial) -> None:
    """Decisions go on; the archive waits and catches up."""
    lab = trial.lab
    with lab.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            with writers_held_up(lab.stack.settings().postgres_dsn):
                # The archive's checkpoint flushes what it holds to Postgres; held up there, Flink's cached answer
                # about checkpoints is in time to tell of it.
                wait_for(lambda: lab.rest.checkpoints(pair.archive).in_progress, limit_s=60, what="a checkpoint")
                lab.stack.kill("postgres")
            began = time.time() * 1000
            hold(POSTGRES_DOWN_S)
            meanwhile = lab.rest.checkpoints(pair.detect).last_completed_ms or 0
            trial.expect(
                meanwhile - began > (POSTGRES_DOWN_S - 20) * 1000, "the detector went on committing without Postgres"
            )
            failed = [item for item in lab.rest.failures(pair.detect) if item.at_ms >= began]
            trial.expect(not failed, "the detector did not restart")
            trial.strike(f"SIGKILL of Postgres in mid-checkpoint, down for {POSTGRES_DOWN_S:.0f} s")
            lab.restart("postgres")
            trial.recovered(pair.archive)
        trial.settle()
        trial.expect_restarts(1, 30)


def pause_taskmanager(trial: Trial) -> None:
    """Longer than the heartbeat's limit: it comes back as a ghost of an attempt that is over."""
    lab = trial.lab
    with lab.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial, 2 * EVENTS), RATE) as stream:
            stream.reach(EVENTS // 4)
            victim = lab.taskmanager_of(pair.detect, DETECTOR)
            trial.strike(f"SIGSTOP of {victim}, SIGCONT once the spare one has taken over")
            lab.stack.kill(victim, signal.SIGSTOP)
            try:
                trial.recovered(pair.detect)
            finally:
                lab.stack.kill(victim, signal.SIGCONT)
        trial.expect(lab.taskmanager_of(pair.detect, DETECTOR) != victim, "another TaskManager took over")
        trial.settle()
        trial.expect_restarts(1, 4)
        # The ghost must have noticed: a slot for the next case.
        lab.restart("flink")
        wait_for(lambda: lab.rest.overview()["slots-available"], limit_s=120, what="the paused one to come back")


def restart_storm(trial: Trial) -> None:
    """Again and again, each time before the last recovery has settled."""
    lab = trial.lab
    with lab.pair() as pair:
        trial.on(pair)
        with trial.sending(mixed(trial, 2 * EVENTS), RATE) as stream:
            stream.reach(EVENTS // 4)
            for _ in range(STORM):
                wait_for(lambda: lab.rest.all_tasks_running(pair.detect), limit_s=180, what="the detector to run again")
                victim = lab.taskmanager_of(pair.detect, DETECTOR)
                lab.stack.kill(victim)
                lab.restart("flink")
            trial.strike(f"{STORM} SIGKILLs of the detector's TaskManager, each as soon as its tasks ran again")
            trial.recovered(pair.detect)
        trial.settle()
        trial.expect_restarts(STORM, 4 * STORM)


def expire_transaction(trial: Trial) -> None:
    """The broker aborts what the paused detector had open; the next write is refused, and the job replays it."""
    lab = trial.lab
    timeout_ms = 10_000
    plan = PairPlan(
        detect={"STREAMFLOW_TRANSACTION_TIMEOUT_MS": str(timeout_ms), "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "8000"}
    )
    with lab.pair(plan) as pair:
        trial.on(pair)
        with trial.sending(mixed(trial, 4 * EVENTS), RATE) as stream:
            stream.reach(EVENTS)
            # Below the heartbeat's limit of 20 s, so that it is the transaction that ends and not the attempt. The
            # broker looks for expired transactions every 10 s: two pauses, one of them meets an open one.
            for _ in range(2):
                wait_for(lambda: lab.rest.all_tasks_running(pair.detect), limit_s=180, what="the detector to run")
                # Right after a commit. Between a checkpoint's two phases, what it holds would be lost with its
                # transaction, which no restart mends (docs/faults.md).
                lab.checkpoint_after(pair.detect, time.time() * 1000)
                hold(1.0)
                victim = lab.taskmanager_of(pair.detect, DETECTOR)
                lab.stack.kill(victim, signal.SIGSTOP)
                hold(18.0)
                lab.stack.kill(victim, signal.SIGCONT)
                hold(6.0)
            trial.strike(f"transactions of {timeout_ms / 1000:.0f} s, the detector paused twice for 18 s")
            ended = lab.dead_taskmanagers()
            if ended:  # Flink's way with a task whose sink cannot even be closed
                trial.note(f"{len(ended)} TaskManager ended itself over its aborted transaction")
                lab.restart("flink")
            trial.recovered(pair.detect)
        trial.settle()
        trial.expect_restarts(1, 10)


CASES = (
    Case(
        "taskmanager-kill", "SIGKILL of the detector's TaskManager in mid-stream",
        "the spare TaskManager goes on from the last checkpoint", kill_taskmanager,
    ),
    Case(
        "jobmanager-kill", "SIGKILL of the JobManager in mid-stream",
        "started again, it finds both jobs and their checkpoints", kill_jobmanager,
    ),
    Case(
        "broker-kill", "SIGKILL of the Kafka broker in mid-stream",
        "producers and both jobs wait, then go on", kill_broker,
    ),
    Case(
        "postgres-down", f"SIGKILL of Postgres in mid-checkpoint, down for {POSTGRES_DOWN_S:.0f} s",
        "decisions on Kafka go on at their pace; the archive catches up", kill_postgres,
    ),
    Case(
        "process-paused", "SIGSTOP of the detector's TaskManager beyond the heartbeat's limit, then SIGCONT",
        "another takes over; the ghost can commit nothing", pause_taskmanager,
    ),
    Case(
        "restart-storm", f"SIGKILL of the detector's TaskManager, {STORM} times in a row",
        "it comes back each time", restart_storm,
    ),
)  # fmt: skip

OWN_CASES = (
    Case(
        "transaction-expired", "the detector pauses longer than its Kafka transaction may last",
        "the broker aborts it; the job restarts and decides again what was in it", expire_transaction,
    ),
)  # fmt: skip
