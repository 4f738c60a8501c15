"""Redrives on a real broker and database: killed during a run, parked, of one edited label.

The evaluator replaces the detector here and scores the records on the topic; other tests cover Flink.
"""

from __future__ import annotations

import re
import signal
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
import pytest

from api.console.accounts import add_account, create_token
from api.console.roles import Role
from api.settings import ApiSettings
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.dead_letters.letter import build_dlq_record, encode_dlq_record
from flink_jobs.core.dead_letters.redrive import HEADER_LETTER, customer_of, parent_of
from flink_jobs.core.documents import DeadLetterDocument, Finding
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.label import Label
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from flink_jobs.job.archiver.rows import write_messages
from flink_jobs.job.archiver.tables import ARCHIVE_OF
from flink_jobs.kafka.consumer import CommittedReader, Record
from flink_jobs.kafka.producer import connect
from flink_jobs.local.stack import Stack
from flink_jobs.traffic.faults import FaultPlan
from flink_jobs.waiting import wait_for
from tests.integration import jobs
from tests.integration.api_server import client, serving
from tests.integration.dlq_commands import Commands
from tests.stack_folder import stack_folder

pytestmark = [pytest.mark.stack, pytest.mark.slow]

NOW_MS = 1_767_225_600_000
TRANSACTIONS = topic_name(jobs.PREFIX, "transactions")
LABEL_PLACE = (topic_name(jobs.PREFIX, "labels"), 0, 0)
Document = dict[str, Any]


class Detector:
    """Scores the new records on the transactions topic; writes dead letters, and rows of decisions."""

    def __init__(self, stack: Stack) -> None:
        self._settings = stack.settings()
        self._reader = CommittedReader(self._settings.broker(), [TRANSACTIONS])
        self._evaluator = TransactionEvaluator()
        self._states: dict[str, bytes] = {}

    def work(self) -> None:
        letters: list[str] = []
        decisions: list[str] = []
        for record in self._reader.read_to_end():
            source = source_record(record)
            outcome = self._evaluator.evaluate(source, lambda: self._states.get(source.routing_key), NOW_MS)  # noqa: B023
            if outcome.state is not None:
                self._states[source.routing_key] = outcome.state
            if outcome.decision is not None:
                decisions.append(outcome.decision)
            letters += [letter.body for letter in outcome.letters]
        self.write_letters(letters)
        with psycopg.connect(self._settings.postgres_dsn, autocommit=True) as connection:
            assert write_messages(connection, ARCHIVE_OF["decisions"], decisions) == []

    def write_letters(self, letters: list[str]) -> None:
        with closing(connect(self._settings.broker())) as producer:
            for letter in letters:
                producer.send(topic_name(jobs.PREFIX, "dlq"), value=letter.encode(), key=b"k").get(timeout=120)

    def close(self) -> None:
        self._reader.close()


def source_record(record: Record) -> SourceRecord:
    """Return a record in the form in which the job's source passes it on."""
    sent = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    headers = orjson.dumps({name: b64encode(value).decode() for name, value in record.headers}).decode()
    customer = customer_of(record.value or b"") or f"unroutable-{record.offset}"
    return SourceRecord(record.value, record.partition, record.offset, sent, headers, customer, record.topic)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Yield a stack with Kafka and Postgres only."""
    with stack_folder("test") as folder:
        stack = Stack(folder / "home")
        try:
            stack.up(["postgres", "kafka"])
            yield stack
        finally:
            stack.down(wipe=True)


@pytest.fixture(scope="module")
def detector(stack: Stack) -> Iterator[Detector]:
    """Yield the detector after 200 records, a quarter of them malformed and some duplicated."""
    jobs.send(stack, jobs.card_events("redrive", 200), faults=FaultPlan(malformed=0.25, duplicates=0.05, seed=8))
    label = SourceRecord(b'{"label":"maybe"}', *LABEL_PLACE[1:], "", "", "", LABEL_PLACE[0])
    reason = DeadLetterReason.LABEL_INVALID
    letter = build_dlq_record(label, reason, PipelineStage.ARCHIVE, "not a label", Disposition.INCIDENT, NOW_MS)
    with closing(Detector(stack)) as detector:
        detector.work()
        detector.write_letters([encode_dlq_record(letter)])
        yield detector


@pytest.fixture(scope="module")
def dlq(stack: Stack) -> Commands:
    return Commands(stack, {})


def letters(stack: Stack) -> list[DeadLetterDocument]:
    found: list[DeadLetterDocument] = jobs.committed(stack, "dlq")  # type: ignore[assignment]  # decoded JSON
    return found


def test_duplicates_and_records_that_would_fail_again_are_not_redriven(
    stack: Stack, detector: Detector, dlq: Commands
) -> None:
    assert detector is not None
    plan = dlq.run("redrive", "--all", "--dry-run")
    known = letters(stack)
    assert Counter(item["disposition"] for item in known).keys() == {"rejected", "duplicate", "incident"}
    assert {item["dlq_id"] for item in plan} == {item["dlq_id"] for item in known}
    assert [item["dlq_id"] for item in plan if item["goes"]] == []
    assert jobs.rows(stack, "SELECT FROM ops.redrive_runs") == [], "a dry run leaves nothing behind"
    reasons = {item["reason"] for item in plan if item["why"].startswith("would be rejected again: ")}
    assert {"NEGATIVE_AMOUNT", "OVERSIZE", "EMPTY_PAYLOAD", "LABEL_INVALID"} <= reasons


def test_an_edited_record_is_scored_and_show_reports_it(stack: Stack, detector: Detector, dlq: Commands) -> None:
    one = next(item for item in letters(stack) if item["reason"] == "NEGATIVE_AMOUNT")
    name = one["dlq_id"]
    edits = ("--set", "amount_minor=5", "--set", "transaction_id=fixed-1")
    report = dlq.run("redrive", name, *edits, "--why", "the sender's sign was wrong", "--by", "alice")
    assert report["sent"] == 1
    assert ", no outcome in Postgres yet" in dlq.run("show", name)["redrives"][0]["became"]
    detector.work()

    shown = dlq.run("show", name)
    (attempt,) = shown["redrives"]
    assert (shown["payload"], shown["redrive"]) == (one["payload"], "done"), "the dead letter keeps the original"
    assert (attempt["started_by"], attempt["why"]) == ("alice", "the sender's sign was wrong")
    assert {change["path"] for change in attempt["changes"]} == {"amount_minor", "transaction_id"}
    assert ", decided: score " in attempt["became"]
    again = dlq.run("redrive", name, *edits, "--why", "twice", codes=(1,))
    assert [item["why"] for item in again] == ["redriven already"]


def test_an_invalid_label_goes_into_its_table_once_it_is_fixed(
    stack: Stack, detector: Detector, dlq: Commands, tmp_path: Path
) -> None:
    assert detector is not None
    one = next(item for item in letters(stack) if item["reason"] == "LABEL_INVALID")
    label = Label("t-9", "refused-d", Finding.GENUINE, "analyst", 1_704_067_200_000, "somebody").document()
    file = tmp_path / "label.json"
    file.write_bytes(orjson.dumps(label))
    report = dlq.run("redrive", one["dlq_id"], "--from-file", str(file), "--why", "asked the desk")
    assert (report["sent"], report["written"]) == (0, 1)
    assert jobs.rows(stack, "SELECT label FROM raw.labels WHERE customer_id = 'refused-d'") == [{"label": "genuine"}]


def test_a_redrive_killed_at_any_point_loses_and_duplicates_nothing(
    stack: Stack, detector: Detector, dlq: Commands
) -> None:
    """After SIGKILL before, during or after sending, the same command resumes where the killed one stopped."""
    names = {item["dlq_id"] for item in letters(stack) if item["stage"] == "parse"} - done(stack)
    assert len(names) >= 20
    command = ["redrive", "--stage", "parse", "--force", "--rate", "1000", "--why", "a drill"]

    dlq.run(*command, "--limit", "3", killed_at="claimed", codes=(-signal.SIGKILL,))
    assert not names & sent_for(stack).keys()
    dlq.run(*command, "--limit", "4", killed_at="half", codes=(-signal.SIGKILL,))
    dlq.run(*command, "--limit", "3", killed_at="sent", codes=(-signal.SIGKILL,))
    report = dlq.run(*command)

    assert report["sent"] == len(names) - 2 - 3, "half of four, then all of three, had reached Kafka"
    assert {name: count for name, count in sent_for(stack).items() if name in names} == dict.fromkeys(names, 1)
    attempts = jobs.rows(stack, "SELECT dlq_id, outcome, sent_partition, sent_offset FROM ops.redrives")
    mine = [row for row in attempts if row["dlq_id"] in names]
    assert Counter(row["outcome"] for row in mine) == {"sent": len(names), "abandoned": 3 + 2}
    payloads = {item["dlq_id"]: item["payload_sha256"] for item in letters(stack)}
    places = {(row["sent_partition"], row["sent_offset"]): row["dlq_id"] for row in mine if row["outcome"] == "sent"}
    detector.work()
    again = [item for item in letters(stack) if (item["partition"], item["offset"]) in places]
    assert {parent_of(item) for item in again} == names, (
        "the audit holds the coordinates of each record, and each was rejected again"
    )
    for item in again:
        assert item["payload_sha256"] == payloads[places[item["partition"], item["offset"]]], "byte for byte"
    assert dlq.run(*command, "--limit", "1")["sent"] == 1, "the rejection of a redriven record is a new dead letter"


def test_a_record_that_is_rejected_again_and_again_is_parked(stack: Stack, detector: Detector) -> None:
    detector.work()
    impatient = Commands(stack, {"STREAMFLOW_REPLAY_LIMIT": "1"})
    listed = impatient.run("list", "--stage", "parse", "--limit", "1000")
    rejected_again = {item["dlq_id"] for item in letters(stack) if parent_of(item) is not None} - done(stack)
    assert rejected_again
    assert {item["dlq_id"] for item in listed if item["redrive"] == "parked"} == rejected_again
    plan = impatient.run("redrive", "--all", "--dry-run")
    parked = {item["dlq_id"]: item["goes"] for item in plan if item["why"].startswith("parked: ")}
    assert parked == dict.fromkeys(rejected_again, False)
    one = min(rejected_again)
    assert impatient.run("redrive", one, "--force", "--why", "once more")["sent"] == 1
    history = impatient.run("history")
    assert (history[0]["dlq_id"], history[0]["is_forced"], history[0]["replay"]) == (one, True, 2)


def done(stack: Stack) -> set[str]:
    """Return the dead letters whose redrive has succeeded."""
    query = "SELECT dlq_id FROM ops.redrives WHERE outcome IN ('sent', 'written')"
    return {row["dlq_id"] for row in jobs.rows(stack, query)}


def sent_for(stack: Stack) -> Counter[str]:
    """Return the number of records that each dead letter's redrive has sent to the transactions topic."""
    found: Counter[str] = Counter()
    with CommittedReader(stack.settings().broker(), [TRANSACTIONS]) as reader:
        for record in reader.read_to_end():
            name = dict(record.headers).get(HEADER_LETTER)
            if name is not None:
                found[name.decode()] += 1
    return found


def test_the_console_sends_the_records_of_a_dry_run_once(
    stack: Stack, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMFLOW_HOME", str(stack.home.root))
    settings, letters = stack.settings(), []
    for number in range(3):
        fields = {"customer_id": "c-9", "amount_minor": 100, "currency": "USD", "event_time_ms": NOW_MS}
        payload = orjson.dumps({"transaction_id": f"console-{number}", **fields})
        record = SourceRecord(payload, 0, 900_000 + number, "", "", "c-9", TRANSACTIONS)
        reason = DeadLetterReason.PROCESSING_ERROR
        letter = build_dlq_record(record, reason, PipelineStage.SCORE, "a defect", Disposition.REJECTED, NOW_MS)
        letters.append(encode_dlq_record({**letter, "processing_time_ms": time.time_ns() // 1_000_000}))
    detector.write_letters(letters)
    for name, role in (("admin", Role.ADMIN), ("analyst", Role.ANALYST)):
        add_account(settings.postgres_dsn, name, [role], by="test")
    with (
        serving(settings, ApiSettings(secure_cookie=False)) as url,
        client(url, follow_redirects=True) as http,
    ):

        def post(path: str, **values: str) -> httpx.Response:
            csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', http.get("/console/health").text)
            assert csrf is not None
            return http.post(f"/console/dead-letters/{path}", data={"csrf": csrf[1], **values})

        def ended(page: httpx.Response) -> str:
            return wait_for(
                lambda: text if "status" not in (text := http.get(page.url.path).text) else None,
                limit_s=120, what="the job of the console",
            )  # fmt: skip

        def log_in(name: str) -> None:
            http.cookies.clear()
            http.post("/console/login", data={"token": create_token(settings.postgres_dsn, name, by="test")})

        log_in("analyst")
        assert post("redrives", reason="PROCESSING_ERROR", days="1").status_code == 403
        log_in("admin")
        planned = post("redrives", reason="PROCESSING_ERROR", days="1")
        assert "<strong>3</strong> records would be sent" in (text := ended(planned)), text.partition("<main")[2]
        assert post(f"{planned.url.path.partition('dead-letters/')[2]}/send", why=" ").status_code == 422
        for sent in (3, 0):  # the second run finds nothing to send any more
            started = post(f"{planned.url.path.partition('dead-letters/')[2]}/send", why="defect fixed")
            assert f"<strong>{sent}</strong> records sent" in ended(started)
    with psycopg.connect(settings.postgres_dsn) as connection:
        runs = connection.execute("SELECT started_by, reason FROM ops.redrive_runs WHERE reason = 'defect fixed'")
        assert set(runs.fetchall()) == {("user:admin", "defect fixed")}
