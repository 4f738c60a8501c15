"""A savepoint or checkpoint in a folder: its operators, its customers, its configuration.

with open_snapshot("file:/savepoints/savepoint-1a2b3c-0123456789ab") as snapshot:
    for customer in snapshot.customers():
        ...
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from flink_jobs.contracts import uids
from flink_jobs.errors import UserError
from flink_jobs.flink.savepoints.java_bytes import Buffer, DamagedError, JavaBytes
from flink_jobs.flink.savepoints.keyed_state import entries, state_names
from flink_jobs.flink.savepoints.metadata import Handle, KeyedStates, Operator, UnknownLayoutError, parse_metadata
from flink_jobs.flink.savepoints.stored_customer import StoredCustomer, customer_of, text_of

METADATA: Final = "_metadata"
_LARGEST_METADATA: Final = 1 << 28


class Snapshot:
    """An open savepoint or checkpoint; each method reads only the files that it needs."""

    def __init__(self, folder: Path, operators: list[Operator], open_files: ExitStack) -> None:
        """Keep the folder and its operators; no state is read yet."""
        self.folder = folder
        self.operators = operators
        self._open_files = open_files

    def operator(self, uid: str) -> Operator | None:
        """Return the operator with a uid; ``None`` if the job did not have it."""
        return next((operator for operator in self.operators if operator.uid == uid), None)

    @property
    def is_incremental(self) -> bool:
        """Whether the keyed state is in RocksDB's files: true for a checkpoint, false for a savepoint."""
        return any(keyed.is_incremental for operator in self.operators for keyed in operator.keyed_states)

    def check_files(self) -> None:
        """Check that every file exists and has its full length.

        Raises:
            UserError: one is missing or cut short.
        """
        for operator in self.operators:
            for handle in operator.handles:
                if handle.data is None:
                    self._file(handle)

    def keyed_state_names(self, uid: str) -> set[str]:
        """Return the names of an operator's keyed states, without its timers."""
        operator = self.operator(uid)
        names: set[str] = set()
        for keyed in operator.keyed_states if operator else ():
            with self._named_errors(keyed.handle):
                names |= {
                    name for name in state_names(JavaBytes(self._read(keyed.handle))) if "_timer_state/" not in name
                }
        return names

    def customers(self, customer_id: str | None = None) -> Iterator[StoredCustomer]:
        """Yield all customers, or the customer with an id, in the order of the file.

        Raises:
            UserError: it is a checkpoint, another job or a job in process mode wrote it, or it is damaged.
        """
        # A cheap filter for millions of keys: Flink stores an ASCII character as one byte.
        part = customer_id.encode() if customer_id is not None and customer_id.isascii() else b""
        for keyed in self._customer_states():
            with self._named_errors(keyed.handle):
                for key, value in self._customer_entries(keyed):
                    if part not in key:
                        continue
                    found = customer_of(key, value)
                    if customer_id is None or found.customer_id == customer_id:
                        yield found

    def count_customers(self) -> int:
        """Return the number of customers, without decoding their states.

        Raises:
            UserError: it is a checkpoint, another job or a job in process mode wrote it, or it is damaged.
        """
        count = 0
        for keyed in self._customer_states():
            with self._named_errors(keyed.handle):
                count += sum(1 for _ in self._customer_entries(keyed))
        return count

    def reads_topic(self, topic: str) -> bool:
        """Return whether a source of the job had found partitions of this topic when the snapshot was taken."""
        name = topic.encode()
        written = struct.pack(">H", len(name)) + name  # as Java's writeUTF does, before each partition's number
        for operator in self.operators:
            if operator.coordinator is not None and written in self._read(operator.coordinator)[:]:
                return True
        return False

    def keys(self, uid: str, state: str) -> Iterator[str]:
        """Yield the keys of a keyed state of an operator, from a savepoint of thread mode.

        Raises:
            UserError: it is a checkpoint, or it is damaged.
        """
        operator = self.operator(uid)
        for keyed in operator.keyed_states if operator else ():
            if keyed.is_incremental:
                raise UserError(f"{self.folder} is a checkpoint", "take a savepoint")
            with self._named_errors(keyed.handle):
                data = self._read(keyed.handle)
                names = state_names(JavaBytes(data))
                found = entries(data, keyed, names.index(state)) if state in names else ()
                yield from (text_of(key) for key, _ in found)

    def _customer_states(self) -> Iterator[KeyedStates]:
        """Yield the detector's keyed states, one for each subtask."""
        detector = self.operator(uids.DETECTOR)
        if detector is None:
            raise UserError(
                f"{self.folder} holds no customers: no operator {uids.DETECTOR} wrote it",
                "name a savepoint of `detect`",
            )
        for keyed in detector.keyed_states:
            if keyed.is_incremental:
                raise UserError(
                    f"{self.folder} is a checkpoint; only RocksDB can read the files that hold its customers",
                    "take a savepoint with `streamflow savepoint take detect`",
                )
            yield keyed

    def _customer_entries(self, keyed: KeyedStates) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and value of every customer of one subtask, as Flink stored them."""
        data = self._read(keyed.handle)
        names = state_names(JavaBytes(data))
        if uids.CUSTOMER_STATE not in names:
            if all("_timer_state/" in name for name in names):
                return  # no customer has been seen yet
            raise UserError(
                f"{self.folder} holds {', '.join(names)}, not {uids.CUSTOMER_STATE}: a job in process mode wrote it",
                "only savepoints of thread mode can be read",
            )
        yield from entries(data, keyed, names.index(uids.CUSTOMER_STATE))

    def config(self) -> str | None:
        """Return the configuration from the control topic as stored, JSON; ``None`` before the first message."""
        detector = self.operator(uids.DETECTOR)
        for states in detector.operator_states if detector else ():
            for offset in states.offsets.get(uids.CONFIG_STATE, ())[:1]:  # broadcast state: the same in every subtask
                with self._named_errors(states.handle):
                    source = JavaBytes(self._read(states.handle), offset)
                    for _ in range(source.integer()):
                        key, value = source.text(), source.text()
                        if key == uids.CONFIG_KEY:
                            return value
        return None

    def _read(self, handle: Handle) -> Buffer:
        if handle.data is not None:
            return handle.data
        path = self._file(handle)
        if not handle.size:
            return b""
        file = self._open_files.enter_context(path.open("rb"))
        return self._open_files.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def _file(self, handle: Handle) -> Path:
        path = self.folder / handle.path if handle.is_relative else local_path(handle.path)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise UserError(f"{self.folder} is incomplete: {path} {_cause(error)}", "copy the whole folder") from None
        if size < handle.size:
            raise UserError(
                f"{self.folder} is damaged: {path.name} has {size:,} bytes of {handle.size:,}",
                "copy it again, or use another savepoint",
            )
        return path

    @contextmanager
    def _named_errors(self, handle: Handle) -> Iterator[None]:
        """Turn an error of the parser into one that names the file and the fix."""
        try:
            yield
        except DamagedError as error:
            raise _unreadable(f"{self.folder} ({handle.path or METADATA})", error) from None


@contextmanager
def open_snapshot(path: str) -> Iterator[Snapshot]:
    """Open a savepoint or checkpoint by the path that Flink printed, its folder, or its ``_metadata``.

    Raises:
        UserError: there is no savepoint, it is not in a file system, or its ``_metadata`` is damaged or of an
            unsupported Flink version.
    """
    folder = local_path(path)
    if folder.name == METADATA:
        folder = folder.parent
    file = folder / METADATA
    try:
        if file.stat().st_size > _LARGEST_METADATA:
            raise UserError(f"{file} is larger than any job writes", "name a savepoint's folder")
        operators = parse_metadata(file.read_bytes())
    except OSError as error:
        raise UserError(
            f"no savepoint at {folder}: its {METADATA} {_cause(error)}", "see `streamflow savepoint list`"
        ) from None
    except DamagedError as error:
        raise _unreadable(str(file), error) from None
    with ExitStack() as files:
        yield Snapshot(folder, operators, files)


def local_path(path: str) -> Path:
    """Return the local path of a ``file:`` URI or a plain path.

    Raises:
        UserError: the URI has another scheme.
    """
    scheme, _, rest = path.partition(":")
    if not rest or "/" in scheme:
        return Path(path)
    if scheme != "file":
        raise UserError(
            f"{path} is not in a file system", "copy its folder to this machine and give the path of the copy"
        )
    return Path(unquote(urlsplit(path).path))


def _unreadable(what: str, error: DamagedError) -> UserError:
    if isinstance(error, UnknownLayoutError):
        return UserError(f"{what} cannot be read: {error}", "name a savepoint that a StreamFlow job wrote on Flink 2.2")
    return UserError(f"{what} is damaged: {error}", "copy it again, or use another savepoint")


def _cause(error: OSError) -> str:
    return {FileNotFoundError: "is missing", PermissionError: "cannot be read (permission denied)"}.get(
        type(error), str(error.strerror)
    )
