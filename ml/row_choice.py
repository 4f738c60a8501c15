"""Leaves rows out of training and measuring; the replay that computes the features has seen them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from ml.dataset import Dataset

_FIELDS: Final = {"customer": "customer_id", "card": "card"}


class Excluded(NamedTuple):
    """Customers or cards whose rows are left out, such as cards that are known to be compromised."""

    names: frozenset[str]
    sha256: str
    """Digest of the sorted names, hexadecimal; order and comments of the file do not count."""


def read_excluded(path: Path, what: str) -> Excluded:
    """Read ids, one a line; empty lines and lines that begin with ``#`` do not count.

    Args:
        path: the file.
        what: whose ids they are, ``customer`` or ``card``.

    Raises:
        UserError: the file cannot be read, or has no id.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"{path} cannot be read ({why})", f"check the path of --exclude-{what}s") from None
    names = frozenset(line for line in lines if line and not line.startswith("#"))
    if not names:
        raise UserError(f"{path} names no {what}", f"write one {what} id a line")
    return Excluded(names, hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest())


def chosen_rows(
    dataset: Dataset, since_ms: int | None, customers: Excluded | None = None, cards: Excluded | None = None
) -> Dataset:
    """Return the rows from an event time on, without those of some customers and cards.

    Args:
        dataset: the whole history.
        since_ms: event time of the first row, UTC milliseconds; ``None``: all.
        customers: customers to leave out; ``None``: nobody.
        cards: cards to leave out; ``None``: none.

    Raises:
        UserError: no rows are left, or the data has none of the customers or cards.
    """
    keep = np.ones(len(dataset), dtype=np.bool_)
    if since_ms is not None:
        keep &= dataset.event_time_ms >= since_ms
        if not keep.any():
            raise UserError("no rows are as late as --train-since", "give an earlier date, or later data")
    for excluded, column, what in ((customers, dataset.customer, "customer"), (cards, dataset.card, "card")):
        if excluded is None:
            continue
        codes = [code for code, name in enumerate(column.names) if name in excluded.names]
        out = np.isin(column.codes, codes)
        if not out.any():
            raise UserError(
                f"the data has none of the {what}s of --exclude-{what}s",
                f"check that the file holds ids as in the field `{_FIELDS[what]}` of the mapping",
            )
        keep &= ~out
        if not keep.any():
            raise UserError(f"--exclude-{what}s leaves no rows", f"name fewer {what}s, or give more data")
    return dataset if keep.all() else dataset.where(keep)
