"""``streamflow generate``: writes card data with compromised terminals, compromised cards and high amounts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out
from flink_jobs.errors import UserError

Customers = Annotated[int, typer.Option(min=3, max=100_000, help="number of customers")]
Terminals = Annotated[int, typer.Option(min=2, max=200_000, help="number of terminals")]
Days = Annotated[int, typer.Option(min=1, max=3_650, help="number of days, from 2018-04-01")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="seed of every random choice")]
TerminalsPerMerchant = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=200_000,
        help="group the terminals under merchants of this size, column MERCHANT_ID; read the file with --mapping "
        "preset:handbook-merchants; default: no merchants, as in the Handbook",
    ),
]


def generate(
    file: Annotated[Path, typer.Argument(help="file to write, .csv or .csv.gz")],
    customers: Customers = 5_000,
    terminals: Terminals = 10_000,
    days: Days = 136,
    seed: Seed = 0,
    terminals_per_merchant: TerminalsPerMerchant = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Write card data after the description of the Fraud Detection Handbook, with labels and the kind of each fraud.

    Frauds: amounts above 220, terminals compromised for 28 days, cards compromised for 14 days. The default size is
    that of the Handbook, up to the last day of its first test.

    Read the file with --mapping preset:handbook. With --terminals-per-merchant, compromised terminals are a part of
    their merchant only; read that file with --mapping preset:handbook-merchants.

    Example: streamflow generate cards.csv.gz --customers 500 --terminals 1000 --days 60
    """
    from ml.terminal_fraud import World, write_csv
    from ml.terminal_fraud import generate as generated

    purchases = generated(World(customers, terminals, days, seed))
    try:
        write_csv(purchases, file, terminals_per_merchant)
    except OSError as error:
        raise UserError(f"cannot write {file} ({error.strerror})", "choose another file") from error
    frauds = int((purchases.scenario > 0).sum())
    value = {"file": str(file), "transactions": len(purchases), "frauds": frauds}
    emit(output, value, lambda: out.print(f"{file}: {len(purchases):,} transactions, {frauds:,} of them fraud"))
