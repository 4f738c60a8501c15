"""Ledger, outcomes and reconciliation: every fault of a single record must be visible in the result."""

from __future__ import annotations

import base64
import io
import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.documents import AlertDocument, DeadLetterDocument, DecisionDocument, SourceDocument
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.reasons import Disposition
from flink_jobs.kafka.outgoing import Fate, Outgoing
from flink_jobs.traffic.balance import Balance, balance
from flink_jobs.traffic.faults import FaultPlan, with_faults
from flink_jobs.traffic.ledger import ByteMap, LedgerFile, SentLedger
from flink_jobs.traffic.outcomes import Outcomes
from flink_jobs.traffic.simulate import SimulationPlan, simulate

TOPIC = "streamflow.transactions"
NOW_MS = 1_767_225_600_000


class Run:
    """A run of the real evaluator over faulty traffic; a test changes its outputs before the reconciliation."""

    def __init__(self) -> None:
        self.ledger = SentLedger()
        self.file = io.BytesIO()
        self.decisions: list[DecisionDocument] = []
        self.alerts: list[AlertDocument] = []
        self.letters: list[DeadLetterDocument] = []
        writer = LedgerFile(self.file, TOPIC)
        evaluator, states = TransactionEvaluator(), dict[str, bytes]()
        events = itertools.islice(simulate(SimulationPlan(customers=15, seed=4, fraud_rate=0.2)), 1_200)
        for number, record in enumerate(with_faults(events, FaultPlan(0.15, 0.1, 0.05, seed=8))):
            partition, offset = number % 3, 100 + number // 3
            self.ledger.add(record, partition, offset)
            writer.add(record, partition, offset)
            key = record.key.decode()
            source = SourceRecord(record.value, partition, offset, "2026-01-01 00:00:00", "", key, TOPIC)
            outcome = evaluator.evaluate(source, lambda key=key: states.get(key), NOW_MS)  # type: ignore[misc]
            if outcome.state is not None:
                states[key] = outcome.state
            self.decisions += [orjson.loads(text) for text in [outcome.decision] if text is not None]
            self.alerts += [orjson.loads(text) for text in [outcome.alert] if text is not None]
            self.letters += [orjson.loads(letter.body) for letter in outcome.letters]

    def balance(self, ledger: SentLedger | None = None) -> Balance:
        ledger = ledger or self.ledger
        outcomes = Outcomes(ledger, TOPIC)
        for decision in self.decisions:
            outcomes.add_decision(decision)
        for letter in self.letters:
            outcomes.add_letter(letter)
        for alert in self.alerts:
            outcomes.add_alert(alert)
        return balance(ledger, outcomes)


@pytest.fixture
def run() -> Run:
    return Run()


def test_a_sound_run_balances_with_every_planned_outcome(run: Run) -> None:
    account = run.balance()
    assert account.is_as_expected, account.lines()
    assert account.sent == account.decided + account.rejected + account.duplicates
    assert account.decided == 1_200
    assert min(account.rejected, account.duplicates, account.alerts) > 0
    assert account.detection is not None
    assert 0.0 < (account.detection.recall or 0.0) < 1.0
    assert sum(sent for sent, _ in account.detection.patterns.values()) == len(run.ledger.frauds)
    assert account.as_dict()["balanced"] is True
    assert "every record accounted for" in account.lines()[0]


def test_the_ledger_file_gives_the_same_account(run: Run) -> None:
    again = ledger_of(run.file.getvalue())
    assert again.as_dict() == run.ledger.as_dict()
    assert again.letters == run.ledger.letters
    assert run.balance(again) == run.balance()


def ledger_of(file: bytes) -> SentLedger:
    """Return the ledger that the lines of a ledger file describe."""
    ledger = SentLedger()
    for line in file.splitlines():
        entry = orjson.loads(line)
        value = None if entry["payload"] is None else base64.b64decode(entry["payload"])
        names = ("event_time_ms", "transaction_id", "reason", "fault", "label", "pattern")
        fields = {name: entry[name] for name in names}
        record = Outgoing(base64.b64decode(entry["key"]), value, fate=Fate(entry["fate"]), **fields)
        ledger.add(record, entry["partition"], entry["offset"])
        ledger.bytes_sent += entry["length"] - len(value or b"")
    return ledger


def test_a_lost_decision_is_named(run: Run) -> None:
    lost = run.decisions.pop(7)
    account = run.balance()
    assert not account.is_balanced
    assert account.missing == ((lost["source"]["partition"], lost["source"]["offset"]),)
    assert "NOT EVERY RECORD ACCOUNTED FOR" in account.lines()[0]


def test_a_lost_dead_letter_is_named(run: Run) -> None:
    lost = next(letter for letter in run.letters if letter["disposition"] == "rejected")
    run.letters.remove(lost)
    assert run.balance().missing == ((lost["partition"], lost["offset"]),)


def test_one_lost_and_one_repeated_do_not_cancel_out(run: Run) -> None:
    run.decisions[3] = run.decisions[9]
    account = run.balance()
    assert account.sent == account.decided + account.rejected + account.duplicates
    assert not account.is_balanced
    assert len(account.missing) == len(account.repeated) == 1


def test_a_transaction_decided_twice_at_two_places_is_found(run: Run) -> None:
    """The redelivered record was scored again instead of rejected as a duplicate."""
    duplicate = next(letter for letter in run.letters if letter["disposition"] == "duplicate")
    run.letters.remove(duplicate)
    payload = orjson.loads(duplicate["payload"] or "")
    original = next(d for d in run.decisions if d["transaction_id"] == payload["transaction_id"])
    source: SourceDocument = {
        "topic": duplicate["topic"], "partition": duplicate["partition"], "offset": duplicate["offset"],
    }  # fmt: skip
    run.decisions.append({**original, "source": source})
    account = run.balance()
    assert account.repeated_transactions == 1
    assert account.unexpected == {"decided instead of duplicate": 1}
    assert not account.is_balanced


def test_a_wrong_reason_and_wrong_bytes_are_problems(run: Run) -> None:
    rejected = [letter for letter in run.letters if letter["disposition"] == "rejected" and letter["payload_length"]]
    whole = [letter for letter in rejected if not letter["payload_truncated"]]
    whole[0]["reason"] = "EMPTY_PAYLOAD"
    whole[1]["payload"] = f"{whole[1]['payload']} "
    whole[2]["payload_sha256"] = "0" * 64
    account = run.balance()
    assert account.is_balanced
    assert not account.is_as_expected
    assert len(account.problems) == 3
    assert "reason EMPTY_PAYLOAD, expected" in account.problems[0]


def test_a_missing_alert_unbalances_and_a_repeated_one_does_not(run: Run) -> None:
    """Alerts are delivered at least once."""
    assert len(run.alerts) > 2
    missing = run.alerts.pop()
    assert run.balance().alerts_missing == 1
    run.alerts += [missing, missing]
    account = run.balance()
    assert (account.alerts_missing, account.alerts_repeated, account.is_balanced) == (0, 1, True)
    assert "1 alerts more than once" in "\n".join(account.lines())


def test_an_alert_from_before_a_failure_is_repeated_or_withdrawn(run: Run) -> None:
    """A record that is scored again after a failure can get another decision, and its first alert stays sent."""
    again, quiet = run.alerts[0], next(item for item in run.decisions if not item["is_alert"])
    run.alerts += [
        {**again, "processing_time_ms": NOW_MS - 5_000},
        {**again, "transaction_id": quiet["transaction_id"], "customer_id": quiet["customer_id"]},
    ]
    account = run.balance()
    assert account.is_as_expected
    assert (account.alerts_repeated, account.alerts_withdrawn, account.alerts_missing) == (1, 1, 0)


def test_an_incident_accompanies_a_decision_and_is_not_counted(run: Run) -> None:
    run.letters.append({**run.letters[0], "disposition": Disposition.INCIDENT})
    account = run.balance()
    assert account.is_as_expected
    assert account.incidents == 1


def test_an_alert_of_an_earlier_run_of_the_same_traffic_is_not_a_second_one(run: Run) -> None:
    run.alerts.append({**run.alerts[0], "processing_time_ms": NOW_MS - 60_000})
    run.letters.append({**run.letters[0], "disposition": Disposition.INCIDENT, "topic": "streamflow.control"})
    account = run.balance()
    assert account.is_as_expected
    assert account.incidents == 0


def test_outcomes_of_another_run_or_topic_change_nothing(run: Run) -> None:
    first = run.decisions[0]
    run.decisions.append({**first, "source": {**first["source"], "offset": 5}})
    run.decisions.append({**first, "source": {**first["source"], "offset": 10**6}})
    run.decisions.append({**first, "source": {**first["source"], "topic": "other.transactions"}})
    assert run.balance().is_as_expected


@given(st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 400)), st.integers(1, 255)))
def test_a_byte_map_is_a_dictionary(values: dict[tuple[int, int], int]) -> None:
    cells = ByteMap()
    for at, value in values.items():
        cells.set(at, value)
    assert cells.coordinates() == sorted(values)
    assert all(cells.get(at) == value for at, value in values.items())
    assert cells.get((9, 9)) == 0
    assert all(cells.get((0, offset)) == values.get((0, offset), 0) for offset in range(-2, 405))
