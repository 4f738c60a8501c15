"""What is trained is what is served: the replay's features are the stream's, bit for bit."""

import csv
import gzip
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given

from flink_jobs.cards.mapping import load_mapping
from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.replay import replay_features
from flink_jobs.core.transaction import Transaction
from tests.strategies import NOW_MS, document_of, histories, record_of, wire
from tests.unit.core.evaluation import Stream

DATA = Path(__file__).parents[2] / "data"
ROWS = 5_000


def streamed(
    transactions: list[Transaction], config: DetectionConfig | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """The id and features of each decision of the evaluator, hexadecimal so that every bit counts."""
    stream = Stream(TransactionEvaluator(config))
    decided = []
    for transaction in transactions:
        outcome = stream.send(record_of(wire(document_of(transaction)), transaction.customer_id))
        if outcome.decision is not None:
            decision = orjson.loads(outcome.decision)
            decided.append((decision["transaction_id"], bits(decision["features"])))
    return decided


def replayed(
    transactions: list[Transaction], config: DetectionConfig | None = None
) -> list[tuple[str, dict[str, Any]]]:
    return [
        (transaction.transaction_id, bits(features._asdict()))
        for transaction, features in replay_features(transactions, config)
    ]


def bits(features: dict[str, float | None]) -> dict[str, str | None]:
    return {name: None if value is None else value.hex() for name, value in features.items()}


@given(histories())
def test_a_generated_history(history: list[Transaction]) -> None:
    config = DetectionConfig(blacklist=Blacklist(merchant=frozenset({"m-1"})))
    assert replayed(history, config) == streamed(history, config)
    assert len(replayed(history)) <= len(history)


def rows() -> Iterator[Transaction]:
    mapping = load_mapping(DATA / "card_transactions.mapping.yaml")
    with gzip.open(DATA / "card_transactions.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in itertools.islice(csv.DictReader(file), ROWS):
            transaction = parse_transaction(wire(mapping.transaction(row)), NOW_MS)
            assert isinstance(transaction, Transaction), transaction
            yield transaction


def test_the_card_file() -> None:
    transactions = list(rows())
    assert len(transactions) == ROWS
    ours = replayed(transactions)
    assert ours == streamed(transactions)
    for name in ours[-1][1]:
        assert any(features[name] is not None for _, features in ours), f"{name} was never there to compare"


def test_a_redelivery_gives_no_second_row() -> None:
    transaction = Transaction("t-1", "c-1", 100, "USD", NOW_MS)
    assert len(list(replay_features([transaction, transaction]))) == 1
