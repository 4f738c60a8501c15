"""First answers: the same transaction sent again gets the answer that it got first, also after a restart."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import orjson

from api.batches import Batches
from api.database import Database
from api.documents import Answer
from api.errors import ApiError, unavailable
from flink_jobs.core.transaction import Transaction

# One look-up of the primary key per transaction, whatever the planner knows of the table.
_FIND: Final = """
    SELECT customer_id, transaction_id, found.content_sha256, found.answer
    FROM unnest(%(customers)s::text[], %(transactions)s::text[]) AS asked (customer_id, transaction_id)
    CROSS JOIN LATERAL (
        SELECT content_sha256, answer FROM api.answers AS kept
        WHERE kept.customer_id = asked.customer_id AND kept.transaction_id = asked.transaction_id LIMIT 1) AS found
"""
_KEEP: Final = """
    INSERT INTO api.answers (customer_id, transaction_id, content_sha256, answer, key_prefix)
    SELECT customer_id, transaction_id, content, answer::jsonb, key
    FROM unnest(
        %(customers)s::text[], %(transactions)s::text[], %(contents)s::text[], %(answers)s::text[], %(keys)s::text[]
    ) AS new (customer_id, transaction_id, content, answer, key)
    ORDER BY customer_id, transaction_id
    ON CONFLICT (customer_id, transaction_id) DO NOTHING
    RETURNING customer_id, transaction_id
"""
_DELETE: Final = """
    DELETE FROM api.answers WHERE (customer_id, transaction_id) IN (
        SELECT customer_id, transaction_id FROM api.answers
        WHERE answered_at < now() - make_interval(days => %(days)s) LIMIT 10000)
    RETURNING 1 AS one
"""
_MOST_RECENT: Final = 10_000
_Identity = tuple[str, str]
"""The ids of a customer and of a transaction."""
_FIELDS_OF_VERSION_1: Final = Transaction._fields.index("terminal")


class Kept(NamedTuple):
    """A first answer, and the digest of the transaction that it is about."""

    content_sha256: str
    answer: Answer


class _New(NamedTuple):
    """An answer to keep."""

    identity: _Identity
    kept: Kept
    key_prefix: str


class Answers:
    """The answers in ``api.answers``, and the latest of this process in memory.

    Look-ups that wait at the same time are one query, and so are answers to keep.
    """

    def __init__(self, database: Database) -> None:
        """Start without answers in memory."""
        self._database = database
        self._recent: OrderedDict[_Identity, Kept] = OrderedDict()
        self._finding = Batches(self._find_all)
        self._keeping = Batches(self._keep_all)

    async def find(self, transaction: Transaction, limit_s: float) -> Kept | None:
        """Return the first answer on a transaction, ``None`` if there is none.

        Raises:
            ApiError: it is not in memory, and the database does not answer within ``limit_s`` (503).
        """
        identity = transaction.customer_id, transaction.transaction_id
        known = self._recent.get(identity)
        if known is not None:
            return known
        try:
            return await self._finding.result(identity, limit_s)
        except TimeoutError:
            raise unavailable("Postgres") from None

    async def keep(self, transaction: Transaction, answer: Answer, key_prefix: str, limit_s: float) -> Kept:
        """Keep an answer unless another process kept one before; return the first one.

        If the database does not answer within ``limit_s``, the answer is kept in memory only, and says so.
        """
        identity = transaction.customer_id, transaction.transaction_id
        first = Kept(content_of(transaction), answer)
        try:
            first = await self._keeping.result(_New(identity, first, key_prefix), limit_s)
        except (ApiError, TimeoutError):
            first = Kept(first.content_sha256, answer.model_copy(update={"is_kept": False}))
        self._recent[identity] = first
        if len(self._recent) > _MOST_RECENT:
            self._recent.popitem(last=False)
        return first

    async def _find_all(self, identities: Sequence[_Identity], limit_s: float) -> list[Kept | None]:
        customers, transactions = zip(*identities, strict=True)
        names = {"customers": list(customers), "transactions": list(transactions)}
        found = {
            (row["customer_id"], row["transaction_id"]): Kept(
                row["content_sha256"], Answer.model_validate(row["answer"])
            )
            for row in await self._database.rows(_FIND, names, limit_s)
        }
        return [found.get(identity) for identity in identities]

    async def _keep_all(self, new: Sequence[_New], limit_s: float) -> list[Kept]:
        columns = {
            "customers": [item.identity[0] for item in new],
            "transactions": [item.identity[1] for item in new],
            "contents": [item.kept.content_sha256 for item in new],
            "answers": [item.kept.answer.model_dump_json() for item in new],
            "keys": [item.key_prefix for item in new],
        }
        rows = await self._database.rows(_KEEP, columns, limit_s)
        kept = {(row["customer_id"], row["transaction_id"]) for row in rows}
        others = [item.identity for item in new if item.identity not in kept]
        known = dict(zip(others, await self._find_all(others, limit_s), strict=True)) if others else {}
        return [known.get(item.identity) or item.kept for item in new]

    async def delete_old(self, days: int) -> None:
        """Delete answers that are older than some days, in small steps."""
        while await self._database.rows(_DELETE, {"days": days}):
            pass


def content_of(transaction: Transaction) -> str:
    """Return a digest of what a transaction says; the order and spacing of its JSON do not matter."""
    fields = list(transaction)
    if not any(fields[_FIELDS_OF_VERSION_1:]):
        del fields[_FIELDS_OF_VERSION_1:]  # the digest of an answer that an earlier release kept
    return sha256(orjson.dumps(fields)).hexdigest()
