"""Python environment of the peer engines (Quix Streams, Bytewax), and one run of a peer in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flink_jobs.errors import UserError
from flink_jobs.local import checkout
from flink_jobs.local.process import log_tail
from flink_jobs.settings import REPO_ROOT
from tests.lab.benchmarks.meter import ProcessMeter
from tests.lab.benchmarks.rig import CHECKPOINT_INTERVAL_MS, SLOWEST_EVENTS_PER_S

if TYPE_CHECKING:
    from tests.lab.benchmarks.rig import Rig

PEERS = Path(__file__).parent / "peers"
ENVIRONMENT = checkout.TOOLS / "peers"


@dataclass(frozen=True)
class Peer:
    """Another engine that runs our evaluator."""

    name: str
    command: tuple[str, ...]
    package: str
    guarantee: str = ""


QUIX_EXACTLY_ONCE = Peer("Quix Streams, exactly-once, RocksDB", ("quix_peer.py",), "quixstreams", "exactly-once")
QUIX_AT_LEAST_ONCE = Peer("Quix Streams, at-least-once, RocksDB", ("quix_peer.py",), "quixstreams", "at-least-once")
BYTEWAX = Peer("Bytewax, at-least-once, memory", ("-m", "bytewax.run", "bytewax_peer:flow"), "bytewax")


def install() -> None:
    """Install the packages of the peers' lock file; does nothing if they are installed.

    Raises:
        UserError: uv is missing or fails.
    """
    uv = shutil.which("uv") or str(checkout.TOOLS / "uv" / "bin" / "uv")
    if not Path(uv).exists():
        raise UserError("uv, which installs Quix Streams and Bytewax, is missing", "run `make setup`")
    result = subprocess.run(
        [uv, "sync", "--frozen", "--project", str(PEERS), "--python", str(checkout.PYTHON), "--no-python-downloads"],
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise UserError(f"installing the peers failed: {result.stderr.strip()}", f"run `uv sync` in {PEERS}")


def versions() -> dict[str, str]:
    """Return the installed versions of the peers and of the packages that they share with StreamFlow."""
    wanted = ("bytewax", "confluent_kafka", "numpy", "orjson", "quixstreams")
    found = (path.name.removesuffix(".dist-info").rpartition("-") for path in ENVIRONMENT.rglob("*.dist-info"))
    return {name: version for name, _, version in sorted(found) if name in wanted}


def run_peer(rig: Rig, peer: Peer, prefix: str, events: int) -> ProcessMeter:
    """Run a peer over the topics of a prefix until it has read all events; return the meter of its process.

    Raises:
        UserError: the peer failed or took too long.
    """
    log = rig.scratch / f"{prefix}.log"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPO_ROOT}{os.pathsep}{PEERS}",
        "BENCH_BROKER": rig.broker.servers,
        "BENCH_PREFIX": prefix,
        "BENCH_MODEL_DIR": str(rig.model_dir),
        "BENCH_EVENTS": str(events),
        "BENCH_COMMIT_INTERVAL_MS": str(CHECKPOINT_INTERVAL_MS),
        "BENCH_GUARANTEE": peer.guarantee,
        "BENCH_STATE_DIR": str(rig.scratch / f"{prefix}-state"),
    }
    limit_s = 60 + events / SLOWEST_EVENTS_PER_S
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(ENVIRONMENT / "bin" / "python"), *peer.command],
            cwd=PEERS,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            with ProcessMeter([process.pid]) as meter:
                code = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise UserError(f"{peer.name} took more than {limit_s:.0f} s", "check the load of the machine") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if code:
        raise UserError(f"{peer.name} ended with code {code}: {log_tail(log, 5)}", f"its code is in {PEERS}")
    return meter
