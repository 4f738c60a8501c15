"""The repository holds no traces of a machine: symbolic links name its paths, and tools leave files of odd names."""

from __future__ import annotations

import re
import subprocess

from flink_jobs.settings import REPO_ROOT

SYMBOLIC_LINK = "120000"
PLAIN_NAME = re.compile(r"[\w./-]+", re.ASCII)


def tracked() -> list[tuple[str, str]]:
    """Return mode and name of each tracked file."""
    command = ["git", "ls-files", "-sz"]
    listed = subprocess.run(command, cwd=REPO_ROOT, capture_output=True, text=True, check=True).stdout
    heads = [item.partition("\t") for item in listed.split("\0") if item]
    assert len(heads) > 1_000
    return [(head.split()[0], name) for head, _, name in heads]


def test_no_symbolic_link_is_tracked() -> None:
    assert [name for mode, name in tracked() if mode == SYMBOLIC_LINK] == []


def test_names_of_tracked_files_are_plain() -> None:
    assert [name for _, name in tracked() if not PLAIN_NAME.fullmatch(name)] == []
