"""Operator uids: a savepoint finds its state by them, so a released one never changes and never goes."""

from __future__ import annotations

from flink_jobs.contracts import uids
from flink_jobs.job.archiver.tables import ARCHIVES

# Append only. A savepoint of any release must restore: never edit or remove a line.
RELEASED_DETECT = (
    "transactions-source",
    "control-source",
    "fraud-detector",
    "decisions-sink",
    "alerts-sink",
    "dead-letters-sink",
    "audit-sink",
    "control-sink",
)
RELEASED_ARCHIVE = (
    "decisions-archive-source",
    "decisions-archive-sink",
    "alerts-archive-source",
    "alerts-archive-sink",
    "dlq-archive-source",
    "dlq-archive-sink",
    "audit-archive-source",
    "audit-archive-sink",
    "labels-archive-source",
    "labels-archive-sink",
)
STATES = ("customer-fraud-state", "detection-config", "current")
STATES_OF_MERCHANTS = ("merchant-risk-rows", "merchant-history", "merchant-progress")


def test_released_uids_with_state_are_still_there_in_their_order() -> None:
    assert uids.DETECT_UIDS[: len(RELEASED_DETECT)] == RELEASED_DETECT
    left = [uid for uid in RELEASED_ARCHIVE if uid not in uids.RETIRED]
    assert list(uids.ARCHIVE_UIDS[: len(left)]) == left
    assert left == [uid for uid in RELEASED_ARCHIVE if uid.endswith("source")], "only what had no state may go"


def test_uids_are_unique() -> None:
    detect = (*uids.DETECT_UIDS, *uids.OPTIONAL_DETECT_UIDS)
    for names in (detect, uids.LAKE_UIDS, uids.MERCHANTS_UIDS, (*uids.ARCHIVE_UIDS, *uids.RETIRED)):
        assert len(set(names)) == len(names)


def test_released_states_keep_their_names_and_key_groups() -> None:
    """Renaming one starts every customer anew, without an error."""
    assert (uids.CUSTOMER_STATE, uids.CONFIG_STATE, uids.CONFIG_KEY) == STATES
    assert (uids.MERCHANT_ROWS, uids.MERCHANT_STATE, uids.MERCHANT_PROGRESS) == STATES_OF_MERCHANTS
    assert uids.MAX_PARALLELISM == 128


def test_every_constant_is_in_the_list_of_its_job() -> None:
    constants = {value for name, value in vars(uids).items() if name.isupper() and isinstance(value, str)} - {
        *STATES,
        *STATES_OF_MERCHANTS,
    }
    jobs = {*uids.DETECT_UIDS, *uids.OPTIONAL_DETECT_UIDS, *uids.LAKE_UIDS, *uids.MERCHANTS_UIDS}
    assert constants == {*jobs, uids.ARCHIVE_LETTERS_SINK}
    assert {archive.topic for archive in ARCHIVES} == set(uids.ARCHIVED)
