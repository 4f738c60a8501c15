"""``streamflow sanity``: checks whether labelled data can train and measure a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from flink_jobs.cli import data_options
from flink_jobs.cli.data_source import DataChoice, read_data
from flink_jobs.cli.output import Output, OutputOption, emit, out, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml.dataset import Dataset
    from ml.sanity.finding import Finding

FOUND = 1


def sanity(
    data: data_options.CardFile = None,
    mapping: data_options.MappingFile = None,
    since: data_options.DecisionsSince = None,
    until: data_options.DecisionsUntil = None,
    labels_until: data_options.LabelsUntil = None,
    *,
    from_decisions: data_options.FromDecisions = False,
    skip_bad_rows: data_options.SkipBadRows = False,
    processes: data_options.Processes = None,
    cache: data_options.CacheFolder = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Warn about data with defects that make a model look too good. `train` and `evaluate` print the same warnings.

    The checks: a category, merchant or day that is almost only fraud; categories with dates of their own; customers
    with nothing but fraud; one column that ranks as well as all inputs together; labels that follow ids.

    Exit code 1: at least one warning.

    Example: streamflow sanity --data tests/data/card_transactions.csv.gz
    """
    from ml.sanity.checks import check_dataset

    source = read_data(
        DataChoice(data, mapping, skip_bad_rows, from_decisions, since, until, labels_until, processes, cache)
    )
    findings = check_dataset(source.dataset)
    value = {"source": source.source, "rows": len(source.dataset), "warnings": as_documents(findings)}

    def plain() -> None:
        for finding in findings:
            out.print(text_of(finding), markup=False, soft_wrap=True)
        found = f"{len(findings)} warnings" if findings else "no warnings"
        out.print(f"{source.source}: {len(source.dataset):,} rows, {found}", markup=False, soft_wrap=True)

    emit(output, value, plain)
    if findings:
        raise typer.Exit(FOUND)


def warn(dataset: Dataset) -> tuple[Finding, ...]:
    """Check a data set before a model is trained or measured on it, and print the warnings on standard error."""
    from ml.sanity.checks import check_dataset

    findings = tuple(check_dataset(dataset))
    for finding in findings:
        say(f"Warning: {text_of(finding)}")
    return findings


def text_of(finding: Finding) -> str:
    """Return a warning as one line."""
    return f"{finding.check}: {finding.message}. {'; '.join(finding.examples)}"


def as_documents(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return warnings with JSON types."""
    return [asdict(finding) for finding in findings]
