"""A complete evaluation: repeatable, with correct comparisons, and written without loss."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import orjson
import pytest

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.errors import UserError
from ml.evaluation.document import EvaluationDocument
from ml.evaluation.evaluation import Evaluation, JudgingOptions, judge
from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.report.evaluation_page import evaluation_page
from ml.evaluation.report.model_card import model_card
from tests.unit.ml.evaluation.samples import judged, manifest_of

OPTIONS = JudgingOptions(alerts_per_day=5, cards_per_day=2, resamples=100, seed=3)


@pytest.fixture(scope="module")
def rows() -> JudgedRows:
    return judged()


@pytest.fixture(scope="module")
def evaluation(rows: JudgedRows) -> Evaluation:
    return judge(rows, OPTIONS)


@pytest.fixture(scope="module")
def document(evaluation: Evaluation) -> EvaluationDocument:
    models = {name: manifest_of(f"model-{name}") for name in ("good", "blind")}
    return EvaluationDocument(
        created_at="2026-01-02T00:00:00+00:00", code_version="1.0", source="cards <1>.csv", source_sha256=None,
        trained_here=True, label_delay_days=3.0, config=DetectionConfig(), models=models, evaluation=evaluation,
    )  # fmt: skip


def without_curves(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, scores=tuple(replace(one, curves=None) for one in evaluation.scores))  # type: ignore[arg-type]


def test_the_same_rows_and_seed_give_the_same_numbers(rows: JudgedRows, evaluation: Evaluation) -> None:
    again = judge(rows, OPTIONS)
    assert without_curves(again) == without_curves(evaluation)
    other = judge(rows, replace(OPTIONS, seed=4))
    assert other.scores[0].roc_auc.value == evaluation.scores[0].roc_auc.value
    assert other.scores[0].roc_auc.low != evaluation.scores[0].roc_auc.low


def test_a_better_score_is_shown_to_be_better(evaluation: Evaluation) -> None:
    fair, good, blind = evaluation.scores
    assert evaluation.baseline == "fair"
    assert fair.average_precision_gain.value == fair.average_precision_gain.low == 0.0
    assert (good.average_precision_gain.low or 0.0) > 0.0
    assert (blind.average_precision_gain.high or 0.0) < 0.0
    for metric in ("roc_auc", "average_precision", "card_precision", "recall_at_budget"):
        values = [getattr(one, metric).value for one in (good, fair, blind)]
        assert values == sorted(values, reverse=True), metric


def test_it_counts_what_it_judged(rows: JudgedRows, evaluation: Evaluation) -> None:
    assert (evaluation.rows, evaluation.frauds, evaluation.unlabelled) == (3_000, int(rows.fraud.sum()), 5)
    assert (evaluation.days, evaluation.budget, evaluation.customers) == (20, 100, 60)
    for report in evaluation.scores:
        assert sum(report.histogram.genuine) + sum(report.histogram.fraud) == 3_000
        assert sum(group.rows for group in report.groups) == 3_000
        assert (
            sum(group.alerts for group in report.groups) == (rows.scores[report.name] >= report.threshold).sum() <= 100
        )
        assert sum(group.rows for group in report.scenarios) == evaluation.frauds
    high_amount, velocity = evaluation.rules
    assert velocity.recall.value == velocity.precision.value == 1.0
    assert high_amount.alerts == rows.rule_hits["high_amount"].sum()


def test_progress_is_reported_to_the_end(rows: JudgedRows) -> None:
    reported: list[tuple[str, int, int]] = []
    judge(rows, OPTIONS, lambda *what: reported.append(what))
    assert [one for one in reported if one[1] == one[2]] == [(name, 101, 101) for name in rows.scores]


@pytest.mark.parametrize("label", [True, False])
def test_one_kind_of_label_is_refused(rows: JudgedRows, label: bool) -> None:  # noqa: FBT001
    with pytest.raises(UserError, match="both kinds"):
        judge(replace(rows, fraud=np.full(3_000, label)), OPTIONS)


def test_no_resamples_give_numbers_without_intervals(rows: JudgedRows) -> None:
    report = judge(rows, replace(OPTIONS, resamples=0)).scores[1]
    assert report.roc_auc.value is not None
    assert report.roc_auc.low is None


def test_the_json_holds_every_number(document: EvaluationDocument) -> None:
    written = orjson.loads(document.to_json())
    assert written["schema_version"] == 1
    assert written["config"]["alpha"] == DetectionConfig().alpha
    assert set(written["models"]) == {"good", "blind"}
    scores = written["evaluation"]["scores"]
    assert [one["name"] for one in scores] == ["fair", "good", "blind"]
    assert scores[1]["roc_auc"]["value"] == document.evaluation.scores[1].roc_auc.value
    assert len(scores[0]["calibration"]["reliability"]) == 10
    assert scores[0]["curves"]["recall"][-1] == 1.0


class _Page(HTMLParser):
    """Collects the tags of a page, and checks that each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take `<line/>`: nothing is open after it."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_opens_offline_and_is_well_formed(document: EvaluationDocument) -> None:
    page = evaluation_page(document)
    parser = _Page()
    parser.feed(page)
    assert parser.open == []
    assert [link for link in parser.links if not link.startswith("#")] == [], "only marks of the same page"
    assert "script" not in parser.seen
    assert "url(" not in page
    assert "@import" not in page
    assert "cards &lt;1&gt;.csv" in page
    assert "food &amp; &lt;drink&gt;" in page
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(plots) > 10
    for plot in plots:
        ET.fromstring(plot)  # noqa: S314 - our own text
        assert "nan" not in plot


def test_the_card_has_every_section_and_says_what_is_wrong(document: EvaluationDocument) -> None:
    card = model_card(document, "blind")
    sections = re.findall(r"^## (.*)$", card, flags=re.MULTILINE)
    assert sections == [
        "Model details", "Governance", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Alternatives", "Monitoring and overrides", "Ethical considerations",
        "Caveats and recommendations",
    ]  # fmt: skip
    assert "Not shown to be better than `fair`" in card
    assert "5 rows of the same time have no label" in card
    assert "tra\\|vel" in card
    assert "Labels of the last 3 days" in card
    rows = [line for line in card.splitlines() if line.startswith("| ")]
    widths = {line.replace("\\|", "").count("|") for line in rows}
    assert widths == {len(("score", *range(8))) + 1}
    assert "Not shown to be better" not in model_card(document, "good")


def test_a_card_of_overlapping_data_says_so(document: EvaluationDocument) -> None:
    late = document.evaluation.last_event_time_ms
    overlapping = replace(document, models={"good": manifest_of("m", last_event_time_ms=late)})
    assert "overlap in time" in model_card(overlapping, "good")
    assert "overlap in time" not in model_card(document, "good")
