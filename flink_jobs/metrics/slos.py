"""The service-level objectives (SLOs), and the Prometheus rules that measure them and alert on them.

Each objective is one row of ``SLOS``: the share that must be good, and the PromQL of the bad share over a window. The
rules follow the Google SRE workbook, chapter 5 ("Alerting on SLOs", multi-window, multi-burn-rate). A burn rate of 1
spends the budget of 30 days in 30 days; a burn rate of 14.4 spends 2 % of the budget in one hour.

``python -m flink_jobs.metrics.slos --write`` writes the rules to ``RULES_FILE``; a test compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from flink_jobs.metrics.catalogue import ALERT_LATENCY_MS, LATENCY_MS, Metric, prometheus_name

MONITORING: Final = Path(__file__).parents[2] / "k8s" / "base" / "monitoring"
RUNBOOKS: Final = "https://github.com/streamflow/streamflow/blob/main/docs/runbooks"
RULES_FILE: Final = MONITORING / "slos.yaml"
DETECT: Final = 'job_name=~"streamflow.detect"'
ARCHIVE: Final = 'job_name=~"streamflow.archive"'
DECISIONS: Final = f'{ARCHIVE}, operator_name=~"Source.*decisions_topic.*"'
# Values of the last minute, because a failed scrape is not an outage. While a job restarts, its running time is 0.
RUNNING: Final = "last_over_time(flink_jobmanager_job_runningTime{{{job}}}[1m]) > bool 0"
LAG_MS: Final = f"last_over_time(flink_taskmanager_job_task_operator_currentEmitEventTimeLag{{{DECISIONS}}}[1m])"
BACKLOG: Final = f"last_over_time(flink_taskmanager_job_task_operator_pendingRecords{{{DECISIONS}}}[1m])"
EMITTED: Final = f"rate(flink_taskmanager_job_task_operator_numRecordsOut{{{DECISIONS}}}[5m])"
SMALL_BACKLOG: Final = 100
"""Decisions; an archive that keeps up has up to this backlog."""
WINDOWS: Final = ("5m", "30m", "1h", "6h", "30d")
FAST, SLOW = 14.4, 6.0
FRESHNESS_MS: Final = 300_000


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective.

    Attributes:
        name: value of the label ``slo``.
        objective: share that must be good, 0 to 1.
        meaning: the measured share, in words.
        bad: PromQL of the bad share of time or events, with ``$window`` for the window.
    """

    name: str
    objective: float
    meaning: str
    bad: str


def _slower_than(metric: Metric, limit_ms: int) -> str:
    """Return PromQL for the share of observations above ``limit_ms``, which must be a bucket of the histogram."""
    if limit_ms not in metric.buckets:
        message = f"{metric.name} has no bucket of {limit_ms}"
        raise ValueError(message)
    name = prometheus_name(metric)
    good = f'sum(rate({name}{{le="{limit_ms}"}}[$window]))'
    return f'1 - {good} / (sum(rate({name}{{le="+Inf"}}[$window])) > 0)'


SLOS: Final = (
    Slo(
        "availability", 0.995, "share of time the detector runs",
        "1 - avg_over_time(streamflow:detect_runs:bool[$window])",
    ),
    Slo(
        "decision_latency", 0.99, "share of transactions scored within 5 s of Kafka's timestamp",
        _slower_than(LATENCY_MS, 5_000),
    ),
    Slo(
        "alert_latency", 0.99, "share of alerts sent within 250 ms of Kafka's timestamp",
        _slower_than(ALERT_LATENCY_MS, 250),
    ),
    Slo(
        "freshness", 0.99, "share of time the archive is less than 5 minutes behind",
        "1 - avg_over_time(streamflow:archive_is_fresh:bool[$window])",
    ),
)  # fmt: skip
"""The fifth objective (no budget is spent before its 30 days end) is the alert ``SloBudgetSpent`` on these four."""


def objective_rules() -> list[dict[str, Any]]:
    """Return the recording rules of the inputs of the objectives, and of their budgets."""
    rules: list[dict[str, Any]] = [
        {
            "record": "streamflow:detect_runs:bool",
            "expr": f"max({RUNNING.format(job=DETECT)}) or vector(0)",
        },
        {
            # The lag belongs to the last emitted record, however old; it counts only while there is a backlog.
            "record": "streamflow:archive_is_behind:bool",
            "expr": f"(sum({BACKLOG}) > bool {SMALL_BACKLOG}) * ((max({LAG_MS}) >= bool {FRESHNESS_MS})"
            f" + (sum({EMITTED}) == bool 0)) > bool 0",
        },
        {
            "record": "streamflow:archive_is_fresh:bool",
            "expr": f"(max({RUNNING.format(job=ARCHIVE)}) * (1 - streamflow:archive_is_behind:bool)) or vector(0)",
        },
    ]
    for slo in SLOS:
        budget = {"expr": f"vector({round(1 - slo.objective, 6)})", "labels": {"slo": slo.name}}
        rules.append({"record": "streamflow:slo_budget:ratio", **budget})
    return rules


def window_rules() -> list[dict[str, Any]]:
    """Return the recording rules of each objective's bad share over each window, and of its remaining budget."""
    rules: list[dict[str, Any]] = [
        {
            "record": f"streamflow:slo_bad:ratio_{window}",
            "expr": slo.bad.replace("$window", window),
            "labels": {"slo": slo.name},
        }
        for slo in SLOS
        for window in WINDOWS
    ]
    left = "1 - streamflow:slo_bad:ratio_30d / on (slo) streamflow:slo_budget:ratio"
    return [*rules, {"record": "streamflow:slo_budget_left:ratio", "expr": left}]


def _burning(rate: float, long: str, short: str) -> str:
    limit = f"on (slo) {rate} * streamflow:slo_budget:ratio"
    return f"streamflow:slo_bad:ratio_{long} > {limit} and streamflow:slo_bad:ratio_{short} > {limit}"


def alert_rules() -> list[dict[str, Any]]:
    """Return the alerts on budgets: fast burn, slow burn, and spent; each covers every objective."""

    def rule(name: str, expr: str, severity: str, summary: str, wait: str) -> dict[str, Any]:
        notes = {"summary": summary, "runbook_url": f"{RUNBOOKS}/{name}.md"}
        return {"alert": name, "expr": expr, "for": wait, "labels": {"severity": severity}, "annotations": notes}

    return [
        rule(
            "SloBudgetBurnsFast", _burning(FAST, "1h", "5m"), "page",
            "{{ $labels.slo }} spends its 30-day budget more than 14.4 times too fast", "2m",
        ),
        rule(
            "SloBudgetBurnsSlowly", _burning(SLOW, "6h", "30m"), "ticket",
            "{{ $labels.slo }} spends its 30-day budget more than 6 times too fast", "15m",
        ),
        rule(
            "SloBudgetSpent", "streamflow:slo_budget_left:ratio <= 0", "ticket",
            "{{ $labels.slo }} has spent its 30-day budget", "1h",
        ),
    ]  # fmt: skip


def prometheus_rule() -> dict[str, Any]:
    """Return the PrometheusRule resource with all rules."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "streamflow-slos", "labels": {"app.kubernetes.io/part-of": "streamflow"}},
        "spec": {
            "groups": [
                {"name": "streamflow-objectives", "interval": "15s", "rules": objective_rules()},
                {"name": "streamflow-windows", "interval": "30s", "rules": window_rules()},
                {"name": "streamflow-budgets", "rules": alert_rules()},
            ]
        },
    }


def plain_rules(resources: Sequence[Path]) -> dict[str, Any]:
    """Return the rules of PrometheusRule files in Prometheus's own format: one document of groups."""
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in resources]
    return {"groups": [group for document in documents for group in document["spec"]["groups"]]}


def render() -> str:
    """Return the text of ``RULES_FILE``."""
    head = "# Generated by `python -m flink_jobs.metrics.slos --write` from the table in that file.\n"
    return head + yaml.safe_dump(prometheus_rule(), sort_keys=False, width=140)


def main(arguments: Sequence[str]) -> int:
    """Write the resource, or print all rules in Prometheus's own format; return the exit code."""
    if list(arguments) == ["--write"]:
        RULES_FILE.write_text(render(), encoding="utf-8")
        return 0
    if list(arguments) == ["--plain"]:
        files = [RULES_FILE, RULES_FILE.with_name("alerts.yaml")]
        yaml.safe_dump(plain_rules(files), sys.stdout, sort_keys=False, width=140)
        return 0
    sys.stderr.write("usage: python -m flink_jobs.metrics.slos --write | --plain\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
