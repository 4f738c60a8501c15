"""Cases in which disks, databases, checkpoints, state or models fail."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flink_jobs.core.documents import AuditDocument
from flink_jobs.core.models.model import model_directory
from flink_jobs.kafka.control_client import build_message, encode_checked, send_and_wait
from flink_jobs.traffic.faults import FaultPlan, with_faults
from flink_jobs.waiting import wait_for
from tests.lab.faults.cases_processes import EVENTS, RATE, hold, mixed
from tests.lab.faults.fault_case import FaultCase
from tests.lab.faults.system_under_test import PairPlan
from tests.lab.faults.throttle import throttle
from tests.stack_control import kill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.faults.trial import Trial

DISK_MB = 24
SLOW_BYTES_PER_S = 20_000.0
CORRUPTING = Path(__file__).parent / "corrupting_detect.py"


def no_small_disk() -> str | None:
    """Return the reason why this user cannot mount a small file system, or None."""
    return None if os.geteuid() == 0 else "only root may mount the small file system that this case fills"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Yield a file system of a few megabytes, mounted during a ``with`` block."""
    folder.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


def fill(balloon: Path) -> None:
    """Write to a file until the disk is full."""
    with balloon.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65_536))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def fill_disk(trial: Trial) -> None:
    """Fill the disk of the checkpoint folder; checkpoints fail until space is free again."""
    system = trial.system
    with small_disk(system.scratch / "small") as disk:
        plan = PairPlan(detect={"STREAMFLOW_CHECKPOINT_DIR": disk.as_uri()})
        with system.pair(plan) as pair:
            trial.on(pair)
            with trial.sending(mixed(trial, 2 * EVENTS), RATE) as stream:
                stream.reach(EVENTS // 4)
                balloon = disk / "balloon"
                fill(balloon)
                # The job tolerates three failed checkpoints; the next failure restarts it.
                wait_for(lambda: system.rest.failures(pair.detect), limit_s=120, what="the job to notice the full disk")
                failed = system.rest.checkpoints(pair.detect).failed
                balloon.unlink()
                trial.strike(f"{failed} checkpoints failed and the job restarted; then space was freed")
                trial.recovered(pair.detect)
            trial.settle()
            trial.expect_restarts(1, 20)


def slow_postgres(trial: Trial) -> None:
    """Slow down the archive's connection to Postgres; decisions and alerts on Kafka are not delayed."""
    system = trial.system
    settings = system.stack.settings()
    with (
        throttle(settings.postgres_host, settings.postgres_port) as proxy,
        system.pair(PairPlan(archive={"STREAMFLOW_POSTGRES_PORT": str(proxy.port)})) as pair,
    ):
        trial.on(pair)
        proxy.bytes_per_s = SLOW_BYTES_PER_S
        trial.send(mixed(trial))
        in_kafka_s, in_postgres = trial.kafka_first()
        trial.expect(in_postgres < trial.ledger.sent, "Postgres was behind when Kafka had every outcome")
        trial.strike(
            f"Kafka had every outcome after {in_kafka_s:.0f} s, Postgres {in_postgres:,} of {trial.ledger.sent:,}; "
            "then the limit was removed"
        )
        proxy.bytes_per_s = None
        trial.settle()
        trial.result.recovery_s = trial.since_fault_s()
        trial.expect(proxy.passed > 0, "the archive wrote through the proxy")


def time_out_checkpoint(trial: Trial) -> None:
    """Stop the broker for longer than the checkpoint timeout; a checkpoint cannot flush its output."""
    system = trial.system
    plan = PairPlan(detect={"STREAMFLOW_CHECKPOINT_TIMEOUT_MS": "4000"})
    with system.pair(plan) as pair:
        trial.on(pair)
        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            before = system.rest.checkpoints(pair.detect).failed
            kill(system.stack, "kafka", signal.SIGSTOP)
            try:
                hold(12.0)
            finally:
                kill(system.stack, "kafka", signal.SIGCONT)
            trial.strike("checkpoint timeout 4 s, the broker was stopped for 12 s")
            trial.recovered(pair.detect)
            failed = system.rest.checkpoints(pair.detect).failed - before
            trial.expect(failed >= 1, "a checkpoint timed out")
            trial.note(f"{failed} checkpoints timed out")
        trial.settle()


def corrupt_state(trial: Trial) -> None:
    """Damage some states; each affected customer starts without history and gets an incident, others are unaffected."""
    with trial.system.pair(PairPlan(script=CORRUPTING, detect={"STREAMFLOW_CORE": "python"})) as pair:
        trial.on(pair)
        # No duplicates: a state that starts again has no list of transactions to recognise them by.
        trial.send(with_faults(trial.events(EVENTS), FaultPlan(malformed=0.05, seed=trial.seed)))
        account = trial.settle(histories=False)
        reasons = {item["reason"] for item in trial.documents("dlq") if item["disposition"] == "incident"}
        trial.expect(account.incidents, "the detector found damaged states")
        trial.expect(reasons == {"STATE_CORRUPT"}, f"the incidents have that reason ({sorted(reasons)})")
        trial.note(
            f"{account.incidents} damaged states found; each customer starts without history and gets an incident"
        )
        trial.expect_restarts(0, 0)


def corrupt_model(trial: Trial) -> None:
    """Request a model with a damaged file; the rules alone score until a control message names a good model."""
    system = trial.system
    good = model_directory(system.model_dir)
    name = f"damaged-{trial.seed}"
    damaged = system.model_dir / name
    shutil.copytree(good, damaged, dirs_exist_ok=True)
    arrays = damaged / "model.npz"
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 0xFF
    arrays.write_bytes(content)
    with system.pair() as pair:
        trial.on(pair)

        def use(version: str) -> AuditDocument:
            message = build_message(
                {"model_version": version}, issued_by="tests", reason="matrix", expected_revision=None, now_ms=0
            )
            answer = send_and_wait(system.broker, pair.prefix, encode_checked(message), message["control_id"], 400)
            trial.expect(answer, f"the control message for {version} is answered")
            assert answer is not None
            return answer

        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            answer = use(name)
            trial.strike(f"{answer.get('detail')}")
            stream.reach(EVENTS // 2)
            trial.expect(not use(good.name).get("detail"), "the good model is in use again")
        account = trial.settle()
        trial.expect(0 < account.degraded < account.decided, "some transactions were scored by rules alone")
        trial.note(f"{account.degraded:,} of {account.decided:,} scored by rules alone")
        trial.expect_restarts(0, 0)


CASES = (
    FaultCase(
        "model-corrupt", "a control message names a model whose file is damaged",
        "the rules alone score, decisions are marked degraded, until a good model is named", corrupt_model,
    ),
)  # fmt: skip

OWN_CASES = (
    FaultCase(
        "disk-full", "the disk of the checkpoint folder is full",
        "checkpoints fail, the job restarts and waits, and continues when space is free", fill_disk, no_small_disk,
    ),
    FaultCase(
        "postgres-slow", f"the connection to Postgres is limited to {SLOW_BYTES_PER_S / 1000:.0f} kB/s",
        "decisions on Kafka are not delayed; the archive catches up", slow_postgres,
    ),
    FaultCase(
        "checkpoint-timeout", "the broker is stopped for longer than the checkpoint timeout",
        "the checkpoint times out, a later one completes", time_out_checkpoint,
    ),
    FaultCase(
        "state-corrupt", "one state in fifty is written with a bit flipped",
        "that customer starts without history, and there is an incident", corrupt_state,
    ),
)  # fmt: skip
