"""Run the job under a steady load for a long time and report whether any measured series drifts.

The command starts its own stack and removes it at the end. Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shlex
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.dead_letters.letters import read_letters
from flink_jobs.errors import UserError
from flink_jobs.local.interrupts import handled, interrupt
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import WaitTimeoutError, wait_for
from tests.lab.benchmarks import machine_description
from tests.lab.benchmarks.meter import stolen_seconds
from tests.lab.benchmarks.rig import JobPlan, Rig, open_rig, trained_model
from tests.lab.benchmarks.workload import CUSTOMERS
from tests.lab.soak import soak_report
from tests.lab.soak.load import Sender, endless, follow
from tests.lab.soak.sampling import SERIES, SoakSample, Window, latency_percentiles, machine_sample, rss_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

RESULTS = REPO_ROOT / "soak-results"
FIRST_RATE, STEP_FACTOR, STEP_S = 400.0, 1.3, 20.0
KEEPS_UP = 0.95
LAST_LIMIT_S = 120.0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="minutes under load (default: %(default)s)")
    parser.add_argument(
        "--share", type=float, default=0.8, help="load as a share of the capacity (default: %(default)s)"
    )
    parser.add_argument("--rate", type=float, help="records/s (default: the share of the capacity, measured first)")
    parser.add_argument("--customers", type=int, default=CUSTOMERS, help="number of customers (default: %(default)s)")
    parser.add_argument("--every", type=float, default=15.0, help="seconds between two samples (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for soak.json, soak.md and soak.html")
    given = parser.parse_args(arguments)
    if given.minutes * 60 < 12 * given.every or not 0 < given.share <= 1 or given.every < 5:
        parser.error(
            "--every must be at least 5 s, --minutes must allow 12 samples, --share must be above 0 and at most 1"
        )
    return given


class Soak:
    """The running job, its sender and its reader."""

    def __init__(self, rig: Rig, prefix: str, job_id: str, sender: Sender, reader: Connection) -> None:
        """Use a running job, sender and reader."""
        self.rig = rig
        self.prefix = prefix
        self.job_id = job_id
        self.sender = sender
        self._reader = reader
        self.window = Window()

    def listen(self, seconds: float) -> None:
        """Collect the reader's answers for some seconds.

        Raises:
            UserError: the reader ended.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._reader.poll(left):
                try:
                    self.window.take(*self._reader.recv())
                except EOFError:
                    raise UserError("the reader of decisions ended early", "see its error above") from None

    @contextmanager
    def sending(self, rate: float) -> Iterator[None]:
        """Send at a rate during a ``with`` block."""
        done = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.sender.run, rate, done)
            try:
                yield
            finally:
                done.set()
            future.result()

    def capacity(self, say: Callable[[str], None]) -> float:
        """Raise the rate until the job no longer keeps up; return the highest rate it kept up with, in records/s.

        Sender and reader run on the same machine as the job, as in the soak.
        """
        rate, best = FIRST_RATE, 0.0
        while True:
            with self.sending(rate):
                self.listen(STEP_S / 2)  # records in flight at the start belong to the step before
                decided, since = self.window.decided, time.monotonic()
                self.listen(STEP_S)
                reached = (self.window.decided - decided) / (time.monotonic() - since)
            say(f"{rate:,.0f} records/s sent, {reached:,.0f} decisions/s")
            if reached < KEEPS_UP * rate:
                if not best:
                    raise UserError(f"the job does not keep up with {rate:,.0f} records/s", "set a lower --rate")
                self.catch_up()
                return best
            best, rate = rate, rate * STEP_FACTOR

    def catch_up(self) -> int:
        """Wait until every record sent has an outcome; return the number of dead letters.

        Raises:
            UserError: some records have no outcome.
        """
        letters = 0

        def complete() -> bool:
            nonlocal letters
            self.listen(1.0)
            letters = sum(1 for _ in read_letters(self.rig.broker, self.prefix))
            return self.window.decided + letters >= self.sender.sent

        try:
            wait_for(complete, limit_s=LAST_LIMIT_S, what="the rest of the outcomes", interval_s=0.01)
        except WaitTimeoutError:
            raise UserError(
                f"sent {self.sender.sent:,}, decided {self.window.decided:,}, dead letters {letters:,}",
                "see the job's log",
            ) from None
        return letters

    def soak(
        self, rate: float, minutes: float, every_s: float, say: Callable[[str], None], least: int = 0
    ) -> list[SoakSample]:
        """Send at a rate for ``minutes``, or until there are ``least`` samples; one is taken every ``every_s`` s."""
        samples: list[SoakSample] = []
        with self.sending(rate):
            start = time.monotonic()
            while time.monotonic() - start < minutes * 60 or len(samples) < least:
                decided, since, stolen = self.window.decided, time.monotonic(), stolen_seconds()
                self.window.latencies = []
                self.listen(every_s)
                lasted = time.monotonic() - since
                sample = {
                    "at_s": time.monotonic() - start,
                    "decided_per_s": (self.window.decided - decided) / lasted,
                    "cores_stolen": (stolen_seconds() - stolen) / lasted,
                    "undecided": float(self.sender.sent - self.window.decided),
                    **latency_percentiles(self.window.latencies),
                    **machine_sample(self.rig, self.job_id),
                }
                samples.append(sample)
                say(
                    f"{sample['decided_per_s']:,.0f} decisions/s, p50 {sample.get('latency_p50_ms', 0):,.0f} ms, "
                    f"p99 {sample.get('latency_p99_ms', 0):,.0f} ms, "
                    f"checkpoint {sample.get('checkpoint_ms', 0):,.0f} ms, "
                    f"{sample['cores_stolen']:.2f} cores stolen"
                )
        return samples


@contextmanager
def running_soak(rig: Rig, customers: int, plan: JobPlan | None = None) -> Iterator[Soak]:
    """Start job, reader and sender on new topics; yield them. ``plan`` replaces the benchmark's settings of the job."""
    prefix = rig.new_prefix("soak")
    context = multiprocessing.get_context("spawn")
    with rig.detector(prefix, plan or JobPlan()) as job_id:
        ours, theirs = context.Pipe()
        reader = context.Process(target=follow, args=(rig.broker.servers, topic_name(prefix, "decisions"), theirs))
        reader.start()
        theirs.close()  # then `recv` raises EOFError if the reader has died
        sender = Sender(rig.broker.servers, topic_name(prefix, "transactions"), endless(customers))
        try:
            wait_for(lambda: ours.poll() or not reader.is_alive(), limit_s=240, what="the reader of decisions")
            ours.recv()
            yield Soak(rig, prefix, job_id, sender, ours)
        finally:
            sender.close()
            reader.kill()
            reader.join()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; return 0 if every series is flat, every record has an outcome and no job restarted."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(given)
    console = Console(width=None if sys.stdout.isatty() else 160)
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[{time.monotonic() - started:6.0f} s] {text}", markup=False, highlight=False)

    description = machine_description.describe()
    try:
        with (
            handled(interrupt),
            trained_model(say) as model_dir,
            open_rig(model_dir, say) as rig,
            running_soak(rig, options.customers) as running,
        ):
            capacity = None if options.rate else running.capacity(say)
            rate = options.rate or options.share * (capacity or 0.0)
            say(f"soak at {rate:,.0f} records/s for {options.minutes:g} minutes")
            samples = running.soak(rate, options.minutes, options.every, say)
            letters = running.catch_up()
            restarts = len(rig.rest.failures(running.job_id))
            ledger = f"sent {running.sender.sent:,} = decided {running.window.decided:,} + dead letters {letters:,}"
            reconciles = running.sender.sent == running.window.decided + letters
            series = (*SERIES, *rss_series([item.name for item in rig.stack.status()]))
    except UserError as error:
        console.print(f"soak: {error}", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        say("interrupted; all started processes are stopped")
        return 130
    verdicts = soak_report.judge(samples, series)
    document = {
        "command": shlex.join(["python", "-m", "tests.lab.soak", *given]),
        "machine": description,
        "run": {
            "capacity, records/s": "not measured" if capacity is None else f"{capacity:,.0f}",
            "rate, records/s": f"{rate:,.0f}",
            "minutes": f"{options.minutes:g}",
            "customers": f"{options.customers:,}",
            "ledger": f"{ledger}: {'reconciles' if reconciles else 'DOES NOT RECONCILE'}",
            "restarts": str(restarts),
        },
        "verdicts": verdicts,
        "samples": samples,
    }
    soak_report.write(options.out, document, series)
    console.print(soak_report.markdown({**document, "page": "soak.html"}), markup=False, highlight=False)
    flat = all(row["is_flat"] for row in verdicts)
    return 0 if flat and reconciles and not restarts else 1
