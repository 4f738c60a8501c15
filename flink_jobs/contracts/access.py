"""Access rights on Kafka, derived from the producers and consumers in the topic contracts.

``streamflow up --secure`` grants exactly these rights, and production should grant no others.
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
    "lake job": "streamflow-lake",
    "job of merchants": "streamflow-merchants",
    "card processor": "card-processor",
    "case management": "case-management",
    "decision API": "streamflow-api",
    # Test traffic has its own account, which production does not have.
    "streamflow replay": "streamflow-traffic",
    "streamflow simulate": "streamflow-traffic",
    "streamflow demo": "streamflow-traffic",
}
"""Account of each producer and consumer; all other ``streamflow`` commands use ``streamflow-tools``."""
TOOLS: Final = "streamflow-tools"
CANARY: Final = "streamflow-canary"
"""Account of a canary. It has no right to write to a topic of the installation, nor in its groups and transactions."""


_CANARY_READS: Final = ("transactions", "control", "user-actions", "merchant-risk")

DETECTOR_OUTPUTS: Final = ("decisions", "alerts", "dlq", "audit", "control", "replies")
"""Suffixes of the topics that a detector writes to."""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One right: a Kafka ACL that allows an operation from any host."""

    account: str
    resource: Resource
    name: str
    operation: Operation
    is_prefix: bool = False
    """``name`` is a prefix; the right applies to all names that begin with it."""


def account_of(participant: str) -> str:
    """Return the account of a producer or consumer.

    Raises:
        LookupError: it is neither in ``ACCOUNTS`` nor a command of ``streamflow``.

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
    for job in ("detect", "archive", "merchants"):
        account = f"streamflow-{job}"
        found.add(Grant(account, "group", f"{prefix}-{job}", "read"))
        found.add(Grant(account, "cluster", "kafka-cluster", "describe_configs"))  # limit of transactions
        found.add(Grant(account, "transactional_id", f"{prefix}-{job}-", "write", is_prefix=True))
        found.add(Grant(account, "transactional_id", f"{prefix}-{job}-", "describe", is_prefix=True))
    found |= _canary_grants(prefix)
    for group in (f"{prefix}-lake", f"{prefix}-lake-check"):
        found.add(Grant("streamflow-lake", "group", group, "read"))
    found.add(Grant("streamflow-lake", "cluster", "kafka-cluster", "describe_configs"))  # the check before it starts
    # `streamflow status` shows the consumer lag of the jobs on every topic.
    found.add(Grant(TOOLS, "group", f"{prefix}-", "describe", is_prefix=True))
    found.add(Grant(TOOLS, "cluster", "kafka-cluster", "describe"))
    found.add(Grant(TOOLS, "topic", f"{prefix}.", "describe", is_prefix=True))
    return sorted(found)


def canary_prefix(prefix: str) -> str:
    """Return the topic prefix of an installation's canary.

    >>> canary_prefix("streamflow")
    'streamflow-canary'
    """
    return f"{prefix}-canary"


def _canary_grants(prefix: str) -> set[Grant]:
    """Return the rights of a canary: to read what the detector reads, and to write to topics of its own."""
    own = canary_prefix(prefix)
    found = {Grant(CANARY, "topic", f"{prefix}.{name}", "read") for name in _CANARY_READS}
    found.add(Grant(CANARY, "topic", f"{own}.", "write", is_prefix=True))
    found.add(Grant(CANARY, "group", f"{own}-detect", "read"))
    found.add(Grant(CANARY, "cluster", "kafka-cluster", "describe_configs"))
    found.add(Grant(CANARY, "transactional_id", f"{own}-detect-", "write", is_prefix=True))
    found.add(Grant(CANARY, "transactional_id", f"{own}-detect-", "describe", is_prefix=True))
    # `streamflow canary compare` reads both decisions.
    found.add(Grant(TOOLS, "topic", f"{own}.", "read", is_prefix=True))
    return found
