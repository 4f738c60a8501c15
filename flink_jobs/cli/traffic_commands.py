"""``streamflow replay`` and ``streamflow simulate``: send card traffic to the detector."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import orjson
import typer

from flink_jobs.cards.card_files import SourceEvent, mapping_for, read_events, with_prefix
from flink_jobs.cli.output import Output, OutputOption, emit, out, say
from flink_jobs.cli.row_reports import SkipList, TimeOrder
from flink_jobs.cli.times import moment_ms
from flink_jobs.cli.traffic_sending import Sending, progress_report, send
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.kafka.pacing import parse_pace
from flink_jobs.settings import load_settings, stack_home
from flink_jobs.traffic.faults import FaultPlan
from flink_jobs.traffic.purchase_ids import with_purchase_ids
from flink_jobs.traffic.replay import ReplayPlan
from flink_jobs.traffic.resume import ResumeRecord
from flink_jobs.traffic.simulate import DEFAULT_START_MS, SimulationPlan
from flink_jobs.traffic.simulate import simulate as simulated_events

PROGRESS_RECORDS = 50_000

Malformed = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="share of malformed records among all sent records, such as 0.05")
]
Duplicates = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="share of redelivered records among all sent records, such as 0.02")
]
Late = Annotated[float, typer.Option(min=0.0, max=1.0, help="share of the transactions that are sent late")]
Speed = Annotated[str | None, typer.Option(help="multiple of event time, such as 100x, or max; default: max")]
Rate = Annotated[float | None, typer.Option(help="records per second, instead of --speed")]
Prefix = Annotated[
    str,
    typer.Option(help="prefix of every customer and transaction id, so that a file can be sent again as new data"),
]
LedgerFileOption = Annotated[
    Path | None,
    typer.Option("--ledger", help="write one JSON line per record: its partition, offset and expected outcome"),
]
Account = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        metavar="SECONDS",
        help="after sending, reconcile every record with its outcome; stop after this time without a new outcome. "
        "Exit code 1 if a record has no outcome, more than one, or not the planned one",
    ),
]
Start = Annotated[
    str | None, typer.Option(help="event time of the first transaction, ISO 8601, UTC; default: 2020-01-01")
]
OutFile = Annotated[
    Path | None,
    typer.Option("--out", help="write labelled JSON lines to this file, for `replay` and `train`, instead of sending"),
]
MetricsPort = Annotated[
    int, typer.Option(min=0, max=65535, help="serve Prometheus metrics on this port while sending; 0: no metrics")
]
Ids = Annotated[
    bool, typer.Option("--ids/--no-ids", help="add terminal, device, card and IP address (version 2 of the contract)")
]
LogJson = Annotated[bool, typer.Option("--log-json", help="write progress as JSON lines to standard error")]


def replay(
    file: Annotated[Path, typer.Argument(help="card file: .csv, .jsonl (each also .gz) or .parquet")],
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="column mapping or preset:NAME; default: <name>.mapping.yaml beside the file, the wire format for JSON"
        ),
    ] = None,
    speed: Speed = None,
    rate: Rate = None,
    limit: Annotated[int | None, typer.Option(min=1, help="largest number of transactions to send")] = None,
    malformed: Malformed = 0.0,
    duplicates: Duplicates = 0.0,
    late: Late = 0.0,
    max_delay: Annotated[int, typer.Option(min=1, help="a late transaction is sent after 1 to this many others")] = 200,
    seed: Annotated[int, typer.Option(help="seed of the faults")] = 1,
    prefix: Prefix = "",
    ledger: LedgerFileOption = None,
    account: Account = None,
    metrics_port: MetricsPort = 0,
    *,
    log_json: LogJson = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="continue an unfinished replay of this file after its last sent record")
    ] = False,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="skip and count rows that the mapping cannot convert")
    ] = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Send the card transactions of a file to the detector, in the order of the file.

    A column mapping names the columns for id, customer, amount and time; other fields are optional. Labels are never
    sent: they only serve to measure recall and precision afterwards (--account).

    For example:

      streamflow replay tests/data/card_transactions.csv.gz --speed 5000x

      streamflow replay tests/data/card_transactions.csv.gz --malformed 0.05 --duplicates 0.02 --late 0.01 --account 60
    """
    skipped = SkipList(file, takes_errors=skip_bad_rows)
    columns = mapping_for(file, mapping)
    if columns.assumes_currency:
        say(f"{columns.path} names no currency; US dollars are assumed.")
    faults, record = (
        FaultPlan(malformed, duplicates, late, max_delay, seed),
        _resume_record(file, prefix, resume=resume),
    )
    plan = ReplayPlan(parse_pace(speed, rate), faults, limit, record, resume)
    sending = Sending(plan, ledger, account, metrics_port, output, progress_report(log_json=log_json))
    order = TimeOrder()
    try:
        send(order.watched(_renamed(read_events(file, columns, skipped), prefix)), sending)
    finally:
        skipped.report()
        order.report(file)


def simulate(
    customers: Annotated[int, typer.Option(min=1, help="number of customers")] = 1_000,
    events: Annotated[int, typer.Option(min=1, help="number of transactions")] = 10_000,
    seed: Annotated[int, typer.Option(help="the same seed and options give the same traffic")] = 1,
    fraud_rate: Annotated[float, typer.Option(min=0.0, max=0.5, help="expected share of frauds")] = 0.02,
    start: Start = None,
    speed: Speed = None,
    rate: Rate = None,
    out_file: OutFile = None,
    malformed: Malformed = 0.0,
    duplicates: Duplicates = 0.0,
    late: Late = 0.0,
    prefix: Prefix = "",
    ledger: LedgerFileOption = None,
    account: Account = None,
    metrics_port: MetricsPort = 0,
    *,
    log_json: LogJson = False,
    kafka: Annotated[bool, typer.Option("--kafka", help="send to Kafka; the default without --out")] = False,
    ids: Ids = True,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Simulate card traffic with planted fraud, and send it to the detector or write it to a file.

    Customers have a home, usual hours, merchants and amounts, and genuine exceptions: trips, sprees, large purchases.
    The fraud patterns are amount_spike, burst, impossible_travel, odd_hours and stolen_card (tiny amounts, then large
    ones). Each transaction has a label; labels are never sent. A customer has one or two cards and devices, a merchant
    one to four terminals.

    For example:

      streamflow simulate --events 20000 --rate 500 --account 60

      streamflow simulate --customers 5000 --events 200000 --out /tmp/cards.jsonl
    """
    plan = SimulationPlan(
        customers, seed, fraud_rate, DEFAULT_START_MS if start is None else moment_ms(start, "--start", _now_ms())
    )
    named = _renamed(_until_now(simulated_events(plan)), prefix)
    stream = itertools.islice(with_purchase_ids(named, seed) if ids else named, events)
    if out_file is None:
        replay_plan = ReplayPlan(parse_pace(speed, rate), FaultPlan(malformed, duplicates, late, seed=seed), events)
        send(stream, Sending(replay_plan, ledger, account, metrics_port, output, progress_report(log_json=log_json)))
        return
    if kafka or speed or rate or malformed or duplicates or late or ledger or metrics_port or account is not None:
        raise UserError(
            "--out writes a file and sends nothing",
            "leave out the options for sending, and send the file with `replay`",
            ErrorCode.USAGE_ERROR,
        )
    counts = write_events(stream, out_file)
    emit(
        output,
        {"file": str(out_file), **counts},
        lambda: out.print(
            f"{out_file} holds {counts['events']:,} transactions, {counts['frauds']:,} of them fraud", soft_wrap=True
        ),
    )


def _resume_record(file: Path, prefix: str, *, resume: bool) -> ResumeRecord:
    """Return the record of the progress; without ``resume``, report an unfinished replay of the file."""
    settings = load_settings()
    record = ResumeRecord.of(stack_home() / "replays", file, settings.topic_prefix, prefix)
    earlier = record.earlier()
    if earlier and not resume:
        say(f"An earlier replay of {file} ended after {earlier:,} records. This one starts again at the first row.")
        say("Transactions that are sent a second time are duplicates only if they are at most")
        say(f"{settings.duplicate_days:g} days older than the newest of their customer; older ones are scored again.")
        say("`--resume` sends only the rest.")
    return record


def write_events(events: Iterable[SourceEvent], path: Path) -> dict[str, int]:
    """Write events as JSON lines (transaction, ``is_fraud``, ``pattern``), which ``replay`` reads without a mapping.

    Raises:
        UserError: the file cannot be written.
    """
    count = frauds = 0
    try:
        with path.open("wb") as stream:
            for event in events:
                line = {**event.transaction, "is_fraud": event.label, "pattern": event.pattern}
                stream.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                count += 1
                frauds += event.label is True
                if count % PROGRESS_RECORDS == 0:
                    say(f"{count:,} written")
    except OSError as cause:
        raise UserError(f"cannot write {path} ({cause.strerror})", "choose another file with --out") from None
    return {"events": count, "frauds": frauds}


def _renamed(events: Iterator[SourceEvent], prefix: str) -> Iterator[SourceEvent]:
    return with_prefix(events, prefix) if prefix else events


def _until_now(events: Iterator[SourceEvent]) -> Iterator[SourceEvent]:
    """Yield events up to the present time: the detector rejects transactions of the future.

    Raises:
        UserError: an event lies in the future.
    """
    now_ms = _now_ms()
    for count, event in enumerate(events):
        if event.transaction["event_time_ms"] > now_ms:
            raise UserError(
                f"simulated time reached the present after {count:,} transactions",
                "use more --customers, fewer --events or an earlier --start",
            )
        yield event


def _now_ms() -> int:
    return int(time.time() * 1_000)
