"""One process of a replay in several: computes the rows of some customers (``ml.replay_processes``)."""

from __future__ import annotations

import signal
import traceback
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import orjson

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.values import OwnValues
from ml.dataset import DatasetRows, Feed, fill
from ml.dataset_parts import Columns, columns_of
from ml.own_columns import OwnRows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.own_features.source import FeatureSource
    from flink_jobs.core.transaction import Rejection


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What each process needs; see ``build_dataset``."""

    now_ms: int
    config: DetectionConfig
    sources: tuple[FeatureSource, ...] = ()
    """Source texts of the modules of own features."""

    def own(self) -> OwnValues | None:
        """Return the own features, loaded in this process."""
        return OwnValues(load_features(self.sources)) if self.sources else None


class Answer(NamedTuple):
    """The rows of one message."""

    places: list[int]
    """The number of each row's event, in its batch."""
    columns: Columns
    rejections: list[tuple[int, Rejection]]
    """The place of each event that the parser rejects, and why."""


class Failure(NamedTuple):
    """The replay failed; the text is the stack trace."""

    text: str


def run_worker(connection: Connection, plan: ReplayPlan) -> None:
    """Answer batches until the reader closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the reader gets it too, and closes the connection
    with suppress(EOFError, BrokenPipeError):
        try:
            _Worker(connection, plan).run()
        except (EOFError, BrokenPipeError):
            raise
        except Exception:  # noqa: BLE001 - the reader raises it
            connection.send(Failure(traceback.format_exc()))


class _Worker:
    """The states of some customers, in one process."""

    def __init__(self, connection: Connection, plan: ReplayPlan) -> None:
        self._connection, self._plan, self._own = connection, plan, plan.own()
        self._rows = self._new_rows()
        self._place = 0
        self._places: list[int] = []
        self._rejections: list[tuple[int, Rejection]] = []

    def _new_rows(self) -> DatasetRows:
        return DatasetRows(own=None if self._own is None else OwnRows(self._own.features))

    def run(self) -> None:
        """Replay until the connection is closed.

        Raises:
            EOFError: it is.
        """
        feed = Feed(self._events(), self._plan.now_ms, self._reject)
        for _ in fill(self._rows, feed, self._plan.config, self._own):
            self._places.append(self._place)

    def _reject(self, _event: SourceEvent, rejection: Rejection) -> None:
        self._rejections.append((self._place, rejection))

    def _events(self) -> Iterator[SourceEvent]:
        """Yield the events of one message after the other; answer a message before waiting for the next."""
        while True:
            for place, parts in orjson.loads(self._connection.recv_bytes()):
                self._place = place
                yield SourceEvent(*parts)
            self._answer()

    def _answer(self) -> None:
        self._connection.send(Answer(self._places, columns_of(self._rows.dataset()), self._rejections))
        self._places, self._rejections = [], []
        fresh = self._new_rows()
        for item in fields(fresh):  # ``fill`` holds the object
            setattr(self._rows, item.name, getattr(fresh, item.name))
