"""Who may do what on Kafka: worked out from the producers and consumers that the topic contracts name.

``streamflow up --secure`` grants exactly this, and production should grant nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from flink_jobs.contracts.topic_contracts import TopicContract

Resource = Literal["topic", "group", "transactional_id", "cluster"]
Operation = Literal["read", "write", "describe", "describe_configs"]

ACCOUNTS: Final = {
    "fraud detector job": "streamflow-detect",
    "archive job": "streamflow-archive",
    "card processor": "card-processor",
    "case management": "case-management",
    # Test traffic is no operator's right: an account of its own, which production does not have.
    "streamflow replay": "streamflow-traffic",
    "streamflow simulate": "streamflow-traffic",
    "streamflow demo": "streamflow-traffic",
}
"""Account of each participant of the contracts; every other command of ``streamflow`` is ``streamflow-tools``."""
TOOLS: Final = "streamflow-tools"


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One right: what Kafka calls an ACL that allows, from any host."""

    account: str
    resource: Resource
    name: str
    operation: Operation
    is_prefix: bool = False
    """``name`` is the beginning of the names meant."""


def account_of(participant: str) -> str:
    """Return the account of a producer or consumer.

    Raises:
        LookupError: it is neither known here nor a command of ``streamflow``.

    >>> account_of("fraud detector job"), account_of("streamflow dlq")
    ('streamflow-detect', 'streamflow-tools')
    """
    known = ACCOUNTS.get(participant)
    if known is None and not participant.startswith("streamflow "):
        message = f"{participant!r} has no account: add it to flink_jobs/contracts/access.py"
        raise LookupError(message)
    return known or TOOLS


def grants(contracts: Mapping[str, TopicContract], prefix: str) -> list[Grant]:
    """Return every right of an installation, in order.

    Args:
        contracts: by suffix, with the full names of their topics.
        prefix: of the installation's topics, consumer groups and transactions.
    """
    found = set()
    for contract in contracts.values():
        # Reading and writing include describing.
        found |= {Grant(account_of(name), "topic", contract.name, "write") for name in contract.producers}
        found |= {Grant(account_of(name), "topic", contract.name, "read") for name in contract.consumers}
    for job in ("detect", "archive"):
        account = f"streamflow-{job}"
        found.add(Grant(account, "group", f"{prefix}-{job}", "read"))
        found.add(Grant(account, "cluster", "kafka-cluster", "describe_configs"))  # its limit on transactions
        found.add(Grant(account, "transactional_id", f"{prefix}-{job}-", "write", is_prefix=True))
        found.add(Grant(account, "transactional_id", f"{prefix}-{job}-", "describe", is_prefix=True))
    # `streamflow status` shows how far the jobs are behind, on every topic they read.
    found.add(Grant(TOOLS, "group", f"{prefix}-", "describe", is_prefix=True))
    found.add(Grant(TOOLS, "cluster", "kafka-cluster", "describe"))
    found.add(Grant(TOOLS, "topic", f"{prefix}.", "describe", is_prefix=True))
    return sorted(found)
