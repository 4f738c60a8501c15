"""Rules, dashboards and runbooks name existing metrics and alerts; each alert fires when it should and only then."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flink_jobs.metrics import catalogue, dashboards, slos, warehouse_metrics
from flink_jobs.metrics.catalogue import FLINK_OPERATOR_PREFIX, Metric, MetricKind, prometheus_name
from flink_jobs.settings import REPO_ROOT
from tests.monitoring.flink_metrics import FLINK_METRICS
from tests.monitoring.tools import find_tool

RULES = slos.plain_rules(
    [
        slos.RULES_FILE,
        slos.RULES_FILE.with_name("alerts.yaml"),
        slos.RULES_FILE.with_name("platform-alerts.yaml"),
        REPO_ROOT / "k8s/base/api/alerts.yaml",
        REPO_ROOT / "k8s/components/lake/alerts.yaml",
        REPO_ROOT / "k8s/collector/alerts.yaml",
        REPO_ROOT / "k8s/components/merchants/alerts.yaml",
    ]
)
ALL_RULES = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in ALL_RULES if "alert" in rule}
CASES = yaml.safe_load(Path(__file__).with_name("alerts.yaml").read_text())
OF_THE_PLATFORM = {
    "argocd_app_info", "kafka_server_replicamanager_underreplicatedpartitions", "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes", "otelcol_exporter_queue_capacity", "otelcol_exporter_queue_size", "up",
}  # fmt: skip
"""Metrics of Argo CD, Strimzi's reporter, the kubelet, OpenTelemetry's collector and Prometheus itself."""
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
# Parts of a PromQL expression that are removed, in two steps, until only the names of metrics are left.
_LABELS = re.compile(r"""\{[^{}]*\}|\[[^][]*\]|"[^"]*"|\b(by|on|without|ignoring)\s*\([^()]*\)""")
_WORDS = re.compile(r"(?<![\w:])([a-z_0-9]+(?=\s*\()|(and|or|unless|bool|offset)(?![\w:])|\d[\w.]*)")


def names(expr: str) -> set[str]:
    """Return the metrics that an expression names."""
    return set(re.findall(r"[a-zA-Z_:][\w:]*", _WORDS.sub(" ", _LABELS.sub(" ", expr))))


def known() -> set[str]:
    archive = (catalogue.ARCHIVED_ROWS, catalogue.REFUSED_ROWS)
    ours = {prometheus_name(metric) for metric in (*catalogue.DETECTOR_METRICS, *archive, *catalogue.MERCHANT_METRICS)}
    served: list[tuple[str, tuple[Metric, ...]]] = [
        (catalogue.TRAFFIC_PREFIX, catalogue.TRAFFIC_METRICS),
        (catalogue.MODEL_WATCH_PREFIX, catalogue.MODEL_WATCH_METRICS),
        (warehouse_metrics.WAREHOUSE_PREFIX, warehouse_metrics.WAREHOUSE_METRICS),
        (catalogue.API_PREFIX, catalogue.API_METRICS),
    ]
    ending = {MetricKind.COUNTER: "_total", MetricKind.GAUGE: "", MetricKind.HISTOGRAM: "_bucket"}
    ours |= {f"{prefix}{metric.name}{ending[metric.kind]}" for prefix, metrics in served for metric in metrics}
    return (
        ours
        | set(FLINK_METRICS)
        | {rule["record"] for rule in ALL_RULES if "record" in rule}
        | {"ALERTS", *OF_THE_PLATFORM}
    )


def test_the_names_in_an_expression_are_found() -> None:
    expr = 'sum by (le, slo) (rate(a_b{x="y_z"}[5m])) / on (slo) (14.4 * c:d:ratio_1h) > bool 0 and e or vector(0)'
    assert names(expr) == {"a_b", "c:d:ratio_1h", "e"}


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_only_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert names(rule["expr"]) or rule["record"] == "streamflow:slo_budget:ratio", "it names nothing"
    assert names(rule["expr"]) <= known()


def test_a_panel_names_only_metrics_that_exist() -> None:
    found = list(dashboards.queries())
    assert len(found) > 40
    unknown = {(query.panel, name) for query in found for name in names(query.expr) - known()}
    assert unknown == set()


def test_every_metric_of_the_jobs_the_drift_check_and_the_warehouse_is_on_a_dashboard_or_in_a_rule() -> None:
    """A metric without a panel or rule is a candidate for deletion. The traffic generators have no dashboard."""
    used = {name for query in dashboards.queries() for name in names(query.expr)}
    used |= {name for rule in ALL_RULES for name in names(rule["expr"])}
    ours = {name for name in known() if "_operator_" in name or name.startswith("streamflow_")}
    assert {name for name in ours - used if not name.startswith(catalogue.TRAFFIC_PREFIX)} == set()


def test_the_generated_files_are_those_of_the_tables() -> None:
    assert slos.RULES_FILE.read_text() == slos.render()
    written = dashboards.files()
    assert len(written) == 5
    assert {path: path.read_text() for path in dashboards.FOLDER.iterdir()} == written


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_has_a_severity_and_a_runbook_of_its_name(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    repository = yaml.safe_load((REPO_ROOT / "k8s/argocd/prod.yaml").read_text())["spec"]["source"]["repoURL"]
    url = f"{repository.removesuffix('.git')}/blob/main/docs/runbooks/{alert}.md"
    assert rule["annotations"]["runbook_url"] == url, "a browser opens it from the message"
    text = (REPO_ROOT / "docs/runbooks" / f"{alert}.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert text.startswith(f"# {alert}\n")


def test_there_is_no_runbook_and_no_case_without_its_alert() -> None:
    assert {path.stem for path in (REPO_ROOT / "docs/runbooks").glob("*.md")} == set(ALERTS)
    assert {case["alert"] for case in CASES} == set(ALERTS)
    assert len(ALERTS) >= 9


def promtool_tests() -> Iterator[dict[str, Any]]:
    places = {
        "$job_": FLINK_OPERATOR_PREFIX,
        "$detect": 'job_name="streamflow-detect"',
        "$archive": 'job_name="streamflow-archive"',
        "$lake": 'job_name="streamflow-lake"',
        "$merchants": 'job_name="streamflow-merchants"',
        "'": '"',
    }

    def spelled(series: str) -> str:
        for short, long in places.items():
            series = series.replace(short, long)
        return series

    for case in CASES:
        labels = {"alertname": case["alert"], "alertstate": "firing", **case.get("labels", {})}
        labels["severity"] = ALERTS[case["alert"]]["labels"]["severity"]
        wanted = ", ".join(f'{name}="{value}"' for name, value in labels.items())
        for kind in ("fires", "silent"):
            yield {
                "name": f"{case['alert']} {kind}",
                "interval": "15s",
                "input_series": [{"series": spelled(name), "values": values} for name, values in case[kind].items()],
                "promql_expr_test": [
                    {
                        "expr": f"ALERTS{{{wanted}}}",
                        "eval_time": case["at"],
                        "exp_samples": [{"labels": f"ALERTS{{{wanted}}}", "value": 1}] if kind == "fires" else [],
                    }
                ],
            }


def run_promtool(folder: Path, alerts: set[str], rules: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run the cases of some alerts against rules."""
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    tests = [test for test in promtool_tests() if test["name"].split()[0] in alerts]
    assert tests
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "tests.yml").write_text(yaml.safe_dump(document))
    command = [find_tool("promtool"), "test", "rules", "tests.yml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def without(*groups: str) -> dict[str, Any]:
    return {"groups": [group for group in RULES["groups"] if group["name"] not in groups]}


OF_NO_JOB = ("streamflow-platform", "streamflow-collector")
"""Groups whose alerts need no rule of another group."""


@pytest.mark.parametrize("kind", ["symptoms", "platform", "budgets"])
def test_every_alert_fires_when_it_should_and_only_then(tmp_path: Path, kind: str) -> None:
    budgets = {alert for alert in ALERTS if alert.startswith("Slo")}
    platform = {rule["alert"] for group in RULES["groups"] if group["name"] in OF_NO_JOB for rule in group["rules"]}
    alerts = {"budgets": budgets, "platform": platform, "symptoms": set(ALERTS) - budgets - platform}[kind]
    # Rules that no case needs are left out, because promtool evaluates each rule for every minute of up to 37 hours.
    others = [group["name"] for group in RULES["groups"] if group["name"] not in OF_NO_JOB]
    left_out = {
        "budgets": ["streamflow-alerts", *OF_NO_JOB],
        "platform": others,
        "symptoms": ["streamflow-windows", "streamflow-budgets", *OF_NO_JOB],
    }
    rules = without(*left_out[kind])
    assert rules["groups"]
    answer = run_promtool(tmp_path, alerts, rules)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_promtool_would_notice_a_rule_that_is_wrong(tmp_path: Path) -> None:
    text = yaml.safe_dump(without("streamflow-windows", "streamflow-budgets"))
    wrong = text.replace("streamflow:detect_runs:bool == 0", "streamflow:detect_runs:bool == 7")
    assert wrong != text
    answer = run_promtool(tmp_path, {"DetectorDown"}, yaml.safe_load(wrong))
    assert answer.returncode == 1
    assert "DetectorDown" in answer.stderr


def test_every_severity_has_a_receiver_and_no_address_is_committed() -> None:
    config = yaml.safe_load((REPO_ROOT / "k8s/alertmanager/values.yaml").read_text())["alertmanager"]["config"]
    receivers = {item["name"]: item["webhook_configs"] for item in config["receivers"]}
    routes = {matcher: route["receiver"] for route in config["route"]["routes"] for matcher in route["matchers"]}
    for severity in {rule["labels"]["severity"] for rule in ALERTS.values()}:
        assert receivers[routes[f'severity="{severity}"']]
    assert config["route"]["receiver"] in receivers, "an alert without a severity is not dropped"
    assert all(set(item) == {"url_file", "send_resolved"} for items in receivers.values() for item in items)
    for rule in config["inhibit_rules"]:
        targets = rule["target_matchers"][0].partition('=~"')[2].rstrip('"').split("|")
        assert {*targets, rule["source_matchers"][0].partition("=")[2].strip('"')} <= set(ALERTS)
