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
DevicesPerCustomer = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100,
        help="write columns DEVICE_ID and CARD_ID, give each customer this number of devices, and add frauds with the "
        "devices of fraudsters; read the file with --mapping preset:handbook-devices",
    ),
]
CardsPerCustomer = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100,
        help="write columns DEVICE_ID and CARD_ID, give each customer this number of cards, and add frauds with stolen "
        "cards on the accounts of others; read the file with --mapping preset:handbook-devices",
    ),
]


def generate(
    file: Annotated[Path, typer.Argument(help="file to write, .csv or .csv.gz")],
    customers: Customers = 5_000,
    terminals: Terminals = 10_000,
    days: Days = 136,
    seed: Seed = 0,
    terminals_per_merchant: TerminalsPerMerchant = None,
    devices_per_customer: DevicesPerCustomer = None,
    cards_per_customer: CardsPerCustomer = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Write card data after the description of the Fraud Detection Handbook, with labels and the kind of each fraud.

    Frauds: amounts above 220, terminals compromised for 28 days, cards compromised for 14 days. The default size is
    that of the Handbook, up to the last day of its first test.

    Read the file with --mapping preset:handbook. With --terminals-per-merchant, compromised terminals are a part of
    their merchant only; read that file with --mapping preset:handbook-merchants. With --devices-per-customer and
    --cards-per-customer, fraudsters use devices and stolen cards on the accounts of many customers.

    Example: streamflow generate cards.csv.gz --customers 500 --terminals 1000 --days 60
    """
    from ml.generated_ids import CARD_COLUMN, DEVICE_COLUMN, with_ids
    from ml.terminal_fraud import World, write_csv
    from ml.terminal_fraud import generate as generated

    world = World(customers, terminals, days, seed)
    purchases, columns = generated(world), None
    if devices_per_customer or cards_per_customer:
        purchases, ids = with_ids(purchases, world, devices_per_customer, cards_per_customer)
        columns = {DEVICE_COLUMN: ids.device, CARD_COLUMN: ids.card}
    try:
        write_csv(purchases, file, terminals_per_merchant, columns)
    except OSError as error:
        raise UserError(f"cannot write {file} ({error.strerror})", "choose another file") from error
    frauds = int((purchases.scenario > 0).sum())
    value = {"file": str(file), "transactions": len(purchases), "frauds": frauds}
    emit(output, value, lambda: out.print(f"{file}: {len(purchases):,} transactions, {frauds:,} of them fraud"))
