"""First answers: the same transaction sent again gets the answer that it got first, also after a restart."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import Final, NamedTuple

import orjson
from psycopg.types.json import Jsonb

from api.database import Database
from api.documents import Answer
from api.errors import ApiError
from flink_jobs.core.transaction import Transaction

_FIND: Final = """
    SELECT content_sha256, answer FROM api.answers
    WHERE customer_id = %(customer)s AND transaction_id = %(transaction)s
"""
_KEEP: Final = """
    INSERT INTO api.answers (customer_id, transaction_id, content_sha256, answer, key_prefix)
    VALUES (%(customer)s, %(transaction)s, %(content)s, %(answer)s, %(key)s)
    ON CONFLICT (customer_id, transaction_id) DO NOTHING
    RETURNING 1 AS one
"""
_DELETE: Final = """
    DELETE FROM api.answers WHERE (customer_id, transaction_id) IN (
        SELECT customer_id, transaction_id FROM api.answers
        WHERE answered_at < now() - make_interval(days => %(days)s) LIMIT 10000)
    RETURNING 1 AS one
"""
_MOST_RECENT: Final = 10_000


class Kept(NamedTuple):
    """A first answer, and the digest of the transaction that it is about."""

    content_sha256: str
    answer: Answer


class Answers:
    """The answers in ``api.answers``, and the latest of this process in memory."""

    def __init__(self, database: Database) -> None:
        """Start without answers in memory."""
        self._database = database
        self._recent: OrderedDict[tuple[str, str], Kept] = OrderedDict()

    async def find(self, transaction: Transaction, limit_s: float) -> Kept | None:
        """Return the first answer on a transaction, ``None`` if there is none.

        Raises:
            ApiError: it is not in memory, and the database does not answer within ``limit_s`` (503).
        """
        known = self._recent.get((transaction.customer_id, transaction.transaction_id))
        if known is not None:
            return known
        rows = await self._database.rows(_FIND, _identity(transaction), limit_s)
        return _kept(rows[0]["content_sha256"], rows[0]["answer"]) if rows else None

    async def keep(self, transaction: Transaction, answer: Answer, key_prefix: str, limit_s: float) -> Kept:
        """Keep an answer unless another process kept one before; return the first one.

        If the database does not answer within ``limit_s``, the answer is kept in memory only, and says so.
        """
        content = content_of(transaction)
        first = Kept(content, answer)
        try:
            kept = await self._database.rows(
                _KEEP,
                {
                    **_identity(transaction),
                    "content": content,
                    "answer": Jsonb(answer.model_dump(mode="json")),
                    "key": key_prefix,
                },
                limit_s,
            )
            rows = [] if kept else await self._database.rows(_FIND, _identity(transaction), limit_s)
            if rows:
                first = _kept(rows[0]["content_sha256"], rows[0]["answer"])
        except ApiError:
            first = Kept(content, answer.model_copy(update={"is_kept": False}))
        self._recent[transaction.customer_id, transaction.transaction_id] = first
        if len(self._recent) > _MOST_RECENT:
            self._recent.popitem(last=False)
        return first

    async def delete_old(self, days: int) -> None:
        """Delete answers that are older than some days, in small steps."""
        while await self._database.rows(_DELETE, {"days": days}):
            pass


def content_of(transaction: Transaction) -> str:
    """Return a digest of what a transaction says; the order and spacing of its JSON do not matter."""
    return sha256(orjson.dumps(list(transaction))).hexdigest()


def _identity(transaction: Transaction) -> dict[str, str]:
    return {"customer": transaction.customer_id, "transaction": transaction.transaction_id}


def _kept(content: str, answer: object) -> Kept:
    return Kept(content, Answer.model_validate(answer))
