"""The blacklist: which transactions it matches, and how control messages change it.

Entries and transactions are compared in one normal form, so that spelling variants of a name match:

- merchant: without outer white space, Unicode NFC, upper and lower case are equal;
- customer: without outer white space, Unicode NFC;
- country: an ISO 3166-1 alpha-2 code, without outer white space, upper and lower case are equal.

An entry keeps its spelling, so configurations in savepoints and audit records of older releases match the same way.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from flink_jobs.core.countries import COUNTRIES, meant_country
from flink_jobs.core.documents import BlacklistChange, BlacklistChanges
from flink_jobs.core.texts import composed
from flink_jobs.core.transaction import Transaction

KINDS: Final = ("customer", "merchant", "country")
_ENTRIES_SHOWN: Final = 5
_CHARS_SHOWN: Final = 64


def _tidy(text: str) -> str:
    return composed(text).strip()


def _merchant_key(text: str) -> str:
    return composed(_tidy(text).casefold())  # folding can undo the composition


def _country_key(text: str) -> str:
    return _tidy(text).upper()


KEY_OF: Final[Mapping[str, Callable[[str], str]]] = {
    "customer": _tidy,
    "merchant": _merchant_key,
    "country": _country_key,
}
"""The normal form of an entry, by kind."""


@dataclass(frozen=True, slots=True)
class Blacklist:
    """Entities whose transactions fire the blacklist rule."""

    customer: frozenset[str] = frozenset()
    merchant: frozenset[str] = frozenset()
    country: frozenset[str] = frozenset()
    _customers: frozenset[str] = field(init=False, repr=False, compare=False)
    _merchants: frozenset[str] = field(init=False, repr=False, compare=False)
    _countries: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compute the normal forms once: matching runs for every transaction."""
        object.__setattr__(self, "_customers", frozenset(map(_tidy, self.customer)))
        object.__setattr__(self, "_merchants", frozenset(map(_merchant_key, self.merchant)))
        object.__setattr__(self, "_countries", frozenset(map(_country_key, self.country)))

    def matches(self, transaction: Transaction) -> bool:
        """Return whether the merchant, customer or country of a transaction is listed."""
        merchant = transaction.merchant
        if self._merchants and merchant is not None and _merchant_key(merchant) in self._merchants:
            return True
        if self._customers and _tidy(transaction.customer_id) in self._customers:
            return True
        return transaction.country in self._countries


def changed_blacklist(blacklist: Blacklist, changes: BlacklistChanges) -> Blacklist:
    """Return the blacklist after the changes of a control message."""
    return Blacklist(
        customer=_changed_entries("customer", blacklist.customer, changes.get("customer")),
        merchant=_changed_entries("merchant", blacklist.merchant, changes.get("merchant")),
        country=_changed_entries("country", blacklist.country, changes.get("country")),
    )


def unmatchable(changes: BlacklistChanges) -> str:
    """Return which entries that a message adds can match no transaction, and why; empty if there are none."""
    problems = []
    for kind in KINDS:
        added = _change_of(changes, kind).get("add", [])
        useless = [entry for entry in added if not _can_match(kind, entry)]
        if useless:
            needed = _meant_countries(useless) if kind == "country" else "they are empty"
            problems.append(f"{kind} entries that match nothing: {_shown(useless)}; {needed}")
    return "; ".join(problems)


def not_listed(blacklist: Blacklist, changes: BlacklistChanges) -> str:
    """Return which entries that a message removes are not on the blacklist; empty if there are none."""
    problems = []
    for kind in KINDS:
        key = KEY_OF[kind]
        listed = set(map(key, getattr(blacklist, kind)))
        absent = [entry for entry in _change_of(changes, kind).get("remove", []) if key(entry) not in listed]
        if absent:
            problems.append(f"{kind} entries that were not listed: {_shown(absent)}")
    return "; ".join(problems)


def _change_of(changes: BlacklistChanges, kind: str) -> BlacklistChange:
    return cast("BlacklistChange", changes.get(kind, {}))


def _can_match(kind: str, entry: str) -> bool:
    key = KEY_OF[kind](entry)
    return key in COUNTRIES if kind == "country" else bool(key)


def _meant_countries(entries: list[str]) -> str:
    """Return what to write in place of entries that are no ISO 3166-1 code."""
    meant = {_shown([entry]): meant_country(_country_key(entry)) for entry in entries[:_ENTRIES_SHOWN]}
    known = ", ".join(f"{code} for {entry}" for entry, code in meant.items() if code)
    return f"write {known}" if known else "write the two letters of ISO 3166-1, such as US"


def _changed_entries(kind: str, entries: frozenset[str], change: BlacklistChange | None) -> frozenset[str]:
    if change is None:
        return entries
    key = KEY_OF[kind]
    kept = {key(entry): entry for entry in sorted(entries)}
    for entry in change.get("add", ()):
        kept.setdefault(key(entry), key(entry) if kind == "country" else _tidy(entry))
    for entry in change.get("remove", ()):
        kept.pop(key(entry), None)
    return frozenset(kept.values())


def _shown(entries: list[str]) -> str:
    """Return entries for a message: shortened, and with escapes in place of invisible characters."""
    text = ", ".join(repr(entry[:_CHARS_SHOWN]) for entry in entries[:_ENTRIES_SHOWN])
    return f"{text} and {len(entries) - _ENTRIES_SHOWN} more" if len(entries) > _ENTRIES_SHOWN else text
