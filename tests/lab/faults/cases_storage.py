"""Disks, databases, checkpoints, state and models that fail."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flink_jobs.core.models.model import model_directory
from flink_jobs.kafka.control_client import build_message, encode_checked, send_and_wait
from flink_jobs.traffic.faults import FaultPlan, with_faults
from flink_jobs.waiting import wait_for
from tests.lab.faults.cases_processes import EVENTS, RATE, hold, mixed
from tests.lab.faults.fault_stack import PairPlan
from tests.lab.faults.finding import Case
from tests.lab.faults.throttle import throttle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.faults.trial import Trial

DISK_MB = 24
SLOW_BYTES_PER_S = 20_000.0
CORRUPTING = Path(__file__).parent / "corrupting_detect.py"


def no_small_disk() -> str | None:
    """Return why no small file system can be mounted here."""
    return None if os.geteuid() == 0 else "only root may mount the small file system that fills up"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Yield a file system of a few megabytes, mounted for the length of a block."""
    folder.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


def fill(balloon: Path) -> None:
    """Write until the disk is full."""
    with balloon.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65_536))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def fill_disk(trial: Trial) -> None:
    """No checkpoint can be written until somebody makes room."""
    lab = trial.lab
    with small_disk(lab.scratch / "small") as disk:
        plan = PairPlan(detect={"STREAMFLOW_CHECKPOINT_DIR": disk.as_uri()})
        with lab.pair(plan) as pair:
            trial.on(pair)
            with trial.sending(mixed(trial, 2 * EVENTS), RATE) as stream:
                stream.reach(EVENTS // 4)
                balloon = disk / "balloon"
                fill(balloon)
                # Three failed checkpoints are tolerated, the next one restarts the job.
                wait_for(lambda: lab.rest.failures(pair.detect), limit_s=120, what="the job to notice the full disk")
                failed = lab.rest.checkpoints(pair.detect).failed
                balloon.unlink()
                trial.strike(f"{failed} checkpoints failed and the job restarted; then the disk had room again")
                trial.recovered(pair.detect)
            trial.settle()
            trial.expect_restarts(1, 20)


def slow_postgres(trial: Trial) -> None:
    """The archive crawls; decisions and alerts on Kafka do not."""
    lab = trial.lab
    settings = lab.stack.settings()
    with (
        throttle(settings.postgres_host, settings.postgres_port) as proxy,
        lab.pair(PairPlan(archive={"STREAMFLOW_POSTGRES_PORT": str(proxy.port)})) as pair,
    ):
        trial.on(pair)
        proxy.bytes_per_s = SLOW_BYTES_PER_S
        trial.send(mixed(trial))
        in_kafka_s, in_postgres = trial.kafka_first()
        trial.expect(in_postgres < trial.ledger.sent, "Postgres was behind when Kafka had every outcome")
        trial.strike(
            f"Kafka had every outcome after {in_kafka_s:.0f} s, Postgres {in_postgres:,} of {trial.ledger.sent:,}; "
            "then the network was fast again"
        )
        proxy.bytes_per_s = None
        trial.settle()
        trial.finding.recovery_s = trial.since_fault_s()
        trial.expect(proxy.passed > 0, "the archive wrote through the proxy")


def time_out_checkpoint(trial: Trial) -> None:
    """The broker stands still: what a checkpoint has to flush does not leave."""
    lab = trial.lab
    plan = PairPlan(detect={"STREAMFLOW_CHECKPOINT_TIMEOUT_MS": "4000"})
    with lab.pair(plan) as pair:
        trial.on(pair)
        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            before = lab.rest.checkpoints(pair.detect).failed
            lab.stack.kill("kafka", signal.SIGSTOP)
            try:
                hold(12.0)
            finally:
                lab.stack.kill("kafka", signal.SIGCONT)
            trial.strike("checkpoints of 4 s at most, the broker stood still for 12 s")
            trial.recovered(pair.detect)
            failed = lab.rest.checkpoints(pair.detect).failed - before
            trial.expect(failed >= 1, "a checkpoint timed out")
            trial.note(f"{failed} checkpoints given up")
        trial.settle()


def corrupt_state(trial: Trial) -> None:
    """A customer whose bytes are damaged starts afresh, with an incident; nobody else notices."""
    with trial.lab.pair(PairPlan(script=CORRUPTING, detect={"STREAMFLOW_CORE": "python"})) as pair:
        trial.on(pair)
        # No duplicates: a customer who forgets everything forgets what was decided, too.
        trial.send(with_faults(trial.events(EVENTS), FaultPlan(malformed=0.05, seed=trial.seed)))
        account = trial.settle(histories=False)
        reasons = {item["reason"] for item in trial.documents("dlq") if item["disposition"] == "incident"}
        trial.expect(account.incidents, "damaged states were met")
        trial.expect(reasons == {"STATE_CORRUPT"}, f"the incidents say so ({sorted(reasons)})")
        trial.note(f"{account.incidents} states found damaged, each customer starts afresh with an incident letter")
        trial.expect_restarts(0, 0)


def corrupt_model(trial: Trial) -> None:
    """A model whose file is damaged is asked for in mid-stream: rules alone decide until a good one is back."""
    lab = trial.lab
    good = model_directory(lab.model_dir)
    name = f"damaged-{trial.seed}"
    damaged = lab.model_dir / name
    shutil.copytree(good, damaged, dirs_exist_ok=True)
    arrays = damaged / "model.npz"
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 0xFF
    arrays.write_bytes(content)
    with lab.pair() as pair:
        trial.on(pair)

        def use(version: str) -> dict[str, Any]:
            message = build_message(
                {"model_version": version}, issued_by="tests", reason="matrix", expected_revision=None, now_ms=0
            )
            answer = send_and_wait(lab.broker, pair.prefix, encode_checked(message), message["control_id"], 60)
            trial.expect(answer, f"the control message for {version} is answered")
            return answer or {}

        with trial.sending(mixed(trial), RATE) as stream:
            stream.reach(EVENTS // 4)
            answer = use(name)
            trial.strike(f"{answer.get('detail')}")
            stream.reach(EVENTS // 2)
            trial.expect(not use(good.name).get("detail"), "the good model is taken back into use")
        account = trial.settle()
        trial.expect(0 < account.degraded < account.decided, "rules alone decided for a while")
        trial.note(f"{account.degraded:,} of {account.decided:,} decided by rules alone")
        trial.expect_restarts(0, 0)


CASES = (
    Case(
        "model-corrupt", "a control message asks for a model whose file is damaged",
        "rules alone decide, marked degraded, until a good model is named", corrupt_model,
    ),
)  # fmt: skip

OWN_CASES = (
    Case(
        "disk-full", "the checkpoint folder's disk is full",
        "checkpoints fail, the job restarts and waits, goes on when there is room", fill_disk, no_small_disk,
    ),
    Case(
        "postgres-slow", f"Postgres behind a network of {SLOW_BYTES_PER_S / 1000:.0f} kB/s",
        "decisions on Kafka are not held up; the archive catches up", slow_postgres,
    ),
    Case(
        "checkpoint-timeout", "the broker stands still for longer than a checkpoint may take",
        "the checkpoint is given up, a later one completes", time_out_checkpoint,
    ),
    Case(
        "state-corrupt", "one state in fifty is written with a bit flipped",
        "that customer starts afresh with an incident letter", corrupt_state,
    ),
)  # fmt: skip
