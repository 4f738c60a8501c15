"""Blacklist entries and transactions are compared in one normal form; useless and absent entries are reported."""

from __future__ import annotations

from importlib import resources

import orjson
import pytest

from flink_jobs.core.control.blacklist import Blacklist, changed_blacklist, unmatchable
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.messages import ControlMessage, apply_control, parse_control, remarks
from flink_jobs.core.countries import COUNTRIES
from flink_jobs.core.documents import BlacklistChanges
from flink_jobs.core.transaction import Transaction
from flink_jobs.errors import UserError
from flink_jobs.kafka.control_client import build_message, encode_checked


def transaction(merchant: str | None = None, customer: str = "c", country: str | None = None) -> Transaction:
    return Transaction("t", customer, 1, "USD", 1_704_067_200_000, merchant, country=country)


def message(changes: BlacklistChanges) -> ControlMessage:
    document = build_message(
        {"blacklist": changes}, issued_by="i", reason="r", expected_revision=None, now_ms=1_704_067_200_000
    )
    parsed = parse_control(orjson.dumps(document))
    assert isinstance(parsed, ControlMessage)
    return parsed


@pytest.mark.parametrize(
    ("entry", "merchant"),
    [
        ("Shady Goods", "SHADY GOODS"),
        ("Shady Goods", "Shady Goods "),
        (" shady goods", "Shady Goods"),
        ("Caf\u00e9", "Cafe\u0301"),
        ("CAFE\u0301", "caf\u00e9"),
        ("Stra\u00dfe", "STRASSE"),
        ("Lawson\u3000Shibuya", "Lawson\u3000Shibuya\u3000"),
    ],
    ids=ascii,
)
def test_spellings_of_one_merchant_match(entry: str, merchant: str) -> None:
    assert Blacklist(merchant=frozenset({entry})).matches(transaction(merchant))


def test_a_merchant_with_an_ideographic_space_can_be_sent() -> None:
    changes: BlacklistChanges = {"merchant": {"add": ["Lawson\u3000Shibuya"]}}
    document = build_message({"blacklist": changes}, issued_by="i", reason="r", expected_revision=None, now_ms=1)
    assert "\u3000" in encode_checked(document).decode()
    applied = apply_control(DetectionConfig(), message(changes))
    assert isinstance(applied, DetectionConfig)
    assert applied.blacklist.matches(transaction("Lawson\u3000Shibuya"))


def test_other_merchants_and_customers_of_other_case_do_not_match() -> None:
    blacklist = Blacklist(merchant=frozenset({"Shady Goods"}), customer=frozenset({"C1"}))
    assert not blacklist.matches(transaction("Shady Goods Ltd", "c1"))
    assert blacklist.matches(transaction(None, "C1 "))


@pytest.mark.parametrize("entry", ["us", "US ", "US"])
def test_a_country_is_taken_as_its_code(entry: str) -> None:
    blacklist = changed_blacklist(Blacklist(), {"country": {"add": [entry]}})
    assert blacklist == Blacklist(country=frozenset({"US"}))
    assert Blacklist(country=frozenset({entry})).matches(transaction(country="US")), "an older savepoint"


def test_the_recorded_configuration_of_an_older_release_still_works() -> None:
    old = DetectionConfig(blacklist=Blacklist(merchant=frozenset({"Shady Goods ", "Other"}), country=frozenset({"us"})))
    restored = DetectionConfig.from_json(old.to_json())
    assert restored == old
    assert restored.blacklist.matches(transaction("shady goods"))
    less = apply_control(restored, message({"merchant": {"remove": ["SHADY GOODS"]}}))
    assert isinstance(less, DetectionConfig)
    assert less.blacklist.merchant == {"Other"}


@pytest.mark.parametrize(("kind", "entry"), [("country", "USA"), ("country", "Switzerland"), ("merchant", "  ")])
def test_an_entry_that_can_match_nothing_is_refused_by_the_sender_and_reported_by_the_detector(
    kind: str, entry: str
) -> None:
    changes: BlacklistChanges = {kind: {"add": [entry]}}  # type: ignore[misc]  # kind is one of the keys
    sent = message(changes)
    with pytest.raises(UserError, match=f"{kind} entries that match nothing: {entry!r}"):
        encode_checked(
            build_message({"blacklist": changes}, issued_by="i", reason="r", expected_revision=None, now_ms=1)
        )
    assert isinstance(apply_control(DetectionConfig(), sent), DetectionConfig), "revisions stay as they were"
    assert "match nothing" in remarks(DetectionConfig(), sent)


@pytest.mark.parametrize(
    ("entries", "fix"),
    [
        (["UK"], "'UK'; write GB for 'UK'"),
        (["usa", "EL", "QQ"], "'usa', 'EL', 'QQ'; write US for 'usa', GR for 'EL'"),
        (["XX"], "'XX'; write the two letters of ISO 3166-1, such as US"),
    ],
)
def test_a_code_of_no_country_is_refused_with_the_code_that_is_meant(entries: list[str], fix: str) -> None:
    assert unmatchable({"country": {"add": entries}}) == f"country entries that match nothing: {fix}"


def test_codes_in_use_are_accepted() -> None:
    assert unmatchable({"country": {"add": ["us", " GB ", "XK", "CW", "SS"]}}) == ""
    listed = DetectionConfig(blacklist=Blacklist(country=frozenset({"UK"})))
    assert remarks(listed, message({"country": {"remove": ["UK"]}})) == "", "an entry of an older release can go"


def test_the_countries_are_those_of_the_time_zone_database() -> None:
    table = resources.files("tzdata").joinpath("zoneinfo/iso3166.tab").read_text(encoding="utf-8")
    codes = {line.split("\t")[0] for line in table.splitlines() if line and not line.startswith("#")}
    assert codes
    assert COUNTRIES - codes == {"XK"}
    assert codes <= COUNTRIES


def test_removing_an_entry_that_is_not_listed_is_reported() -> None:
    config = DetectionConfig(blacklist=Blacklist(merchant=frozenset({"Bad"})))
    assert remarks(config, message({"merchant": {"remove": ["never listed", "bad"]}})) == (
        "merchant entries that were not listed: 'never listed'"
    )
    assert remarks(config, message({"merchant": {"add": ["x"], "remove": ["BAD"]}})) == ""
