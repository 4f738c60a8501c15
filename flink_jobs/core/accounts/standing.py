"""The actions on one customer's account: which are kept, which apply to a transaction, and their bytes.

The result does not depend on the order in which actions arrive, and an action that arrives twice counts once. Of the
actions of one kind on the same merchant or card and rule, the newest one counts, by time of issue and then by id. A
``clear`` ends every older action that it covers, also one that arrives after it. So a ``clear`` is kept like any other
action, until no older action can be in force.

    number of actions (u8) | for each: kind (u8), subject, rule (u64), time of issue, end (i64), id (16 bytes)

Subject and rule are fingerprints, 0 for none; an entry has a fixed size. The subject is the merchant or the card of an
action that does not concern all transactions of the customer.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from typing import Final, NamedTuple

from flink_jobs.core.accounts.document import AccountAction
from flink_jobs.core.transaction import Transaction

DAY_MS: Final = 86_400_000
MAX_DAYS: Final = 170
"""Longest time from the issue of an action to its end. A customer's state is kept for 180 days after its last change
(default), so no action is lost before its end."""
GRACE_MS: Final = 30 * DAY_MS
"""How long an action is kept after its end, by the caller's clock: transactions can arrive late."""
MAX_ENTRIES: Final = 24
"""Most actions per customer; one that blocks the whole customer or ends actions is always taken."""
_ENTRY: Final = struct.Struct("<BQQqq16s")
MAX_ACTION_BYTES: Final = 1 + _ENTRY.size * (MAX_ENTRIES + 2)
"""Largest size of the encoded actions, in bytes."""


class Kind(IntEnum):
    """The stored number of an action; of two actions in force, the one with the smaller number decides."""

    BLOCK = 1
    ALLOW = 2
    WATCH = 3
    SUPPRESS = 4
    CLEAR = 5

    @property
    def action(self) -> AccountAction:
        """The action of the contract."""
        return AccountAction(self.name.lower())


class Entry(NamedTuple):
    """One stored action."""

    kind: Kind
    subject: int
    """Fingerprint of the merchant or of the card; 0 for all transactions of the customer."""
    rule: int
    """Fingerprint of the rule id; 0 for none."""
    issued_at_ms: int
    expires_at_ms: int
    """The first event time to which the action does not apply."""
    id: bytes
    """The hexadecimal part of the action id, as 16 bytes."""

    @property
    def action_id(self) -> str:
        """The id as in the contract."""
        return f"ac_{self.id.hex()}"

    def is_newer(self, other: "Entry") -> bool:
        """Return whether this action was issued after another one; the id decides between equal times."""
        return (self.issued_at_ms, self.id) > (other.issued_at_ms, other.id)

    def ends(self, other: "Entry") -> bool:
        """Return whether this is a ``clear`` that ends another action."""
        return (
            self.kind is Kind.CLEAR
            and self.subject in {0, other.subject}
            and self.rule in {0, other.rule}
            and self.is_newer(other)
        )


RISKS: Final = {Kind.BLOCK: "blocked", Kind.WATCH: "watch"}
"""The risk of an account by its deciding action; without one it is ``none``."""


class Standing(NamedTuple):
    """The actions that apply to one transaction."""

    leading: Entry | None
    """The block, else the allow, else the watch; ``None`` without one."""
    suppressed: tuple[Entry, ...]
    """The suppressions of rules."""
    card: int = 0
    """Fingerprint of the transaction's card, by which an action on the card is told from one on the merchant."""


class ActionChange(IntEnum):
    """What became of an action."""

    APPLIED = 1
    OUTDATED = 2
    """It came before, or a newer action or ``clear`` came before it: nothing changed."""
    TOO_MANY = 3


@dataclass
class AccountActions:
    """The actions on one customer's account, in one order whatever the order of their arrival."""

    entries: tuple[Entry, ...] = ()

    def with_action(self, new: Entry, now_ms: int) -> "tuple[AccountActions, ActionChange]":
        """Return the actions after a new one, and what became of it; forget actions that ended long ago.

        Args:
            new: the action.
            now_ms: the caller's clock, ms since the epoch.
        """
        kept = [entry for entry in self.entries if entry.expires_at_ms + GRACE_MS > now_ms]
        if any(entry.ends(new) or (entry[:3] == new[:3] and not new.is_newer(entry)) for entry in kept):
            return self, ActionChange.OUTDATED
        kept = [entry for entry in kept if not new.ends(entry) and entry[:3] != new[:3]]
        is_always_taken = not new.subject and not new.rule and new.kind in {Kind.BLOCK, Kind.CLEAR}
        if len(kept) >= MAX_ENTRIES and not is_always_taken:
            return self, ActionChange.TOO_MANY
        return AccountActions(tuple(sorted([*kept, new]))), ActionChange.APPLIED

    def at(self, transaction: Transaction) -> Standing | None:
        """Return the actions that apply to a transaction, by event time, merchant and card; ``None`` without any."""
        time_ms = transaction.event_time_ms
        merchant = 0 if transaction.merchant is None else fingerprint(transaction.merchant)
        card = 0 if transaction.card is None else card_fingerprint(transaction.card)
        subjects = {0, merchant, card}
        found = [
            entry
            for entry in self.entries
            if time_ms < entry.expires_at_ms and entry.subject in subjects and entry.kind is not Kind.CLEAR
        ]
        if not found:
            return None
        suppressed = tuple(entry for entry in found if entry.kind is Kind.SUPPRESS)
        leading = None if len(suppressed) == len(found) else found[0]  # entries are sorted by kind
        return Standing(leading, suppressed, card)

    def in_force(self, now_ms: int) -> tuple[Entry, ...]:
        """Return the actions that have not ended at a time in ms since the epoch, the deciding one first."""
        return tuple(item for item in self.entries if item.kind is not Kind.CLEAR and now_ms < item.expires_at_ms)

    def deciding(self, now_ms: int) -> Entry | None:
        """Return the block or watch of the whole customer that makes the account's risk; ``None`` without one."""
        live = self.in_force(now_ms)
        return next((item for item in live if not item.subject and item.kind in RISKS), None)

    def to_bytes(self) -> bytes:
        """Encode, in at most ``MAX_ACTION_BYTES``."""
        return bytes([len(self.entries)]) + b"".join([_ENTRY.pack(*entry) for entry in self.entries])


def read_actions(blob: bytes) -> tuple[AccountActions, int]:
    """Return the actions at the beginning of some bytes, and the number of bytes they take.

    Raises:
        ValueError: the bytes are too few, or a kind is unknown.
    """
    count = blob[0] if blob else 0
    end = 1 + count * _ENTRY.size
    if not count or len(blob) < end:
        raise ValueError("length")
    entries = [Entry(Kind(row[0]), *row[1:]) for row in _ENTRY.iter_unpack(blob[1:end])]
    return AccountActions(tuple(entries)), end


def fingerprint(text: str) -> int:
    """Return 64 bits of BLAKE2b of a merchant or a rule id; never 0.

    Two of the at most 26 merchants of a customer's actions have equal fingerprints with a probability below 10^-16.
    """
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") or 1


def card_fingerprint(card: str) -> int:
    """Return the fingerprint of a card; another one than that of a merchant with the same name."""
    return fingerprint(f"card\x1f{card}")
