"""``streamflow account``: blocks, allows and watches customers, and suppresses rules for them."""

from __future__ import annotations

import time
from typing import Annotated, NamedTuple

import typer

from flink_jobs.cli.actor import ByOption, ReasonOption, actor
from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.cli.times import moment_ms, shown
from flink_jobs.core.accounts.action import FUTURE, UserAction
from flink_jobs.core.accounts.document import AccountAction, ActionScope
from flink_jobs.core.accounts.standing import DAY_MS, MAX_DAYS
from flink_jobs.core.parsing.purchase_ids import card_token
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.kafka.action_client import read_account, send_action
from flink_jobs.settings import load_settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Block, allow or watch a customer; suppress a rule for a customer."
)
_MEANING = {
    AccountAction.BLOCK: "is blocked",
    AccountAction.ALLOW: "raises no alerts",
    AccountAction.WATCH: "is watched",
    AccountAction.SUPPRESS: "is free of the rule",
}
CustomerArgument = Annotated[str, typer.Argument(help="customer id")]
MerchantOption = Annotated[str | None, typer.Option(help="only transactions with this merchant; default: all")]
CardOption = Annotated[
    str | None, typer.Option(help="only transactions with this card of the customer, by its token; default: all")
]
CaseOption = Annotated[str | None, typer.Option("--case", help="id of the case in which this was decided")]
UntilOption = Annotated[
    str | None, typer.Option(help=f"end, an ISO 8601 time (UTC), at most {MAX_DAYS} days from now; by event time")
]
DaysOption = Annotated[float | None, typer.Option(min=0.001, max=MAX_DAYS, help="length in days; not with --until")]
RuleOption = Annotated[str | None, typer.Option(help="end only the suppression of this rule")]


class Subject(NamedTuple):
    """The transactions of the customer that an action concerns: all, or those with one merchant or one card."""

    merchant: str | None
    card: str | None

    @property
    def scope(self) -> ActionScope:
        """The scope; with both, the contract refuses the action."""
        if self.card is not None:
            return ActionScope.CARD
        return ActionScope.CUSTOMER if self.merchant is None else ActionScope.MERCHANT


class Answerable(NamedTuple):
    """Why an action is taken and who is responsible."""

    reason: str
    by: str | None
    case_id: str | None


@app.command("block")
def block(
    customer: CustomerArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    days: DaysOption = None,
    merchant: MerchantOption = None,
    card: CardOption = None,
    case: CaseOption = None,
    by: ByOption = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Have a customer's transactions declined, for 90 days by default. Scores and alerts stay.

    Example: streamflow account block c-17 --reason "card data found on a market" --case 42
    One card: streamflow account block c-17 --card tok_5c0f1e9a --reason "the card was stolen"
    """
    end = (until, days if days or until else 90.0)
    _send(AccountAction.BLOCK, customer, (merchant, card), None, end, Answerable(reason, by, case), output)


@app.command("allow")
def allow(
    customer: CustomerArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    days: DaysOption = None,
    merchant: MerchantOption = None,
    card: CardOption = None,
    case: CaseOption = None,
    by: ByOption = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Raise no alerts for a customer until a date; scores stay. A block is stronger.

    Example: streamflow account allow c-17 --merchant "Hotel Astoria" --days 14 --reason "wedding, confirmed by phone"
    """
    _send(
        AccountAction.ALLOW,
        customer,
        Subject(merchant, card),
        None,
        (until, days),
        Answerable(reason, by, case),
        output,
    )


@app.command("watch")
def watch(
    customer: CustomerArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    days: DaysOption = None,
    merchant: MerchantOption = None,
    card: CardOption = None,
    case: CaseOption = None,
    by: ByOption = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Have a customer's transactions reviewed at least, for 90 days by default. Block and allow are stronger."""
    end = (until, days if days or until else 90.0)
    _send(AccountAction.WATCH, customer, (merchant, card), None, end, Answerable(reason, by, case), output)


@app.command("suppress")
def suppress(
    customer: CustomerArgument,
    rule: Annotated[str, typer.Argument(help="rule id: high_amount, velocity, unusual_time, impossible_travel, ...")],
    reason: ReasonOption,
    until: UntilOption = None,
    days: DaysOption = None,
    merchant: MerchantOption = None,
    card: CardOption = None,
    case: CaseOption = None,
    by: ByOption = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Do not apply one rule to a customer until a date: the score loses the weight of the rule.

    Example: streamflow account suppress c-17 impossible_travel --until 2026-12-24 --reason "flies to Japan and back"
    """
    _send(
        AccountAction.SUPPRESS,
        customer,
        Subject(merchant, card),
        rule,
        (until, days),
        Answerable(reason, by, case),
        output,
    )


@app.command("clear")
def clear(
    customer: CustomerArgument,
    reason: ReasonOption,
    rule: RuleOption = None,
    merchant: MerchantOption = None,
    card: CardOption = None,
    case: CaseOption = None,
    by: ByOption = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """End all earlier actions on a customer, or those on one merchant, card or rule."""
    _send(AccountAction.CLEAR, customer, (merchant, card), rule, (None, None), Answerable(reason, by, case), output)


@app.command("show")
def show(customer: CustomerArgument, *, output: OutputOption = Output.PLAIN) -> None:
    """Show the actions in force on a customer and all earlier ones, from the topic."""
    settings = load_settings()
    account = read_account(settings.broker(), settings.topic_prefix, customer, time.time_ns() // 1_000_000)
    ids = {action.id for action in account.in_force}

    def plain() -> None:
        out.print(f"Account risk of {customer}: {account.risk}")
        rows = [
            [
                "yes" if action.id in ids else "no",
                action.action,
                action.rule or action.merchant or action.card or "all",
                shown(action.issued_at_ms),
                shown(action.expires_at_ms),
                action.actor,
                action.reason,
            ]
            for action in reversed(account.history)
        ]
        table(["in force", "action", "on", "issued", "until", "by", "reason"], rows)

    document = {
        "customer_id": customer,
        "risk": account.risk,
        "in_force": [action.document() for action in account.in_force],
        "history": [action.document() for action in account.history],
    }
    emit(output, document, plain)


def _send(
    kind: AccountAction,
    customer: str,
    only: tuple[str | None, str | None],
    rule: str | None,
    end: tuple[str | None, float | None],
    answerable: Answerable,
    output: Output,
) -> None:
    """Send an action and report it."""
    settings, now_ms = load_settings(), time.time_ns() // 1_000_000
    ends_ms = None if kind is AccountAction.CLEAR else _end_ms(end, now_ms)
    subject = Subject(only[0], card_token(only[1]))
    try:
        action = UserAction(
            customer,
            kind,
            subject.scope,
            subject.merchant,
            rule,
            now_ms,
            ends_ms,
            answerable.reason,
            answerable.case_id,
            actor(answerable.by),
            card=subject.card,
        )
    except ValueError as error:
        raise UserError(f"the action is not valid ({error})", "correct it; nothing was sent") from None
    if action.is_future(now_ms):  # pragma: no cover - the time of issue is the clock
        raise UserError(f"the action is not valid ({FUTURE})", "check the clock of this machine")
    send_action(settings.broker(), settings.topic_prefix, action)
    whom = f"Customer {customer}" + ("" if subject.merchant is None else f" at {subject.merchant}")
    whom += ("" if subject.card is None else f", card {subject.card},") + ("" if rule is None else f", rule {rule},")
    if kind is AccountAction.CLEAR:
        text = f"{whom}: earlier actions end ({action.id})"
    else:
        text = f"{whom} {_MEANING[kind]} until {shown(ends_ms)} ({action.id})"
    emit(output, action.document(), lambda: out.print(text))


def _end_ms(end: tuple[str | None, float | None], now_ms: int) -> int:
    """Return the end of an action.

    Raises:
        UserError: not exactly one of --until and --days is given, or the time is not one.
    """
    until, days = end
    if (until is None) == (days is None):
        raise UserError("the action has no end, or two", "give --until or --days", ErrorCode.USAGE_ERROR)
    return now_ms + round((days or 0.0) * DAY_MS) if until is None else moment_ms(until, "--until", now_ms)
