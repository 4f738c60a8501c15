"""Batches of messages written to a real Postgres: a rejected row does not affect the other rows."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from random import Random
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import given, settings

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.dead_letters.letter import build_dlq_record
from flink_jobs.core.dead_letters.redrive import NO_HISTORY, RedriveHistory
from flink_jobs.core.documents import DeadLetterDocument, Finding
from flink_jobs.core.label import Label
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from flink_jobs.dead_letters.redrive_audit import RedriveItem, RedriveStore, coordinates_of, open_redrives
from flink_jobs.errors import UserError
from flink_jobs.job.archiver.copying import copy_rows, rows_of
from flink_jobs.job.archiver.rows import TableUnfitError, check_tables, write_messages
from flink_jobs.job.archiver.tables import ARCHIVE_OF, ARCHIVES, Archive, copy_sql, create_incoming_sql, parse_sql
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.paths import MIGRATIONS
from tests.integration.decided_cards import DecidedCards, decide
from tests.strategies import archived_documents

pytestmark = pytest.mark.stack

SECRET = "4111111111111111"
"""Represents card data: no error detail may contain it."""
BAD: dict[str, dict[str, Any]] = {
    "NUL in a text": {"merchant": f"{SECRET}\0"},
    "NUL in a feature's name": {"features": {f"\0{SECRET}": 1}},
    "an integer of 65 bits": {"amount_minor": 2**64 - 1},
    "a time that no calendar has": {"event_time_ms": 2**62},
    "a text for a number": {"amount_minor": f"x{SECRET}"},
    "a required column is null": {"currency": None},
    "a check is violated": {"variant": SECRET},
    "too long for the key's index": {"transaction_id": "".join(sha256(b"%d" % n).hexdigest() for n in range(200))},
    "no partition number": {"source": {"topic": "t", "partition": 2**40, "offset": 1}},
}


@pytest.fixture(scope="module")
def cards() -> DecidedCards:
    return decide(1_000)


@pytest.fixture
def connection(fresh_database: Settings) -> Iterator[psycopg.Connection[Any]]:
    apply_migrations(fresh_database.postgres_dsn, MIGRATIONS)
    with psycopg.connect(fresh_database.postgres_dsn, autocommit=True) as connection:
        yield connection


def texts(documents: list[dict[str, Any]]) -> list[str]:
    return [orjson.dumps(document).decode() for document in documents]


def count(connection: psycopg.Connection[Any], table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608
    return int(row[0]) if row else -1


def test_every_good_row_is_written_and_every_bad_one_named(
    connection: psycopg.Connection[Any], cards: DecidedCards
) -> None:
    """Regression: one such row made the archive job restart forever, and no row was written."""
    messages = texts(cards.decisions[:100])
    broken = [
        orjson.dumps({**cards.decisions[0], "transaction_id": "bad", **change}).decode() for change in BAD.values()
    ]
    broken += ['{"transaction_id":', "[1]", "null", ""]
    places = [3 + 7 * number for number in range(len(broken))]
    for place, message in zip(places, broken, strict=True):
        messages.insert(place, message)

    refused = write_messages(connection, ARCHIVE_OF["decisions"], messages)

    assert sorted(item.index for item in refused) == places
    assert count(connection, "raw.decisions") == 100
    details = {item.index: item.detail for item in refused}
    assert not any(SECRET in detail for detail in details.values()), "a detail holds no card data"
    named = dict(zip(BAD, (details[place] for place in places), strict=False))
    assert named["a required column is null"] == "NotNullViolation (SQLSTATE 23502): currency"
    assert named["a check is violated"] == "CheckViolation (SQLSTATE 23514): decisions_variant_check"
    assert named["too long for the key's index"].startswith("ProgramLimitExceeded (SQLSTATE 54000)")


@pytest.mark.parametrize("topic", ["decisions", "alerts", "dlq", "labels"])
def test_a_batch_written_twice_gives_the_same_rows(
    connection: psycopg.Connection[Any], cards: DecidedCards, topic: str
) -> None:
    archive, messages = ARCHIVE_OF[topic], texts(getattr(cards, topic))
    assert write_messages(connection, archive, messages) == []
    before = connection.execute(f"SELECT t::text FROM {archive.table} t ORDER BY 1".encode()).fetchall()  # noqa: S608
    assert write_messages(connection, archive, [*messages, *messages]) == []
    assert connection.execute(f"SELECT t::text FROM {archive.table} t ORDER BY 1".encode()).fetchall() == before  # noqa: S608
    assert len(before) == len(messages) > 0


@pytest.mark.parametrize("topic", ["alerts", "labels"])
def test_alerts_keep_their_ids_and_those_of_a_label_which_the_decision_has_refuse_no_row(
    connection: psycopg.Connection[Any], cards: DecidedCards, topic: str
) -> None:
    archive, document = ARCHIVE_OF[topic], getattr(cards, topic)[0]
    newest = {"schema_version": load_contracts()[topic].latest_version, "terminal": "till-4", "card": "****1111"}
    assert write_messages(connection, archive, texts([{**document, **newest}])) == []
    row = connection.execute(f"SELECT to_jsonb(t) FROM {archive.table} t".encode()).fetchone()  # noqa: S608
    assert row is not None
    kept = ["schema_version"] if topic == "labels" else list(newest)
    assert {name: row[0][name] for name in kept} == {name: newest[name] for name in kept}
    assert ("terminal" in row[0]) == (topic == "alerts")


def test_the_later_of_two_messages_with_one_key_wins(connection: psycopg.Connection[Any], cards: DecidedCards) -> None:
    first = cards.decisions[0]
    assert write_messages(connection, ARCHIVE_OF["decisions"], texts([first, {**first, "score": 0.125}])) == []
    assert connection.execute("SELECT score FROM raw.decisions").fetchall() == [(0.125,)]


def test_messages_of_version_1_are_read(connection: psycopg.Connection[Any], cards: DecidedCards) -> None:
    old = {key: value for key, value in cards.decisions[0].items() if key not in {"variant", "shadow"}}
    assert write_messages(connection, ARCHIVE_OF["decisions"], texts([{**old, "schema_version": 1}])) == []
    assert connection.execute("SELECT variant, shadow FROM raw.decisions").fetchall() == [("champion", None)]


def test_a_table_that_refuses_every_row_of_ours_stops_the_archive(
    connection: psycopg.Connection[Any], cards: DecidedCards
) -> None:
    """A wrong table must not turn the whole stream into dead letters."""
    connection.execute("ALTER TABLE raw.decisions ADD COLUMN made_by_hand text NOT NULL")
    with pytest.raises(TableUnfitError, match=r"rejects every row, the first as NotNullViolation .*: made_by_hand"):
        write_messages(connection, ARCHIVE_OF["decisions"], texts(cards.decisions[:50]))


def test_a_missing_column_is_not_the_fault_of_a_row(connection: psycopg.Connection[Any], cards: DecidedCards) -> None:
    connection.execute("ALTER TABLE raw.decisions DROP COLUMN shadow CASCADE")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        write_messages(connection, ARCHIVE_OF["decisions"], texts(cards.decisions[:3]))


def test_the_tables_are_checked_before_the_archive_starts(database: Stack, fresh_database: Settings) -> None:
    check_tables(database.settings().postgres_dsn_as("writer"))
    dsn = fresh_database.postgres_dsn
    with pytest.raises(UserError, match=r"there is no table raw\.decisions .*: run `streamflow up`"):
        check_tables(dsn)
    apply_migrations(dsn, MIGRATIONS)
    check_tables(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE raw.labels DROP COLUMN comment CASCADE")
    with pytest.raises(UserError, match=r"raw\.labels has no column comment"):
        check_tables(dsn)
    with pytest.raises(UserError, match=r"has no INSERT privilege on raw\.decisions"):
        check_tables(database.settings().postgres_dsn_as("transformer"))
    with pytest.raises(UserError, match="the archive job cannot connect to Postgres"):
        check_tables("host=127.0.0.1 port=9 dbname=d user=u password=p")
    assert len(ARCHIVES) == 6


# ---- copied rows

_EVERYTHING = "SELECT to_jsonb(t) - 'loaded_at' - 'superseded_at' FROM {} t ORDER BY 1"


def parsed(connection: psycopg.Connection[Any], archive: Archive, message: str) -> tuple[Any, ...] | None:
    """Return the row that Postgres reads from a message, ``None`` if it refuses the message."""
    columns = ", ".join(archive.columns)
    query = f"SELECT {columns} FROM ({parse_sql(archive)}) AS read"  # noqa: S608 - our own names
    try:
        return connection.execute(query.encode(), ([message],)).fetchone()
    except psycopg.DataError:
        return None


def copied(connection: psycopg.Connection[Any], archive: Archive, row: str) -> tuple[Any, ...] | None:
    """Return the row that ``COPY`` writes, ``None`` if Postgres refuses it."""
    columns = ", ".join(archive.columns)
    try:
        with connection.transaction():
            connection.execute(create_incoming_sql(archive).encode())
            with connection.cursor().copy(copy_sql(archive).encode()) as copy:
                copy.write(f"{row}\t0\n")
            return connection.execute(f"SELECT {columns} FROM {archive.incoming}".encode()).fetchone()  # noqa: S608
    except psycopg.DataError:
        return None


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.topic)
def test_a_copied_row_is_the_row_that_postgres_reads(connection: psycopg.Connection[Any], archive: Archive) -> None:
    @settings(max_examples=60)
    @given(archived_documents(archive.topic))
    def check(document: dict[str, Any]) -> None:
        message = orjson.dumps(document).decode()
        (row,) = rows_of(archive, [message])
        if row is not None:
            assert copied(connection, archive, row) == parsed(connection, archive, message)

    check()


def everything(connection: psycopg.Connection[Any], *tables: str) -> list[Any]:
    return [connection.execute(_EVERYTHING.format(table).encode()).fetchall() for table in tables]


@pytest.mark.parametrize("seed", range(4))
def test_a_batch_gives_the_rows_that_single_messages_give(
    connection: psycopg.Connection[Any], cards: DecidedCards, seed: int
) -> None:
    """Good, bad, repeated and moved decisions of both versions, in any order."""
    old = {key: value for key, value in cards.decisions[1].items() if key not in {"variant", "shadow"}}
    good = [*cards.decisions[:40], {**old, "schema_version": 1, "score": 0.25}]
    moved = [
        {**decision, "source": {"topic": "t", "partition": 1, "offset": offset}}
        for offset, decision in enumerate(cards.decisions[:10])
    ]
    bad = [orjson.dumps({**cards.decisions[0], **change}).decode() for change in BAD.values()]
    random = Random(seed)  # noqa: S311 - a test's choice
    messages = random.choices(texts([*good, *moved, *moved]), k=90)
    for message in random.choices([*bad, '{"transaction_id":', "[1]", "null", ""], k=seed):
        messages.insert(random.randrange(len(messages)), message)

    results = []
    for size in (len(messages), 1):
        connection.execute("TRUNCATE raw.decisions, ops.superseded_decisions")
        refused = [
            (start + item.index, item.detail)
            for start in range(0, len(messages), size)
            for item in write_messages(connection, ARCHIVE_OF["decisions"], messages[start : start + size])
        ]
        results.append((sorted(refused), everything(connection, "raw.decisions", "ops.superseded_decisions")))
    assert results[0] == results[1]
    assert len(results[0][0]) == seed
    assert all(results[0][1])


def test_rows_of_a_callers_transaction_are_not_left_in_the_temporary_table(
    connection: psycopg.Connection[Any], cards: DecidedCards
) -> None:
    archive = ARCHIVE_OF["decisions"]
    with connection.transaction():
        assert write_messages(connection, archive, texts(cards.decisions[:50])) == []
        assert write_messages(connection, archive, texts(cards.decisions[50:100])) == []
    assert count(connection, "raw.decisions") == 100
    copy_rows(connection, archive, rows_of(archive, texts(cards.decisions[100:150])))
    assert count(connection, archive.incoming) == 0, "a commit empties it"
    assert count(connection, "raw.decisions") == 150


def test_a_new_session_of_the_writer_copies(database: Stack, cards: DecidedCards) -> None:
    """The role of the archive job may create temporary tables and nothing else."""
    dsn = database.settings().postgres_dsn_as("writer")
    for topic in ("decisions", "alerts", "dlq", "labels"):
        with psycopg.connect(dsn, autocommit=True) as connection:
            archive, messages = ARCHIVE_OF[topic], texts(getattr(cards, topic))
            rows = rows_of(archive, messages)
            assert None not in rows
            copy_rows(connection, archive, rows)
            assert count(connection, archive.table) >= len(messages) > 0


# ---- the audit of redrives


def letter(reason: DeadLetterReason, payload: bytes, *, topic: str, offset: int = 1) -> DeadLetterDocument:
    record = SourceRecord(payload, 0, offset, "2026-01-01 00:00:00", "", "c", topic)
    return build_dlq_record(record, reason, PipelineStage.SCORE, "", Disposition.REJECTED, 0)


def begun(connection: psycopg.Connection[Any], run: str) -> RedriveStore:
    store = RedriveStore(connection)
    store.begin(run, "somebody", "a test", {}, {("t", 0): 5})
    return store


def test_a_record_is_claimed_once_whatever_letter_it_has(connection: psycopg.Connection[Any]) -> None:
    store = begun(connection, "rd-1")
    first = letter(DeadLetterReason.PROCESSING_ERROR, b"{}", topic="t")
    other = letter(DeadLetterReason.STATE_VERSION_UNSUPPORTED, b"{}", topic="t")
    assert first["dlq_id"] != other["dlq_id"]
    claimed = store.claim("rd-1", [RedriveItem(first, b"{}"), RedriveItem(other, b"{}")])
    assert [item.letter["dlq_id"] for item in claimed.values()] == [first["dlq_id"]]
    ((number, item),) = claimed.items()
    assert store.histories().by_record == {coordinates_of(item.letter): RedriveHistory(is_done=True)}
    (left,) = store.interrupted()
    assert (left.redrive_id, left.dlq_id, left.positions) == (number, first["dlq_id"], {("t", 0): 5})

    store.note_abandoned(number, "cut short")
    ((again, _),) = store.claim("rd-1", [item]).items()
    store.note_sent({again: (2, 77)})
    assert store.claim("rd-1", [item]) == {}
    assert store.interrupted() == []
    assert [(row.outcome, row.sent_offset) for row in store.attempts()] == [("sent", 77), ("abandoned", None)]
    for statement in ("DELETE FROM ops.redrives", "UPDATE ops.redrives SET detail = 'other' WHERE outcome = 'sent'"):
        with pytest.raises(psycopg.errors.RaiseException, match="is an audit"):
            connection.execute(statement.encode())


def test_a_row_and_its_audit_are_written_together(connection: psycopg.Connection[Any]) -> None:
    store = begun(connection, "rd-1")
    labels = ARCHIVE_OF["labels"]
    label = Label("t-1", "c-1", Finding.FRAUD, "analyst", 1_704_067_200_000, "somebody").document()
    bad = RedriveItem(letter(DeadLetterReason.LABEL_INVALID, b"{}", topic="s.labels"), b"{}")
    refusal = store.write_row("rd-1", bad, labels, NO_HISTORY)
    assert refusal is not None
    assert count(connection, "raw.labels") == 0
    assert store.histories().by_record == {coordinates_of(bad.letter): RedriveHistory(is_done=False, refusals=1)}

    changes = [{"path": "label", "from": "maybe", "to": "fraud"}]
    good = RedriveItem(bad.letter, orjson.dumps(label), changes=changes)
    assert store.write_row("rd-1", good, labels, store.histories().of(bad.letter)) is None
    assert count(connection, "raw.labels") == 1
    newest = store.attempts()[0]
    assert (newest.outcome, newest.replay, newest.changes) == ("written", 2, changes)
    assert store.histories().of(bad.letter).is_done


def test_two_redrives_cannot_run_at_once(database: Stack) -> None:
    dsn = database.settings().postgres_dsn
    with (
        open_redrives(dsn, alone=True),
        pytest.raises(UserError, match="another redrive is running"),
        open_redrives(dsn, alone=True),
    ):
        pass
    with open_redrives(dsn, alone=True):
        pass
