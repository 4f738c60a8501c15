"""Folders of test stacks, with a guard that stops the stack when the test run is killed.

The processes of a stack outlive the program that starts them, so a killed test run would leave its JVMs behind. The
guard is a process of its own session. It waits for the end of its standard input, which the kernel closes when the test
run ends in any way.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPO_ROOT = Path(__file__).resolve().parents[1]
DONE = b"done"
LIMIT_S = 60.0


@contextmanager
def stack_folder(name: str) -> Iterator[Path]:
    """Yield a guarded folder that every account can enter: as root, Postgres runs as another account."""
    # pytest's tmp_path would be inside folders with mode 0700.
    with tempfile.TemporaryDirectory(prefix=f"streamflow-{name}-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        with guarded(folder):
            yield folder


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Stop the stacks in the folders of ``folder`` if this process ends inside the block."""
    command = [sys.executable, "-P", str(Path(__file__).resolve()), str(folder)]
    guard = subprocess.Popen(
        command,
        cwd=REPO_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.communicate(DONE, timeout=LIMIT_S)


def main(folder: Path) -> None:
    """Wait for the end of the test run; unless it ended well, stop its stacks and delete the folder."""
    if sys.stdin.buffer.read() == DONE:
        return
    sys.path.insert(0, str(REPO_ROOT))
    from flink_jobs.local.stack import Stack  # noqa: PLC0415 - a run that ends well does not need it

    for record in folder.glob("*/stack.json"):
        Stack(record.parent).down(wipe=True, savepoint_limit_s=0)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
