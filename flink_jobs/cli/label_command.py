"""``streamflow label``: labels transactions as fraud or genuine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from flink_jobs.cards.card_files import SourceEvent, mapping_for, read_events, with_prefix
from flink_jobs.cli.actor import ByOption, actor, without_card_number
from flink_jobs.cli.output import Output, OutputOption, emit, out, say
from flink_jobs.cli.row_reports import SkipList
from flink_jobs.cli.times import moment_ms
from flink_jobs.core.documents import Finding
from flink_jobs.core.label import FUTURE, Label
from flink_jobs.core.parsing.purchase_ids import purchase_id
from flink_jobs.core.texts import composed
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.kafka.label_sender import labels_of, send_labels
from flink_jobs.settings import load_settings

MerchantOption = Annotated[
    str | None, typer.Option(help="merchant of the transaction; models with inputs of merchants learn from it")
]
TerminalOption = Annotated[str | None, typer.Option(help="terminal of the transaction; as for --merchant")]
DeviceOption = Annotated[str | None, typer.Option(help="device of the cardholder; as for --merchant")]
CardOption = Annotated[str | None, typer.Option(help="token of the card; a number is kept as its last four digits")]
EventTimeOption = Annotated[
    str | None,
    typer.Option(help="with --merchant, --terminal, --device or --card: event time of the transaction (see --at)"),
]


def label(
    transaction: Annotated[str | None, typer.Argument(help="transaction id; not with --from-file")] = None,
    customer: Annotated[str | None, typer.Option(help="customer id of the transaction")] = None,
    finding: Annotated[
        Finding | None, typer.Option("--as", help="fraud: confirmed fraud; genuine: false positive")
    ] = None,
    source: Annotated[str, typer.Option(help="source of the label: chargeback, analyst, cardholder, ...")] = "analyst",
    comment: Annotated[str | None, typer.Option(help="a note for analysts", callback=without_card_number)] = None,
    merchant: MerchantOption = None,
    terminal: TerminalOption = None,
    device: DeviceOption = None,
    card: CardOption = None,
    event_time: EventTimeOption = None,
    at: Annotated[
        str, typer.Option(help="time at which the label became known: 15m, 2h, 3d (ago), or an ISO 8601 time (UTC)")
    ] = "0s",
    from_file: Annotated[
        Path | None, typer.Option(help="send all labels of a card file (formats: see `replay`)")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="column mapping of the file (see `replay`)")] = None,
    delay_days: Annotated[
        float, typer.Option(min=0.0, help="with --from-file: days from a transaction to its label")
    ] = 7.0,
    prefix: Annotated[str, typer.Option(help="with --from-file: prefix of the ids (see `replay`)")] = "",
    by: ByOption = None,
    *,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="with --from-file: skip and list rows that cannot be read")
    ] = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Label one transaction as fraud or genuine, or send all labels of a card file with a delay.

    You can label a transaction again: the latest label counts, and all labels are kept.
    """
    settings, who = load_settings(), actor(by)
    if from_file is not None:
        if transaction is not None:
            raise UserError("both a transaction and --from-file are given", "give one of them", ErrorCode.USAGE_ERROR)
        skipped = SkipList(from_file, takes_errors=skip_bad_rows)
        events = with_prefix(read_events(from_file, mapping_for(from_file, mapping), skipped), prefix)
        with ExitStack() as ending:
            ending.callback(skipped.report)
            _send_file(from_file, events, LabelOrigin(source, who, delay_days), output)
        return
    if transaction is None or customer is None or finding is None:
        fix = "give all three, or --from-file"
        raise UserError("a label needs a transaction, --customer and --as", fix, ErrorCode.USAGE_ERROR)
    now_ms = time.time_ns() // 1_000_000
    known_ms = moment_ms(at, "--at", now_ms)
    event_ms = None if event_time is None else moment_ms(event_time, "--event-time", now_ms)
    ids = (_id("terminal", terminal), _id("device", device), _id("card", card))
    place = (merchant and composed(merchant), event_ms, *ids)
    one = _checked(now_ms, transaction, customer, finding, source, known_ms, who, comment, *place)
    send_labels(settings.broker(), settings.topic_prefix, [one])
    emit(
        output,
        one.document(),
        lambda: out.print(f"Transaction {transaction} of {customer} is labelled as {finding} ({one.id})"),
    )


def _checked(now_ms: int, *fields: Any) -> Label:  # noqa: ANN401 - the fields of a label, which checks them
    """Return a label of these fields, in their order.

    Raises:
        UserError: a field is not what the contract allows, or the label is of the future.
    """
    try:
        one = Label(*fields)
    except ValueError as error:
        raise UserError(f"the label is not valid ({error})", "correct it; nothing was sent") from None
    if one.is_future(now_ms):
        raise UserError(f"the label is not valid ({FUTURE})", "give the time at which it became known with --at")
    return one


def _id(field: str, value: str | None) -> str | None:
    """Return an id in the form of the decision; an invalid one unchanged, which the label then refuses by name."""
    return None if value is None else purchase_id(field, value) or value


class LabelOrigin(NamedTuple):
    """The part that all labels of a file have in common."""

    source: str
    labelled_by: str
    delay_days: float


class Counted:
    """Labels, and how many of them were taken so far."""

    def __init__(self, labels: Iterable[Label]) -> None:
        """Take nothing yet."""
        self._labels = labels
        self.count = 0

    def __iter__(self) -> Iterator[Label]:
        """Yield the labels and count them."""
        for label_of_row in self._labels:
            self.count += 1
            yield label_of_row


def _send_file(file: Path, events: Iterable[SourceEvent], origin: LabelOrigin, output: Output) -> None:
    """Send the labels of a card file that are known by now, and report the others.

    Raises:
        UserError: the file holds no labels, or a row cannot be read; then the error states how many labels were sent.
    """
    settings, not_yet = load_settings(), Counter[str]()
    labels = Counted(labels_of(events, *origin, time.time_ns() // 1_000_000, lambda: not_yet.update(["labels"])))
    try:
        count = send_labels(settings.broker(), settings.topic_prefix, labels, lambda n: say(f"{n:,} labels sent"))
    except UserError as cause:
        if not labels.count:
            raise
        fix = f"{cause.fix}; then send the whole file again: a label that arrives twice counts once"
        raise UserError(f"{cause.what}; up to {labels.count:,} labels were sent before", fix, cause.code) from None
    early = not_yet["labels"]
    if early:
        say(
            f"{early:,} labels were not sent: {origin.delay_days:g} days after their transactions is in the future. "
            "Send the file again then (a label that arrives twice counts once), or use a smaller --delay-days."
        )
    if not count and not early:
        fix = "name the column of the labels in the mapping: `label: {column: ...}`"
        raise UserError(f"{file} holds no labels", fix)
    emit(output, {"sent": count, "not_yet_known": early}, lambda: out.print(f"{count:,} labels sent"))
