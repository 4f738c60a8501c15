"""Leaves rows out of training and measuring; the replay that computes the features has seen them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from ml.dataset import Dataset


class CustomerList(NamedTuple):
    """Customers whose rows are left out, such as those of cards that are known to be compromised."""

    names: frozenset[str]
    sha256: str
    """Digest of the sorted names, hexadecimal; order and comments of the file do not count."""


def read_customers(path: Path) -> CustomerList:
    """Read customer ids, one a line; empty lines and lines that begin with ``#`` do not count.

    Raises:
        UserError: the file cannot be read, or names nobody.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"{path} cannot be read ({why})", "check the path of --exclude-customers") from None
    names = frozenset(line for line in lines if line and not line.startswith("#"))
    if not names:
        raise UserError(f"{path} names no customer", "write one customer id a line")
    return CustomerList(names, hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest())


def chosen_rows(dataset: Dataset, since_ms: int | None, excluded: CustomerList | None) -> Dataset:
    """Return the rows from an event time on, without those of some customers.

    Args:
        dataset: the whole history.
        since_ms: event time of the first row, UTC milliseconds; ``None``: all.
        excluded: customers to leave out; ``None``: nobody.

    Raises:
        UserError: no rows are left, or the data has none of the customers.
    """
    keep = np.ones(len(dataset), dtype=np.bool_)
    if since_ms is not None:
        keep &= dataset.event_time_ms >= since_ms
        if not keep.any():
            raise UserError("no rows are as late as --train-since", "give an earlier date, or later data")
    if excluded is not None:
        codes = [code for code, name in enumerate(dataset.customer.names) if name in excluded.names]
        out = np.isin(dataset.customer.codes, codes)
        if not out.any():
            what = "the data has none of the customers of --exclude-customers"
            raise UserError(what, "check that the file holds ids as in the column `customer_id` of the mapping")
        keep &= ~out
        if not keep.any():
            raise UserError("--exclude-customers leaves no rows", "name fewer customers, or give more data")
    return dataset if keep.all() else dataset.where(keep)
