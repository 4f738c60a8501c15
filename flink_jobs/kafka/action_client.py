"""Send actions on accounts to ``.user-actions`` and read them back; each action is validated before it is sent."""

from __future__ import annotations

from typing import NamedTuple

import orjson
from kafka.errors import KafkaError

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.accounts.action import UserAction, parse_action
from flink_jobs.core.accounts.standing import RISKS, AccountActions
from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.producer import CONNECT_LIMIT_S, connect

TOPIC = "user-actions"


class Account(NamedTuple):
    """The actions on one customer's account."""

    history: list[UserAction]
    """All actions on the topic, oldest first."""
    in_force: list[UserAction]
    """Those that apply to a transaction of now, the deciding one first."""
    risk: str
    """``blocked``, ``watch`` or ``none``; of actions with scope ``customer``."""


def send_action(broker: Broker, prefix: str, action: UserAction) -> None:
    """Send one action; it takes effect when the detector has read it.

    Raises:
        UserError: no broker answers, the topic is missing, or the broker refused the action.
    """
    topic, producer = topic_name(prefix, TOPIC), connect(broker)
    try:
        producer.send(topic, value=orjson.dumps(action.document()), key=action.customer_id.encode()).get(
            timeout=CONNECT_LIMIT_S
        )
    except KafkaError as cause:
        raise UserError(
            f"Kafka did not accept the action for {topic} ({type(cause).__name__})",
            "check with `streamflow status` that the broker is up and that `streamflow up` created its topics; then "
            "send the action again",
        ) from None
    finally:
        producer.close(timeout=CONNECT_LIMIT_S)


def read_account(broker: Broker, prefix: str, customer_id: str, now_ms: int) -> Account:
    """Return the actions on a customer's account from the topic, and those in force at ``now_ms``.

    Raises:
        UserError: no broker answers, or the topic is missing.
    """
    found: dict[str, UserAction] = {}
    with CommittedReader(broker, [topic_name(prefix, TOPIC)]) as reader:
        for record in reader.read_to_end():
            action = parse_action(record.value, now_ms) if record.key == customer_id.encode() else ""
            if isinstance(action, UserAction) and action.customer_id == customer_id:
                found.setdefault(action.id, action)
    return account_of(list(found.values()), now_ms)


def account_of(actions: list[UserAction], now_ms: int) -> Account:
    """Return what some actions of one customer amount to at ``now_ms``, by the detector's own rules."""
    account = AccountActions()
    for action in actions:
        account, _ = account.with_action(action.entry(), now_ms)
    by_id = {action.id: action for action in actions}
    deciding = account.deciding(now_ms)
    risk = "none" if deciding is None else RISKS[deciding.kind]
    history = sorted(actions, key=lambda action: (action.issued_at_ms, action.id))
    return Account(history, [by_id[item.action_id] for item in account.in_force(now_ms)], risk)
