"""Options that leave rows out of training and measuring: by time, customer and card."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from flink_jobs.cli.output import say
from flink_jobs.cli.times import moment_ms

if TYPE_CHECKING:
    from flink_jobs.cli.data_source import SourcedDataset
    from ml.row_choice import Excluded

TrainSince = Annotated[
    str | None,
    typer.Option(
        help="event time of the first row that trains or measures, ISO 8601 (UTC); earlier rows only build the history "
        "of customers and merchants"
    ),
]
ExcludeCustomers = Annotated[
    Path | None,
    typer.Option(help="file with customer ids, one a line: the rows of these customers neither train nor measure"),
]
ExcludeCards = Annotated[
    Path | None,
    typer.Option(
        help="file with cards as the data names them, one a line, such as cards known to be compromised: their rows "
        "neither train nor measure"
    ),
]


class RowChoice(NamedTuple):
    """The rows that train and measure."""

    since_ms: int | None
    customers: Excluded | None
    cards: Excluded | None

    @classmethod
    def of(cls, train_since: str | None, exclude_customers: Path | None, exclude_cards: Path | None) -> RowChoice:
        """Read the options.

        Raises:
            UserError: a time or a file cannot be read.
        """
        from ml.row_choice import read_excluded

        now_ms = time.time_ns() // 1_000_000
        since_ms = None if train_since is None else moment_ms(train_since, "--train-since", now_ms)
        customers = None if exclude_customers is None else read_excluded(exclude_customers, "customer")
        cards = None if exclude_cards is None else read_excluded(exclude_cards, "card")
        return cls(since_ms, customers, cards)

    def applied(self, source: SourcedDataset) -> SourcedDataset:
        """Return the data with these rows only, and report what is left out.

        Raises:
            UserError: no rows are left.
        """
        from ml.row_choice import chosen_rows

        rows = chosen_rows(source.dataset, self.since_ms, self.customers, self.cards)
        left_out = len(source.dataset) - len(rows)
        if left_out:
            say(f"{left_out:,} of {len(source.dataset):,} rows build the history only; {len(rows):,} are used.")
        return source._replace(dataset=rows)

    def parameters(self) -> dict[str, Any]:
        """Return the choice as training parameters, for the manifest and the model card."""
        return {
            "train_since_ms": self.since_ms,
            "excluded_customers": None if self.customers is None else len(self.customers.names),
            "excluded_sha256": None if self.customers is None else self.customers.sha256,
            "excluded_cards": None if self.cards is None else len(self.cards.names),
            "excluded_cards_sha256": None if self.cards is None else self.cards.sha256,
        }
