"""Options that leave rows out of training and measuring: ``--train-since`` and ``--exclude-customers``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from flink_jobs.cli.output import say
from flink_jobs.cli.times import moment_ms

if TYPE_CHECKING:
    from flink_jobs.cli.data_source import SourcedDataset
    from ml.row_choice import CustomerList

TrainSince = Annotated[
    str | None,
    typer.Option(
        help="event time of the first row that trains or measures, ISO 8601 (UTC); earlier rows only build the history "
        "of customers and merchants"
    ),
]
ExcludeCustomers = Annotated[
    Path | None,
    typer.Option(
        help="file with customer ids, one a line, such as those of cards known to be compromised: their rows neither "
        "train nor measure"
    ),
]


class RowChoice(NamedTuple):
    """The rows that train and measure."""

    since_ms: int | None
    excluded: CustomerList | None

    @classmethod
    def of(cls, train_since: str | None, exclude_customers: Path | None) -> RowChoice:
        """Read the options.

        Raises:
            UserError: a time or the file cannot be read.
        """
        from ml.row_choice import read_customers

        now_ms = time.time_ns() // 1_000_000
        since_ms = None if train_since is None else moment_ms(train_since, "--train-since", now_ms)
        return cls(since_ms, None if exclude_customers is None else read_customers(exclude_customers))

    def applied(self, source: SourcedDataset) -> SourcedDataset:
        """Return the data with these rows only, and report what is left out.

        Raises:
            UserError: no rows are left.
        """
        from ml.row_choice import chosen_rows

        rows = chosen_rows(source.dataset, self.since_ms, self.excluded)
        left_out = len(source.dataset) - len(rows)
        if left_out:
            say(f"{left_out:,} of {len(source.dataset):,} rows build the history only; {len(rows):,} are used.")
        return source._replace(dataset=rows)

    def parameters(self) -> dict[str, Any]:
        """Return the choice as training parameters, for the manifest and the model card."""
        return {
            "train_since_ms": self.since_ms,
            "excluded_customers": None if self.excluded is None else len(self.excluded.names),
            "excluded_sha256": None if self.excluded is None else self.excluded.sha256,
        }
