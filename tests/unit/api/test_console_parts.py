"""Parts of the console without servers: roles, words, charts, similar alerts, assets."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest
import yaml

from api.console.drawing import HEIGHT, amount_chart, hour_bars
from api.console.guard import local_path
from api.console.history import DAY_MS, Purchase, normal_of
from api.console.links import hop_of
from api.console.pages import ASSETS, ENVIRONMENT, money
from api.console.roles import PERMISSIONS, Identity, Permission, Role, known_roles
from api.console.routes.operations import PROMETHEUS
from api.console.similar import closest
from api.console.words import NO_HISTORY, feature_rows, reasons_of, shares_of
from api.documents import Decision
from flink_jobs.metrics.slos import SLOS, window_rules
from flink_jobs.settings import REPO_ROOT

AT = 1_700_000_000_000
HOUR = 3_600_000


def purchase(number: int, *, days: float = 1, amount: int = 1_000, **changes: object) -> Purchase:
    values: dict[str, Any] = {
        "transaction_id": f"t-{number}", "event_time_ms": AT - int(days * DAY_MS), "amount_minor": amount,
        "currency": "EUR", "merchant": None, "category": "food", "country": "DE", "score": 0.1, "is_alert": False,
        "label": None,
    }  # fmt: skip
    return Purchase(**(values | changes))


def decision(*codes: str, **changes: object) -> Decision:
    values: dict[str, Any] = {
        "transaction_id": "t", "customer_id": "c", "event_time_ms": AT, "processing_time_ms": AT,
        "amount_minor": 123_456, "currency": "EUR", "score": 0.9, "threshold": 0.4, "is_alert": True,
        "action": "decline",
        "reasons": [{"code": code, "text": "text of the code", "contribution": 0.2} for code in codes],
        "contributions": None, "model_version": "v1", "ruleset_version": "2", "config_revision": 0, "features": {},
    }  # fmt: skip
    return Decision.model_validate(values | changes)


def test_every_role_has_permissions_and_only_some_see_customers() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert {role for role in Role if Permission.CUSTOMERS_READ in PERMISSIONS[role]} == {Role.SENIOR, Role.AUDITOR}
    assert {role for role in Role if Permission.CASES_WRITE in PERMISSIONS[role]} == {Role.ANALYST, Role.SENIOR}


def test_a_role_of_a_newer_release_gives_no_rights() -> None:
    person = Identity("ada", "Ada", known_roles(["god", "viewer"]))
    assert person.roles == {Role.VIEWER}
    assert not person.may(Permission.CASES_READ)


@pytest.mark.parametrize(
    "text",
    ["", "/", "//evil.example/console/", "https://evil.example/console/", "/console", "/console/\\x", "/console/\n"],
)
def test_a_login_leads_to_pages_of_the_console_only(text: str) -> None:
    assert local_path(text) == "/console/"


def test_the_normal_of_a_customer_is_that_before_the_transaction_and_without_frauds() -> None:
    rows = [purchase(1, days=10), purchase(2, days=5, amount=3_000), purchase(3, days=0), purchase(4, label="fraud")]
    normal = normal_of(rows, AT, "EUR")
    assert (normal.purchases, normal.days, normal.median_minor, normal.per_day) == (2, 10.0, 2_000, 0.2)
    assert normal.categories == (("food", 1.0),)
    assert sum(normal.hours) == 2


def test_reasons_are_in_words_beside_the_normal_of_the_customer() -> None:
    features = {"amount_ratio": 8.3, "velocity_count": 6.0, "time_deviation": 0.96, "geo_speed_kmh": 2_300.0}
    found = decision("HIGH_AMOUNT", "HIGH_VELOCITY", "UNUSUAL_TIME", "IMPOSSIBLE_TRAVEL", "NEW_CODE", features=features)
    normal = normal_of([purchase(number, days=number) for number in range(1, 11)], AT, "EUR")
    said = reasons_of(found, normal)
    assert [(item.text, item.normal) for item in said] == [
        ("1,234.56 EUR is 8.3 times the customer's mean amount", "usual: 10.00 EUR (median)"),
        ("6 purchases within one hour", "usual: 1.0 a day"),
        ("96% of the customer's purchases are at other times of the day",
         "usual: 100% of purchases from 17:00 to 23:00 UTC"),
        ("2,300 km/h from the place of the last purchase to this one", "usual: DE 100%"),
        ("Text of the code", ""),
    ]  # fmt: skip


def test_reasons_without_features_history_or_access_are_still_in_words() -> None:
    found = decision("HIGH_AMOUNT", "HIGH_VELOCITY", "UNUSUAL_TIME", "MODEL_ANOMALY", ml_score=0.91)
    assert [item.normal for item in reasons_of(found, None)] == ["", "", "", ""]
    said = reasons_of(found, normal_of([], AT, "EUR"))
    assert [item.normal for item in said] == ["", NO_HISTORY, NO_HISTORY, ""]
    assert said[-1].text == "The model's score is 0.91 of 1"


def test_shares_come_largest_first_and_absent_features_say_why() -> None:
    found = decision(
        contributions={"amount_ratio": 0.1, "velocity_count": -0.3, "of_the_model": 0.2},
        features={"amount_ratio": 8.0, "velocity_count": 6.0, "geo_speed_kmh": None},
        absent={"geo_speed_kmh": "no_location"},
    )
    assert [(share.name, share.value) for share in shares_of(found)] == [
        ("velocity count", "6 transactions"), ("of the model", "not recorded"), ("amount ratio", "8"),
    ]  # fmt: skip
    assert [(row["value"], row["absent"]) for row in feature_rows(found)][-1] == ("absent", "no location")


def test_the_closest_alerts_come_first_whatever_the_scale_of_a_feature() -> None:
    rows = [
        {"transaction_id": f"t-{number}", "features": {"geo_speed_kmh": number * 100.0, "amount_ratio": 1.0 + number}}
        for number in range(12)
    ]
    found = closest({"geo_speed_kmh": 500.0, "amount_ratio": 6.0}, rows)
    assert len(found) == 10
    assert [row["transaction_id"] for row in found[:3]] == ["t-5", "t-4", "t-6"]
    assert found[0]["distance"] == 0
    assert closest({}, []) == []


def test_the_chart_marks_the_transaction_and_leaves_out_other_currencies_and_days() -> None:
    rows = [purchase(1), purchase(2, days=40), purchase(3, currency="USD"), purchase(4, days=0, amount=100_000)]
    chart = amount_chart(rows, AT, "EUR", "t-4")
    assert chart is not None
    assert [dot.is_this for dot in chart.dots] == [False, True]
    assert all(0 <= dot.y <= HEIGHT for dot in chart.dots)
    assert chart.summary == "2 purchases from 10.00 EUR to 1,000.00 EUR"
    assert amount_chart([], AT, "EUR", "t") is None
    bars = hour_bars(normal_of(rows, AT, "EUR"), 22)
    assert [number for number, bar in enumerate(bars) if bar.is_this] == [22]


def test_amounts_have_the_decimals_of_their_currency() -> None:
    assert [money(1_999, code) for code in ("USD", "JPY", "KWD")] == ["19.99 USD", "1,999 JPY", "1.999 KWD"]


def test_templates_and_script_need_no_inline_code_and_no_other_server() -> None:
    assert ENVIRONMENT.loader is not None
    for name in ENVIRONMENT.list_templates():
        text = ENVIRONMENT.loader.get_source(ENVIRONMENT, name)[0]
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\ssrc=)|javascript:", text), name
        assert not re.search(r"(?:href|src|action)=\"(?:https?:)?//", text), name
    own = b"".join(ASSETS[name] for name in ("console.js", "console.css"))
    assert b"http://" not in own
    assert b"https://" not in own
    assert b"eval(" not in own


def test_the_health_page_asks_for_the_budget_of_each_objective() -> None:
    asked = [query for name, query in PROMETHEUS.items() if name.startswith("Budget left")]
    recorded = {rule["record"] for rule in window_rules()}
    assert "streamflow:slo_budget_left:ratio" in recorded
    assert asked == [f'100 * streamflow:slo_budget_left:ratio{{slo="{slo.name}"}}' for slo in SLOS]


def test_the_copies_of_other_projects_files_are_the_published_ones() -> None:
    folder = REPO_ROOT / "api" / "console" / "assets"
    items = yaml.safe_load((folder / "vendored.yaml").read_text())
    assert {item["package"] for item in items} == {"htmx.org", "world-atlas"}
    for item in items:
        assert hashlib.sha256((folder / item["file"]).read_bytes()).hexdigest() == item["sha256"]
        assert item["version"] in item["file"]
        assert len(base64.b64decode(item["integrity"].removeprefix("sha512-"))) == 64


def test_a_hop_is_computed_back_from_speed_and_time() -> None:
    before = [purchase(1, days=-1), purchase(2, days=1 / 24, country="FR"), purchase(3, days=2)]
    hop = hop_of(decision(country="JP", features={"geo_speed_kmh": 9_700.0}), before)
    assert hop is not None
    assert (hop.start, hop.end, hop.minutes, hop.distance_km) == ("FR", "JP", 60.0, 9_750.0)
    assert hop_of(decision(features={"geo_speed_kmh": None}), before) is None
    unlocated = [purchase(4, days=1 / 48, country="ES", is_located=False), *before]
    assert hop_of(decision(country="JP", features={"geo_speed_kmh": 9_700.0}), unlocated) == hop
    soon = hop_of(decision(features={"geo_speed_kmh": 12_000.0}), [purchase(1, days=1 / 1_440)])
    assert soon is not None
    assert (soon.end, soon.minutes, soon.distance_km) == (None, 1.0, 1_050.0), (
        "the detector counts five minutes at least"
    )
    farther_than_possible = [purchase(1, days=30)]
    assert hop_of(decision(features={"geo_speed_kmh": 900.0}), farther_than_possible) is None
    assert hop_of(decision(features={"geo_speed_kmh": 900.0}), []) is None
