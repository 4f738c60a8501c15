"""The golden savepoints read back: every customer's statistics against the transactions themselves, with numpy."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flink_jobs.core.currencies import major_amount
from flink_jobs.core.state.codec import STATE_VERSION
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.state.fields import RING_CAPACITY
from flink_jobs.flink.savepoints.check import job_of, obstacles
from flink_jobs.flink.savepoints.snapshot import open_snapshot
from flink_jobs.flink.savepoints.stored_customer import StoredCustomer
from tests import golden
from tests.integration.golden_savepoint import CONTROL_ID, CUSTOMERS, THRESHOLD

ARCHIVES = pytest.mark.parametrize("archive", golden.GOLDEN, ids=lambda path: path.name.partition(".")[0])


def customers_of(archive: Path, folder: Path) -> dict[str, StoredCustomer]:
    with open_snapshot(str(golden.unpack(archive, folder))) as snapshot:
        found = {customer.customer_id: customer for customer in snapshot.customers()}
    assert len(found) == CUSTOMERS
    return found


def by_customer(archive: Path) -> dict[str, list[dict[str, Any]]]:
    sent: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for transaction in golden.transactions_of(archive):
        sent[transaction["customer_id"]].append(transaction)
    return sent


def test_every_released_state_version_has_a_golden_savepoint() -> None:
    """A new version needs one: see tests/integration/golden_savepoint.py."""
    assert [golden.version_of(archive) for archive in golden.GOLDEN] == list(range(1, STATE_VERSION + 1))


@ARCHIVES
def test_every_customer_has_the_statistics_of_the_transactions(archive: Path, tmp_path: Path) -> None:
    stored, sent = customers_of(archive, tmp_path), by_customer(archive)
    assert stored.keys() == sent.keys()
    for name, customer in stored.items():
        assert customer.version == golden.version_of(archive)
        compare_with_numpy(customer.state(), sent[name])


def compare_with_numpy(state: CustomerFraudState, sent: list[dict[str, Any]]) -> None:
    times = np.array([item["event_time_ms"] for item in sent])
    assert list(state.recent_times_ms) == sorted(times.tolist())[-RING_CAPACITY:]
    assert list(state.recent_ids) == [transaction_fingerprint(item["transaction_id"]) for item in sent][-RING_CAPACITY:]
    assert list(state.hour_counts) == np.bincount(times // 3_600_000 % 24, minlength=24).tolist()
    amounts: dict[str, list[float]] = defaultdict(list)
    for item in sent:
        amounts[item["currency"]].append(major_amount(item["amount_minor"], item["currency"]))
    assert state.amounts.keys() == amounts.keys()
    for currency, values in amounts.items():
        stats = state.amounts[currency]
        assert stats.count == len(values)
        assert stats.mean == pytest.approx(np.mean(values))
        assert stats.m2 == pytest.approx(np.var(values) * len(values), abs=1e-6)
    located = [item for item in sent if "location" in item]
    if not located:
        assert state.located_at_ms is None
        return
    last = max(located, key=lambda item: item["event_time_ms"])
    assert (state.located_at_ms, state.latitude, state.longitude) == (
        last["event_time_ms"], last["location"]["lat"], last["location"]["lon"],
    )  # fmt: skip


def test_the_fields_of_version_2_match_the_transactions(tmp_path: Path) -> None:
    archive = next(path for path in golden.GOLDEN if golden.version_of(path) == 2)
    stored, sent = customers_of(archive, tmp_path), by_customer(archive)
    for name, customer in stored.items():
        state, events = customer.state(), sent[name]
        assert (state.seen_count, state.first_seen_ms) == (len(events), min(item["event_time_ms"] for item in events))
        for currency, stats in state.log_amounts.items():
            logs = [
                np.log1p(major_amount(item["amount_minor"], currency))
                for item in events
                if item["currency"] == currency
            ]
            assert stats.mean == pytest.approx(np.mean(logs))
            assert stats.m2 == pytest.approx(np.var(logs) * len(logs), abs=1e-6)
        with_category = {(item["category"], item["currency"]) for item in events if "category" in item}
        assert len(state.habits.keys) == min(len(with_category), 16)


def test_the_state_is_byte_for_byte_what_the_evaluator_alone_leaves(tmp_path: Path) -> None:
    archive = golden.GOLDEN[-1]
    states: dict[str, bytes] = {}
    golden.decided(golden.transactions_of(archive), states)
    assert {name: customer.blob for name, customer in customers_of(archive, tmp_path).items()} == states


@ARCHIVES
def test_this_release_can_restore_a_golden_savepoint_with_its_configuration(archive: Path, tmp_path: Path) -> None:
    with open_snapshot(str(golden.unpack(archive, tmp_path))) as snapshot:
        config = json.loads(snapshot.config() or "null")
        assert (config["revision"], config["alert_threshold"], config["control_ids"]) == (1, THRESHOLD, [CONTROL_ID])
        snapshot.check_files()
        assert job_of(snapshot) == "detect"
        assert not snapshot.is_incremental
        assert obstacles(snapshot, "detect", "thread") == []


def test_this_release_can_restore_the_archive_of_0_2(tmp_path: Path) -> None:
    with open_snapshot(str(golden.unpack(golden.ARCHIVE, tmp_path))) as snapshot:
        snapshot.check_files()
        assert job_of(snapshot) == "archive"
        assert obstacles(snapshot, "archive", "thread") == []
        read = {topic for topic in golden.ARCHIVED if snapshot.reads_topic(f"{golden.ARCHIVE_PREFIX}.{topic}")}
    assert read == golden.ARCHIVED.keys()
