"""Generates card data with compromised terminals and cards, after the description of the Fraud Detection Handbook.

Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible Machine Learning for Credit Card Fraud Detection: Practical
Handbook" (2022), chapter 3, describe the process; this is an implementation of its own with random numbers of its own.
Customers and terminals are points in a square of 100 x 100. A customer buys at the terminals within a radius of 5.
Three kinds of fraud exist, and a later kind overrides an earlier one:

1. every amount above 220;
2. a compromised terminal: two terminals a day, all their transactions of the next 28 days;
3. a compromised card: three customers a day, a third of their transactions of the next 14 days, at five times the
   amount.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TextIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

START: Final = datetime(2018, 4, 1, tzinfo=UTC)
"""First day of the data of the Handbook."""
DAY_S: Final = 86_400
SIDE: Final = 100.0
RADIUS: Final = 5.0
HIGH_AMOUNT: Final = 220.0
TERMINALS_PER_DAY, TERMINAL_DAYS = 2, 28
CARDS_PER_DAY, CARD_DAYS, CARD_FACTOR = 3, 14, 5.0
HEADER: Final = (
    "TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_TIME_SECONDS", "TX_TIME_DAYS",
    "TX_FRAUD", "TX_FRAUD_SCENARIO",
)  # fmt: skip
"""The columns of the Handbook's files, which ``--mapping preset:handbook`` reads."""
MERCHANT_COLUMN: Final = "MERCHANT_ID"
"""A column behind the terminal for terminals in groups, which ``--mapping preset:handbook-merchants`` reads. The
Handbook has no merchants."""


@dataclass(frozen=True, slots=True)
class World:
    """Size of the generated data.

    Attributes:
        customers: number of customers, 3 or more.
        terminals: number of terminals, 2 or more.
        days: number of days, 1 or more.
        seed: seed of every random choice.
    """

    customers: int = 5_000
    terminals: int = 10_000
    days: int = 183
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Purchases:
    """Generated transactions in the order of their times; every array has one entry per transaction.

    Attributes:
        second: seconds since ``START``.
        customer: number of the customer.
        terminal: number of the terminal.
        amount: amount in euros, two decimals.
        scenario: number of the kind of fraud, 1 to 3; 0 for a genuine transaction.
    """

    second: NDArray[np.int64]
    customer: NDArray[np.int64]
    terminal: NDArray[np.int64]
    amount: NDArray[np.float64]
    scenario: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of transactions."""
        return len(self.second)


def generate(world: World) -> Purchases:
    """Return the transactions of all customers with their frauds; the same world gives the same transactions."""
    rng = np.random.default_rng(world.seed)
    genuine = _genuine(world, rng)
    amount, scenario = genuine.amount, np.where(genuine.amount > HIGH_AMOUNT, 1, 0)
    day = genuine.second // DAY_S
    end = np.full(world.terminals, -1)
    at_terminal = np.zeros(len(genuine), dtype=np.bool_)
    of_card = np.zeros(len(genuine), dtype=np.bool_)
    card_end = np.full(world.customers, -1)
    starts = np.searchsorted(day, np.arange(world.days + 1))
    for today in range(world.days):
        # A compromise drawn on a day applies from the same day.
        end[rng.choice(world.terminals, TERMINALS_PER_DAY, replace=False)] = today + TERMINAL_DAYS
        card_end[rng.choice(world.customers, CARDS_PER_DAY, replace=False)] = today + CARD_DAYS
        rows = slice(starts[today], starts[today + 1])
        at_terminal[rows] = end[genuine.terminal[rows]] > today
        of_card[rows] = card_end[genuine.customer[rows]] > today
    of_card &= rng.random(len(genuine)) < 1.0 / 3.0
    scenario = np.where(of_card, 3, np.where(at_terminal, 2, scenario))
    amount = np.round(np.where(of_card, amount * CARD_FACTOR, amount), 2)
    return Purchases(genuine.second, genuine.customer, genuine.terminal, amount, scenario)


def _genuine(world: World, rng: np.random.Generator) -> Purchases:
    """Return the transactions without frauds, in the order of their times."""
    home = rng.uniform(0.0, SIDE, (world.customers, 2))
    place = rng.uniform(0.0, SIDE, (world.terminals, 2))
    mean_amount = rng.uniform(5.0, 100.0, world.customers)
    per_day = rng.uniform(0.0, 4.0, world.customers)
    near = [np.flatnonzero(((place - one) ** 2).sum(axis=1) < RADIUS**2) for one in home]
    reach = np.array([len(terminals) for terminals in near])
    per_day[reach == 0] = 0.0  # no terminal in reach: no purchases
    counts = rng.poisson(per_day[:, None], (world.customers, world.days))
    customer = np.repeat(np.repeat(np.arange(world.customers), world.days), counts.ravel())
    day = np.repeat(np.tile(np.arange(world.days), world.customers), counts.ravel())
    in_day = rng.normal(DAY_S / 2, 20_000.0, len(customer)).astype(np.int64)
    amount = rng.normal(mean_amount[customer], mean_amount[customer] / 2.0)
    amount = np.where(amount < 0.0, rng.uniform(0.0, 2.0 * mean_amount[customer]), amount)
    first = np.concatenate(([0], np.cumsum(reach)))
    chosen = first[customer] + (rng.random(len(customer)) * reach[customer]).astype(np.int64)
    terminal = np.concatenate(near)[chosen] if len(customer) else chosen
    kept = np.flatnonzero((in_day > 0) & (in_day < DAY_S))
    order = kept[np.argsort((day * DAY_S + in_day)[kept], kind="stable")]
    second = (day * DAY_S + in_day)[order]
    nothing = np.zeros(len(order), dtype=np.int64)
    return Purchases(second, customer[order], terminal[order], np.round(amount, 2)[order], nothing)


def write_csv(
    purchases: Purchases,
    path: Path,
    terminals_per_merchant: int | None = None,
    ids: Mapping[str, NDArray[np.int64]] | None = None,
) -> None:
    """Write the transactions as a file of the Handbook's columns; a name that ends with ``.gz`` is compressed.

    Args:
        purchases: the transactions.
        path: the file.
        terminals_per_merchant: write ``MERCHANT_COLUMN``: terminals with successive numbers belong to one merchant, as
            many as this, 1 or more. Their places do not depend on their numbers: a merchant is a chain with terminals
            all over the square. ``None``: no such column.
        ids: further columns behind the terminal, one number per transaction.
    """
    columns: dict[str, NDArray[np.int64]] = {}
    if terminals_per_merchant is not None:
        columns[MERCHANT_COLUMN] = purchases.terminal // terminals_per_merchant
    columns |= ids or {}
    if path.suffix == ".gz":
        with gzip.open(path, "wt", encoding="utf-8", newline="", compresslevel=1) as file:
            _write(purchases, file, columns)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            _write(purchases, file, columns)


def _write(purchases: Purchases, file: TextIO, columns: Mapping[str, NDArray[np.int64]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    if not columns:
        writer.writerow(HEADER)
        writer.writerows(_rows(purchases))
        return
    behind = HEADER.index("TERMINAL_ID") + 1
    writer.writerow((*HEADER[:behind], *columns, *HEADER[behind:]))
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    for row, more in zip(_rows(purchases), values, strict=True):
        writer.writerow((*row[:behind], *more, *row[behind:]))


def _rows(purchases: Purchases) -> Iterator[tuple[Any, ...]]:
    columns = (purchases.second, purchases.customer, purchases.terminal, purchases.amount, purchases.scenario)
    for number, (second, customer, terminal, amount, scenario) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        moment = (START + timedelta(seconds=second)).strftime("%Y-%m-%d %H:%M:%S")
        yield number, moment, customer, terminal, f"{amount:.2f}", second, second // DAY_S, int(scenario > 0), scenario
