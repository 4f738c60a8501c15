"""Unpacked images of ``make images``, and processes that run in their root file systems without a container engine.

``unshare`` and ``chroot`` set up namespaces and user. The paths that Kubernetes would mount are mounted, the rest is
read-only, a process cannot gain privileges, and it uses the network of the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Any, Self

from tests.lab.platform.k8s_manifests import REPO

FOLDER = REPO / ".tools" / "images"
IMAGES = ("airflow", "job", "tools")

_ENTER = """
set -eu
root=$1 user=$2 where=$3
shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
  mkdir -p "$root$2"
  if [ "$1" = tmpfs ]; then mount -t tmpfs -o mode=1777 tmpfs "$root$2"; else mount --bind "$1" "$root$2"; fi
  shift 2
done
shift
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in full null random tty urandom zero; do
  touch "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for name in hosts resolv.conf; do touch "$root/etc/$name"; mount --bind "/etc/$name" "$root/etc/$name"; done
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" /usr/bin/env -i --chdir="$where" "$@"
"""


@dataclass(frozen=True)
class Image:
    """One built image: its files under ``root``, and its settings as the engine printed them."""

    name: str
    settings: Mapping[str, Any]

    @property
    def root(self) -> Path:
        return FOLDER / self.name

    @property
    def archive(self) -> Path:
        return FOLDER / f"{self.name}.tar"

    @property
    def user(self) -> str:
        return str(self.settings.get("User", ""))

    @cached_property
    def environment(self) -> dict[str, str]:
        return dict(item.split("=", 1) for item in self.settings["Env"])

    def command(
        self, arguments: Sequence[str], mounts: Mapping[str, Path], environment: Mapping[str, str]
    ) -> list[str]:
        """Return the command that starts the image's entry point with these arguments, as the image's user."""
        bindings = [word for target, source in mounts.items() for word in (str(source), target)]
        variables = [f"{name}={value}" for name, value in (self.environment | dict(environment)).items()]
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, "sh"),
            *(str(self.root), self.user, self.settings.get("WorkingDir") or "/"),
            *("tmpfs", "/tmp", *bindings, "--", *variables, *self.settings["Entrypoint"], *arguments),
        ]

    def run(
        self,
        *arguments: str,
        mounts: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        limit_s: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run the entry point until it ends; stop it after ``limit_s`` seconds."""
        command = self.command(arguments, mounts or {}, environment or {})
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                stdout, stderr = process.communicate(timeout=limit_s)
            finally:
                end(process)
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def end(process: subprocess.Popen[Any]) -> None:
    """End all processes of a namespace by killing its first process.

    Killing ``unshare`` is not enough: ``--kill-child`` uses the kernel's parent-death signal, which is lost when a
    process changes its user.
    """
    with suppress(FileNotFoundError, ProcessLookupError):  # the process may end by itself meanwhile
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@cache
def unpack(name: str) -> Image:
    """Return a built image; unpack it if it was built since the last time.

    Raises:
        FileNotFoundError: the image is not built.
    """
    if not (FOLDER / f"{name}.tar").exists():
        raise FileNotFoundError(f"the image {name} is not built; run `make images`")
    settings = json.loads((FOLDER / f"{name}.json").read_text())
    image = Image(name, settings["OCIv1"]["config"] if "OCIv1" in settings else settings)
    if not image.root.exists() or image.root.stat().st_mtime < image.archive.stat().st_mtime:
        shutil.rmtree(image.root, ignore_errors=True)
        image.root.mkdir()
        options = [
            "--extract",
            "--numeric-owner",
            "--preserve-permissions",
            "--exclude",
            "./dev/*",
            "--exclude",
            "dev/*",
        ]
        subprocess.run(["tar", *options, "--file", image.archive, "--directory", image.root], check=True)
        os.utime(image.root)
    return image


@dataclass
class Servers:
    """Processes of images that run until the end of a ``with`` block; their output goes to files."""

    logs: Path
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _files: list[IO[bytes]] = field(default_factory=list)

    def start(
        self, name: str, image: Image, *arguments: str, mounts: Mapping[str, Path], environment: Mapping[str, str]
    ) -> None:
        """Start the entry point of an image in the background."""
        log = (self.logs / f"{name}.log").open("wb")
        self._files.append(log)
        command = image.command(arguments, mounts, environment)
        self._running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def check(self) -> None:
        """Raise an AssertionError with the end of the log if a process has ended."""
        for process, log in zip(self._running, self._files, strict=True):
            if process.poll() is not None:
                lines = Path(log.name).read_text(errors="replace").splitlines()
                telling = [line for line in lines if " INFO " not in line and not line.startswith("\tat ")]
                text = "\n".join(telling[-60:])
                raise AssertionError(f"{Path(log.name).stem} ended with {process.returncode}:\n{text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            end(process)
        for log in self._files:
            log.close()
