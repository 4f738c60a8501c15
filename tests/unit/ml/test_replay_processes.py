"""A replay in several processes: the rows, their order and codes are those of one process, bit for bit."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flink_jobs.cards.card_files import SourceEvent, mapping_for, read_events
from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import read_sources
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.errors import UserError
from flink_jobs.settings import REPO_ROOT
from ml import replay_processes
from ml.columns import Coded
from ml.dataset import Dataset, build_dataset
from ml.dataset_parts import DatasetParts, columns_of
from ml.own_columns import OwnColumns
from ml.replay_processes import replay
from tests.own_features import EXAMPLE, FOLDER
from tests.unit.ml.synthetic import NOW_MS, events

if TYPE_CHECKING:
    from flink_jobs.core.transaction import Rejection

CARDS = REPO_ROOT / "tests" / "data" / "card_transactions.csv.gz"
SOURCES = read_sources([EXAMPLE], FOLDER)
CONFIG = DetectionConfig(blacklist=Blacklist(merchant=frozenset({"m7"})))


def assert_identical(one: Dataset, other: Dataset) -> None:
    """Assert that every column has the same type and the same bytes."""
    for item in fields(Dataset):
        left: Any = getattr(one, item.name)
        right: Any = getattr(other, item.name)
        assert type(left) is type(right), item.name
        if isinstance(left, OwnColumns):
            left, right = left.values, right.values
        if isinstance(left, Coded):
            assert left.names == right.names, item.name
            left, right = left.codes, right.codes
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, item.name
            assert left.shape == right.shape, item.name
            same = left.tolist() == right.tolist() if left.dtype == np.object_ else left.tobytes() == right.tobytes()
            assert same, item.name
        else:
            assert left == right, item.name
    assert one.digest() == other.digest()


def with_bad_events(good: list[SourceEvent], seed: int) -> list[SourceEvent]:
    """Return the events with some that the parser rejects among them."""
    chance = random.Random(seed)  # noqa: S311 - tests need the same events each time
    bad = ({"amount_minor": -1}, {"currency": "XXX"}, {"event_time_ms": NOW_MS + 10**10}, {"customer_id": 7})
    rows: list[SourceEvent] = []
    for event in good:
        if chance.random() < 0.05:
            rows.append(replace(event, transaction=event.transaction | chance.choice(bad)))
        rows.append(replace(event, pattern=chance.choice([None, "a", "b"]), segment=chance.choice([None, "s"])))
    return [replace(event, row=number) for number, event in enumerate(rows, start=1)]


def own() -> OwnValues:
    return OwnValues(load_features(SOURCES))


def replayed(rows: list[SourceEvent], processes: int, batch: int) -> tuple[Dataset, list[tuple[int | None, str]]]:
    rejected: list[tuple[int | None, str]] = []

    def note(event: SourceEvent, rejection: Rejection) -> None:
        rejected.append((event.row, rejection.detail))

    rows_of = replay(
        rows, NOW_MS, CONFIG, note, own(), processes=processes, batch_events=batch, fewest_events=1
    )  # fmt: skip
    return rows_of, rejected


@pytest.mark.parametrize(("processes", "batch"), [(2, 97), (3, 5_000)])
def test_rows_order_own_features_and_rejected_events_are_those_of_one_process(processes: int, batch: int) -> None:
    rows = with_bad_events(events(1_500, seed=4), seed=1)
    alone, rejected_alone = replayed(rows, 1, batch)
    together, rejected_together = replayed(rows, processes, batch)
    assert alone.own is not None
    assert np.isfinite(alone.own.values).any()
    assert alone.rejected == len(rejected_alone) > 30
    assert rejected_together == rejected_alone
    assert_identical(together, alone)


@pytest.mark.untraced
def test_a_card_file_gives_the_same_data_set() -> None:
    mapping = mapping_for(CARDS, None)
    alone = build_dataset(read_events(CARDS, mapping), NOW_MS)
    together = replay(read_events(CARDS, mapping), NOW_MS, processes=2, batch_events=7_000, fewest_events=1)
    assert len(alone) > 10_000
    assert_identical(together, alone)


def test_a_short_file_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(replay_processes, "_Workers")
    rows = events(300)
    assert_identical(replay(rows, NOW_MS, processes=8), build_dataset(rows, NOW_MS))


def test_an_error_of_the_file_ends_the_processes() -> None:
    def broken() -> Any:  # noqa: ANN401 - an iterator that ends in an error
        yield from events(300)
        raise UserError("row 301 cannot be read", "correct it")

    with pytest.raises(UserError, match="row 301"):
        replay(broken(), NOW_MS, processes=2, batch_events=50, fewest_events=10)


def test_a_process_that_ends_early_is_an_error_with_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_processes, "run_worker", ends_early)
    with pytest.raises(UserError, match=r"process replay-[12] of the replay ended early \(exit code 9\)") as caught:
        replay(events(300), NOW_MS, processes=2, batch_events=50, fewest_events=10)
    assert "--processes 1" in caught.value.fix


def test_a_fault_in_a_process_shows_its_stack() -> None:
    no_amount = DetectionConfig(rules={})
    with pytest.raises(RuntimeError, match="the replay failed in the process replay-1") as caught:
        replay(events(300), NOW_MS, no_amount, processes=2, batch_events=50, fewest_events=10)
    assert "Traceback" in str(caught.value)


def ends_early(*_: object) -> None:
    """Stand in for a worker that the kernel ends."""
    raise SystemExit(9)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1_000),
    count=st.integers(1, 120),
    shares=st.integers(1, 4),
    batch=st.integers(1, 60),
)
def test_parts_by_customer_join_to_the_whole(seed: int, count: int, shares: int, batch: int) -> None:
    """The law behind the processes: split the rows by customer, join them in their order."""
    whole = build_dataset(events(count, seed), NOW_MS)
    owner = np.array([int(str(whole.customer.text(row))[1:]) % shares for row in range(len(whole))])
    joined = DatasetParts()
    for start in range(0, len(whole), batch):
        places = np.arange(start, min(start + batch, len(whole)))
        split = [places[owner[places] == share] for share in range(shares)]
        parts = [columns_of(whole.where(rows)) for rows in split]
        joined.extend(parts, np.argsort(np.concatenate(split)))
    assert_identical(joined.dataset(None, whole.rejected), whole)


def test_a_replay_of_one_customer_is_the_same_without_the_others() -> None:
    """Customers do not depend on each other: what makes a replay by customer possible."""
    mapping = mapping_for(CARDS, None)
    rows = [event for event, _ in zip(read_events(CARDS, mapping), range(5_000), strict=False)]
    customers = {event.transaction["customer_id"] for event in rows}
    assert len(customers) > 3
    whole = build_dataset(rows, NOW_MS)
    one = min(customers)
    alone = build_dataset([event for event in rows if event.transaction["customer_id"] == one], NOW_MS)
    mask = np.array([whole.customer.text(row) == one for row in range(len(whole))])
    assert whole.features[mask].tobytes() == alone.features.tobytes()
