"""Stacks whose JVMs use their quick compiler only: the optimising one took a third of their CPU time in the tests.

As a program it is ``streamflow`` with such JVMs: ``python -m tests.quick_jvms up --taskmanagers 2``.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from flink_jobs.local import flink, kafka

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAG = "-XX:TieredStopAtLevel=1"


@contextmanager
def quick_compiler() -> Iterator[None]:
    """Give the flag to the JVMs of stacks that start during a ``with`` block."""
    java_options, heap = flink._java_options, kafka.HEAP
    flink._java_options = lambda: f"{java_options()} {FLAG}"
    kafka.HEAP = [*heap, FLAG]
    try:
        yield
    finally:
        flink._java_options, kafka.HEAP = java_options, heap


if __name__ == "__main__":
    from flink_jobs.cli.app import main

    with quick_compiler():
        main()
