"""The record that a stack keeps between commands: its processes and their ports."""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path

from flink_jobs.errors import UserError
from flink_jobs.local import relocation
from flink_jobs.local.process import ProcessRecord, is_alive

_VERSION = 1


@dataclass
class StackRecord:
    """The content of ``stack.json``. It is saved after every change, so that a killed ``up`` loses no process."""

    path: Path
    stack_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    ports: dict[str, int] = field(default_factory=dict)
    taskmanagers: int = 0
    secure: bool = False
    """Whether the stack runs with TLS, logins and rights."""
    processes: dict[str, ProcessRecord] = field(default_factory=dict)
    origin: str | None = None
    """The folder that this one was moved or copied from, until the next `up` has made it a stack of its own."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def load(cls, path: Path) -> StackRecord:
        """Return the record; a new one if there is no file.

        A record that was moved or copied here from another folder gets a new id and no processes: those that it names
        belong to the original.

        Raises:
            UserError: the file is damaged, a newer version wrote it, or the folder was moved while its processes ran.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["version"] > _VERSION:
                raise UserError(f"{path} was written by a newer StreamFlow", "run `streamflow down` with that version")
            processes = {item["name"]: ProcessRecord(**item) for item in data["processes"]}
            secure = data.get("secure", False)  # older releases did not store it
            found = cls(path, data["stack_id"], data["ports"], data["taskmanagers"], secure, processes)
            origin = relocation.origin_of(path, data)
            if origin is None:
                found.origin = data.get("origin")
                return found
            relocation.require_copy_or_stopped(path, origin, found.stack_id, processes)
            return replace(found, stack_id=uuid.uuid4().hex, processes={}, origin=origin)
        except FileNotFoundError:
            return cls(path)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is damaged ({error!r})", "end the stack's processes by hand and delete the file"
            ) from None

    def save(self) -> None:
        """Write the record atomically."""
        data = {
            "version": _VERSION,
            "stack_id": self.stack_id,
            "home": str(self.path.parent),
            "origin": self.origin,
            "ports": self.ports,
            "taskmanagers": self.taskmanagers,
            "secure": self.secure,
            "processes": [record.to_json() for record in self.processes.values()],
        }
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.path)

    def add(self, record: ProcessRecord) -> None:
        """Add a process; several threads may call this at once."""
        with self._lock:
            self.processes[record.name] = record
            self.save()

    def remove(self, *names: str) -> None:
        """Remove processes."""
        with self._lock:
            for name in names:
                self.processes.pop(name, None)
            self.save()

    def alive(self, name: str) -> bool:
        """Return whether the process of this name runs."""
        record = self.processes.get(name)
        return record is not None and is_alive(record)
