"""Size of the state: bytes per customer in checkpoints and savepoints, and the TaskManager's resident memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flink_jobs.changing_folders import size_below
from flink_jobs.core.state.codec import MAX_STATE_BYTES
from flink_jobs.core.state.fields import RING_CAPACITY
from flink_jobs.flink.savepoints.snapshot import local_path
from tests.lab.benchmarks.bench_report import ResultSection, number
from tests.lab.benchmarks.meter import read_process
from tests.lab.benchmarks.rig import JobPlan, Rig
from tests.lab.benchmarks.workload import many_customers
from tests.stack_control import wait_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 2**20
MILLION = 1_000_000
METHOD = (
    "The job receives transactions of this number of customers. A savepoint holds the key and state of every customer "
    "once, uncompressed. A checkpoint holds RocksDB's files, compressed, with old versions that are not yet compacted "
    "away. Values per million customers are extrapolated in proportion. The TaskManager's configuration bounds its "
    "resident memory (1,728 MiB): state beyond RocksDB's cache is on disk, so memory does not grow with customers. "
    f"The state of one customer has at most {MAX_STATE_BYTES} bytes."
)


@dataclass(frozen=True)
class Filling:
    """A number of customers and the number of transactions of each."""

    name: str
    customers: int
    events_each: int


def fillings(customers: int) -> tuple[Filling, Filling]:
    """Return two fillings: customers with one transaction, and a tenth as many with a full history."""
    return (
        Filling("1 transaction each", customers, 1),
        Filling(f"{RING_CAPACITY} transactions each (history full)", max(100, customers // 10), RING_CAPACITY),
    )


def measure(rig: Rig, customers: int, say: Callable[[str], None]) -> list[ResultSection]:
    """Fill the job and measure checkpoint, savepoint and resident memory."""
    section = ResultSection(
        "memory",
        "State per million customers",
        METHOD,
        (
            "customers",
            "history",
            "savepoint bytes/customer",
            "savepoint MiB/million",
            "checkpoint MiB/million",
            "TaskManager MiB before",
            "after",
        ),
    )
    for filling in fillings(customers):
        pids = rig.taskmanager_pids()
        with rig.filled_topics("memory", many_customers(filling.customers, filling.events_each)) as prefix:
            before = read_process(pids).rss_bytes
            with rig.detector(prefix, JobPlan()) as job_id:
                rig.await_consumed(prefix, job_id, filling.customers * filling.events_each)
                wait_checkpoint(rig.rest, job_id)
                checkpoint = full_size(rig, job_id)
                after = read_process(pids).rss_bytes
                savepoint = size_below(local_path(rig.rest.savepoint(job_id, (rig.scratch / "savepoints").as_uri())))
        each = savepoint / filling.customers
        say(f"{filling.customers:,} customers, {filling.name}: {each:.0f} bytes per customer")
        section.raw.append(
            {"customers": filling.customers, "events_each": filling.events_each, "savepoint_bytes": savepoint,
             "checkpoint_bytes": checkpoint, "rss_before": before, "rss_after": after}
        )  # fmt: skip
        section.cost(f"{filling.name}, savepoint", [each], "bytes a customer")
        section.cost(f"{filling.name}, checkpoint", [checkpoint / filling.customers], "bytes a customer")
        section.add(
            number(filling.customers),
            filling.name,
            number(each),
            number(each * MILLION / MIB),
            number(checkpoint / filling.customers * MILLION / MIB),
            number(before / MIB),
            number(after / MIB),
        )
    return [section]


def full_size(rig: Rig, job_id: str) -> int:
    """Return the full size of the latest completed checkpoint in bytes, not only its increment."""
    latest = rig.rest.get(f"/jobs/{job_id}/checkpoints")["latest"]["completed"]
    details = rig.rest.get(f"/jobs/{job_id}/checkpoints/details/{latest['id']}")
    return int(details["state_size"])
