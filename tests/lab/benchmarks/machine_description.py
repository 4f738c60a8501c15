"""Description of the machine and the software versions of a measurement."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from flink_jobs.local import toolchain
from flink_jobs.native.loader import core_in_use
from flink_jobs.settings import REPO_ROOT
from tests.lab.benchmarks import peers_env

PACKAGES = ("apache-flink", "kafka-python", "numpy", "orjson")


def describe() -> dict[str, str]:
    """Return time, commit, hardware, load and versions, by the names that the reports print."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory_kib = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    java = toolchain.find_java()
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": model[1] if model else platform.machine(),
        "memory": f"{int(memory_kib[1]) / 2**20:.1f} GiB" if memory_kib else "unknown",
        "kernel": platform.release(),
        "load average before (1, 5, 15 min)": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "core": core_in_use(),
        "Python": platform.python_version(),
        "Java": str(toolchain.java_major(java)),
        "packages": _list({name: version(name) for name in PACKAGES}),
        "packages of the peers": _list(peers_env.versions()) or "not installed",
    }


def _list(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _commit() -> str:
    def git(*words: str) -> str:
        answer = subprocess.run(["git", *words], cwd=REPO_ROOT, capture_output=True, text=True, check=False)  # noqa: S607
        return answer.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD") or "unknown"
    return f"{commit}, with changes" if git("status", "--porcelain", "--untracked-files=no") else commit
