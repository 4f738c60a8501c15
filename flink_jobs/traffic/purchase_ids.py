"""Adds terminal, device, card and IP address to traffic, so that it is of version 2 of the contract.

Each id is a function of a seed and of the names in the transaction. No random generator of the traffic is used, so
amounts, times, places and labels are the same with ids and without them.

A customer has one or two cards and devices and a home address; a merchant has one to four terminals. A purchase in a
shop has a terminal and a card, and the device of a customer who pays by phone. An online purchase has a device and an
address too; in half of the frauds they are those of a thief, who attacks several customers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from flink_jobs.core.parsing.purchase_ids import ID_LIMITS, VERSION_OF_IDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flink_jobs.cards.card_files import SourceEvent

IDS: Final = (*ID_LIMITS, "ip")
THIEVES: Final = 20
MOST_TERMINALS: Final = 4
_KEPT: Final = 20_000
"""Customers and merchants whose ids stay in memory."""


@dataclass(frozen=True, slots=True)
class Wallet:
    """What a customer pays with."""

    cards: tuple[str, ...]
    devices: tuple[str, ...]
    address: str
    pays_by_phone: bool


def with_purchase_ids(events: Iterable[SourceEvent], seed: int) -> Iterator[SourceEvent]:
    """Yield the events with ids; the same seed gives a customer and a merchant the same ids.

    Args:
        events: transactions of version 1, with a label where one is known.
        seed: names the population of cards, devices and terminals.
    """
    wallet_of = lru_cache(_KEPT)(lambda customer: _wallet(seed, customer))
    terminals_of = lru_cache(_KEPT)(lambda merchant: _terminals(seed, merchant))
    for event in events:
        document = event.transaction
        drawn = _draw(seed, "purchase", document["customer_id"], document["transaction_id"])
        wallet, merchant = wallet_of(document["customer_id"]), document.get("merchant")
        ids: dict[str, Any] = {"schema_version": VERSION_OF_IDS}
        if merchant is not None:
            terminals = terminals_of(merchant)
            ids["terminal"] = terminals[drawn % len(terminals)]
        # The second card and the second device are used for a quarter of the purchases.
        first = -1 if drawn >> 8 & 3 == 0 else 0
        if _is_online(document):
            is_a_thief = event.label is True and drawn >> 16 & 1 == 0
            thief = _thief(seed, document["customer_id"]) if is_a_thief else wallet
            ids |= {"device": thief.devices[first], "ip": thief.address}
        elif wallet.pays_by_phone and event.label is not True:
            ids["device"] = wallet.devices[first]
        ids["card"] = wallet.cards[first]
        yield replace(event, transaction={**document, **ids})


def _is_online(document: dict[str, Any]) -> bool:
    channel = document.get("channel")
    return channel == "online" if channel else str(document.get("category")).endswith("_net")


def _wallet(seed: int, customer: str) -> Wallet:
    drawn = _draw(seed, "customer", customer)
    return Wallet(
        tuple(f"tok_{_draw(seed, 'card', customer, number):016x}" for number in range(1 + (drawn % 10 < 3))),  # noqa: PLR2004 - three of ten
        tuple(f"dev_{_draw(seed, 'device', customer, number):016x}" for number in range(1 + (drawn >> 8) % 2)),
        _address(drawn >> 16),
        pays_by_phone=(drawn >> 40) % 5 < 2,  # noqa: PLR2004 - two of five
    )


def _thief(seed: int, customer: str) -> Wallet:
    """Return the devices of the thief who attacks a customer; the card is the customer's."""
    return _wallet(seed, f"thief {_draw(seed, 'thief', customer) % THIEVES}")


def _terminals(seed: int, merchant: str) -> tuple[str, ...]:
    drawn = _draw(seed, "merchant", merchant)
    return tuple(f"term_{drawn >> 24:010x}_{number}" for number in range(1 + drawn % MOST_TERMINALS))


def _address(drawn: int) -> str:
    """Return an address of the network for measurements, 198.18.0.0/15 (RFC 2544), which no host has."""
    return f"198.{18 + (drawn >> 16 & 1)}.{drawn >> 8 & 255}.{drawn & 255}"


def _draw(seed: int, *names: object) -> int:
    """Return 64 bits that the seed and the names determine."""
    text = "\x1f".join(map(str, (seed, *names)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
