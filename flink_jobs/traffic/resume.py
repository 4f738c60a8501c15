"""The record of an unfinished replay, with which ``replay --resume`` continues after the last delivered record.

The record holds the number of delivered records and a digest of them. ``--resume`` reads the file again, checks that
its beginning still gives the same records, and sends the records after them. Rows behind them may have changed: they
were not sent.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flink_jobs.kafka.outgoing import Outgoing


class ResumeRecord:
    """The progress of one replay, kept in a file until the replay is complete.

    Attributes:
        path: the file of the record.
        delivered: records delivered by this replay and, with resume, by the one that it continues.
        row: largest row of the card file among them; 0 if the source has no rows.
    """

    def __init__(self, path: Path, source: Path) -> None:
        """Start without progress; an older record is read by ``continued``.

        Args:
            path: the file of the record.
            source: the card file, for messages.
        """
        self.path = path
        self.delivered = self.row = 0
        self._source = source
        self._digest = hashlib.sha256()
        self._is_catching_up = False

    @classmethod
    def of(cls, folder: Path, source: Path, topic_prefix: str, id_prefix: str) -> ResumeRecord:
        """Return the record of a card file that is sent to these topics with this prefix of the ids."""
        name = orjson.dumps([str(source.resolve()), topic_prefix, id_prefix])
        return cls(folder / f"{hashlib.sha256(name).hexdigest()[:32]}.json", source)

    def earlier(self) -> int:
        """Return the number of records that an unfinished replay has delivered; 0 if there is none."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return int(orjson.loads(self.path.read_bytes())["delivered"])
        return 0

    def continued(self, records: Iterable[Outgoing]) -> Iterator[Outgoing]:
        """Yield the records that the unfinished replay has not delivered.

        Raises:
            UserError: there is no unfinished replay, or the beginning of the file gives other records than before.
        """
        count = self.earlier()
        if not count:
            raise UserError(f"there is no unfinished replay of {self._source}", "start it without --resume")
        expected = orjson.loads(self.path.read_bytes())["sha256"]
        stream, self._is_catching_up = iter(records), True
        for record in stream:
            self.add(record)
            if self.delivered == count:
                break
        if self.delivered != count or self._digest.hexdigest() != expected:
            raise UserError(
                f"the first {count:,} records of {self._source} are not the records that were sent before",
                "undo the changes of the rows that were sent, and use the options of the first run; or send the whole "
                "file as new data with --prefix",
            )
        self._is_catching_up = False
        yield from stream

    def add(self, record: Outgoing) -> None:
        """Count a delivered record; records are delivered in the order of sending."""
        self.delivered += 1
        self.row = max(self.row, record.row)
        value = b"" if record.value is None else record.value
        self._digest.update(b"%d %d %d " % (len(record.key), len(value), record.value is None) + record.key + value)

    def save(self) -> None:
        """Write the record, unless nothing new was delivered; an interrupted write keeps the older record."""
        if not self.delivered or self._is_catching_up:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "file": str(self._source.resolve()),
            "delivered": self.delivered,
            "row": self.row,
            "sha256": self._digest.hexdigest(),
        }
        temporary = self.path.with_suffix(".new")
        temporary.write_bytes(orjson.dumps(document))
        temporary.replace(self.path)

    def finish(self) -> None:
        """Delete the record: the replay is complete."""
        self.path.unlink(missing_ok=True)
