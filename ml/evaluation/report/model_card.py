"""The model card, written from the run.

The sections are those of Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Every number and every warning
comes from the manifest or the evaluation; the fixed sentences say what holds for any model of this product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ml.evaluation.report.words import (
    GROUP_COLUMNS,
    SMALL_GROUP,
    day,
    facts,
    group_row,
    number,
    resampling,
    score_columns,
    score_row,
)

if TYPE_CHECKING:
    from flink_jobs.core.models.manifest import ModelManifest
    from ml.evaluation.document import EvaluationDocument
    from ml.evaluation.evaluation import ScoreReport
    from ml.evaluation.segments import Group


def model_card(document: EvaluationDocument, contender: str) -> str:
    """Write the card of one contender that has a model."""
    manifest = document.models[contender]
    report = next(report for report in document.evaluation.scores if report.name == contender)
    judged = document.evaluation
    lines = [f"# Model card: {manifest.version}", ""]
    lines += ["## Model details", "", *_details(manifest), ""]
    lines += ["## Intended use", "", *_INTENDED_USE, ""]
    lines += ["## Factors", "", *_factors(report), ""]
    lines += [
        "## Metrics", "",
        (
            f"Judged as `{contender}` beside the other contenders on the same rows; {resampling(judged)}. Groups are "
            f"judged at the score {report.threshold:.3f}, the lowest whose alerts stay within "
            f"{judged.options.alerts_per_day} a day."
        ),
        "",
    ]  # fmt: skip
    lines += ["## Evaluation data", "", f"`{document.source}`: {facts(judged)}.", *_evaluation_data(document), ""]
    lines += ["## Training data", "", *_training_data(document, manifest), ""]
    lines += ["## Quantitative analyses", "", "### Unitary results", ""]
    lines += _table(score_columns(judged), [score_row(one, judged.baseline) for one in judged.scores])
    if report.scenarios:
        lines += ["", "By fraud pattern:", "", *_table(GROUP_COLUMNS, [group_row(one) for one in report.scenarios])]
    lines += ["", "### By segment", "", SMALL_GROUP]
    for name, groups in groupby(report.groups, key=lambda group: group.grouping):
        lines += ["", f"By {name}:", "", *_table(GROUP_COLUMNS, [group_row(one) for one in groups])]
    lines += ["", "## Ethical considerations", "", *_ETHICS, *_unequal(report.groups), ""]
    lines += ["## Caveats and recommendations", "", *_caveats(document, manifest, report), ""]
    return "\n".join(lines)


_INTENDED_USE = (
    "- Ranks card transactions for a fraud desk, as one part of `score = alpha * model + (1 - alpha) * rules`.",
    "- Users: the operators of this detector. Not made to decide on credit, prices or the closing of an account.",
    "- Without a person looking, a score may hold back one purchase; it is no evidence against a customer.",
)
_ETHICS = (
    "- Inputs are habits of the customer: amounts, times, places, kinds of purchase; never name, age, sex or origin.",
    "- Habits can stand for such properties all the same: the tables above check the segments that this data has.",
)


def _details(manifest: ModelManifest) -> Iterator[str]:
    yield f"- Version `{manifest.version}`, kind `{manifest.kind}`, arrays SHA-256 `{manifest.arrays_sha256}`"
    yield f"- Trained {manifest.created_at} by StreamFlow {manifest.code_version}"
    yield f"- Inputs in order: {', '.join(f'`{name}`' for name in manifest.feature_names)}"
    chosen = ", ".join(f"{name} {value}" for name, value in sorted(manifest.parameters.items()))
    yield f"- Parameters: {chosen}"


def _factors(report: ScoreReport) -> Iterator[str]:
    names = list(dict.fromkeys(group.grouping for group in report.groups))
    yield f"Groups compared below: {', '.join(names)}." if names else "The data has nothing to divide the rows by."


def _evaluation_data(document: EvaluationDocument) -> Iterator[str]:
    yield f"Later than all training rows: the split is by time. SHA-256 `{document.source_sha256 or 'not a file'}`."
    if document.evaluation.unlabelled:
        yield f"{document.evaluation.unlabelled:,} rows of the same time have no label and are not judged."


def _training_data(document: EvaluationDocument, manifest: ModelManifest) -> Iterator[str]:
    data = manifest.training_data
    span = f"{day(data.first_event_time_ms)} to {day(data.last_event_time_ms)}"
    yield f"`{data.source}`: {data.rows:,} rows, {span}; features SHA-256 `{data.features_sha256}`."
    if document.trained_here and document.label_delay_days and data.labelled_rows:
        yield f"Labels of the last {document.label_delay_days:g} days of it were unknown to training."


def _unequal(groups: Sequence[Group]) -> Iterator[str]:
    """Name, per grouping, the two false-positive rates farthest apart, where their intervals do not overlap."""
    for name, members in groupby(groups, key=lambda group: group.grouping):
        known = [one for one in members if not one.is_small and one.false_positive_rate.low is not None]
        if len(known) < 2:  # noqa: PLR2004 - a pair
            continue
        least = min(known, key=lambda one: one.false_positive_rate.value or 0.0)
        most = max(known, key=lambda one: one.false_positive_rate.value or 0.0)
        if (least.false_positive_rate.high or 0.0) < (most.false_positive_rate.low or 0.0):
            yield (
                f"- Unequal by {name}: honest transactions of `{most.name}` are alerted at a rate of "
                f"{number(most.false_positive_rate.value, 4)}, "
                f"of `{least.name}` at {number(least.false_positive_rate.value, 4)}."
            )


def _caveats(document: EvaluationDocument, manifest: ModelManifest, report: ScoreReport) -> Iterator[str]:
    judged = document.evaluation
    if judged.first_event_time_ms <= manifest.training_data.last_event_time_ms:
        yield "- **Training and evaluation overlap in time: these numbers flatter the model.**"
    small = sum(group.is_small for group in report.groups)
    if small:
        yield f"- {small} of {len(report.groups)} groups are too small to judge."
    empty = [group.name for group in report.groups if not group.frauds]
    if empty:
        yield f"- No fraud, so nothing known of recall, in: {', '.join(empty)}."
    error = number(report.calibration.expected_calibration_error.value)
    yield f"- Mean distance of score and fraud rate: {error}. Above 0.05, do not read the score as a probability."
    gain = report.average_precision_gain
    if report.name != judged.baseline and gain.low is not None and gain.low <= 0.0:
        yield f"- Not shown to be better than `{judged.baseline}`: the gain's interval starts at {number(gain.low)}."
    yield "- Watch it with `streamflow drift`, and judge it on your own data before its first use."


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(columns), "| --- |" + " ---: |" * (len(columns) - 1), *(line(row) for row in rows)]
