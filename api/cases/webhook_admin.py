"""Receivers of webhooks, and messages that were given up: for the owner of the installation."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row

from api.cases.webhooks import EVENTS, SECRET_NAME
from api.reads import add_change
from flink_jobs.errors import UserError

_ADD: Final = """
    INSERT INTO cases.webhooks (webhook_id, url, secret_name, events, created_by, has_ids)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (webhook_id) DO UPDATE SET url = EXCLUDED.url, secret_name = EXCLUDED.secret_name,
        events = EXCLUDED.events, created_by = EXCLUDED.created_by, has_ids = EXCLUDED.has_ids, disabled_at = NULL
"""
_DEAD: Final = """
    SELECT outbox_id, webhook_id, case_id, payload ->> 'event' AS event,
        coalesce(jsonb_array_length(payload -> 'alerts'), 0) AS alerts, attempts, last_error, dead_at
    FROM cases.outbox WHERE dead_at IS NOT NULL ORDER BY dead_at, outbox_id LIMIT 1000
"""
_RETRY: Final = """
    UPDATE cases.outbox AS message SET dead_at = NULL, attempts = 0, not_before = now(),
        payload = CASE
            WHEN NOT payload ? 'alerts' THEN payload
            WHEN (SELECT has_ids FROM cases.webhooks WHERE webhook_id = message.webhook_id)
                THEN jsonb_set(payload, '{alerts}', (
                    SELECT coalesce(jsonb_agg(item || jsonb_build_object('terminal', stored.terminal,
                        'device', stored.device, 'card', stored.card, 'ip', stored.ip) ORDER BY place), '[]')
                    FROM jsonb_array_elements(payload -> 'alerts') WITH ORDINALITY AS listed (item, place)
                    LEFT JOIN raw.alerts AS stored ON stored.alert_id = item ->> 'alert_id'
                        AND stored.event_time_ms = (item ->> 'event_time_ms')::bigint))
            ELSE payload - 'alerts' END
    WHERE dead_at IS NOT NULL AND (%(webhook)s::text IS NULL OR webhook_id = %(webhook)s)
    RETURNING (SELECT count(*) FROM jsonb_array_elements(payload -> 'alerts') AS item WHERE NOT EXISTS (
        SELECT FROM raw.alerts AS stored WHERE stored.alert_id = item ->> 'alert_id'
            AND stored.event_time_ms = (item ->> 'event_time_ms')::bigint)) AS gone
"""


class Retried(NamedTuple):
    """Messages that get their attempts again."""

    messages: int
    alerts_without_ids: int
    """Alerts in these messages that retention has deleted: their ids are null."""


def add_webhook(
    dsn: str, name: str, url: str, secret_name: str, events: Collection[str], by: str, *, has_ids: bool = False
) -> None:
    """Add a receiver, or replace the one with this name.

    Args:
        dsn: connection string of the owner.
        name: name of the receiver.
        url: address for POST requests.
        secret_name: name of the secret that signs them.
        events: events of cases.
        by: who adds it, for the record of changes.
        has_ids: whether each message lists the newest alerts of the case with terminal, device, card and IP address.

    Raises:
        UserError: an event is unknown, the address is no HTTP address, or the name of the secret is not valid.
    """
    unknown = sorted(set(events) - set(EVENTS))
    if unknown:
        raise UserError(f"{', '.join(unknown)} is no event of cases", f"choose from {', '.join(EVENTS)}")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise UserError(f"{url} is no address of a receiver", "give https://HOST/PATH without user and password")
    if SECRET_NAME.fullmatch(secret_name) is None:
        raise UserError(f"{secret_name} is no name of a secret", "use letters, digits and underscores")
    with psycopg.connect(dsn) as connection:
        connection.execute(_ADD, (name, url, secret_name, sorted(set(events)), by, has_ids))
        detail = f"{name} host={parts.hostname} events={','.join(sorted(set(events)))}{' with ids' if has_ids else ''}"
        add_change(connection, by, "api.webhook.set", detail)


def list_webhooks(dsn: str) -> list[dict[str, Any]]:
    """Return all receivers by name."""
    query = (
        "SELECT webhook_id, url, secret_name, events, has_ids, created_by, disabled_at FROM cases.webhooks ORDER BY 1"
    )
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def disable_webhook(dsn: str, name: str, by: str) -> None:
    """Send no new events to a receiver; messages in the outbox are still sent.

    Raises:
        UserError: there is no such receiver.
    """
    with psycopg.connect(dsn) as connection:
        changed = connection.execute(
            "UPDATE cases.webhooks SET disabled_at = coalesce(disabled_at, now()) WHERE webhook_id = %s", (name,)
        )
        if changed.rowcount == 0:
            raise UserError(f"there is no webhook {name}", "see `streamflow api webhooks list`")
        add_change(connection, by, "api.webhook.disabled", name)


def dead_messages(dsn: str) -> list[dict[str, Any]]:
    """Return messages that were given up after the last attempt, oldest first."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(_DEAD).fetchall()


def retry_dead(dsn: str, name: str | None) -> Retried:
    """Give dead messages, of one receiver or of all, their attempts again.

    The alerts that a message lists get their ids from the stored alerts again, if the receiver is still one with ids.
    """
    with psycopg.connect(dsn) as connection:
        gone = [row[0] for row in connection.execute(_RETRY.encode(), {"webhook": name})]
    return Retried(len(gone), sum(gone))
