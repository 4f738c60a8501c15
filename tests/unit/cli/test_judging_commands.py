"""``streamflow evaluate`` and ``backtest`` on files, with text and with JSON output."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flink_jobs.artifacts.finder import find_model
from flink_jobs.cli.app import app
from flink_jobs.cli.traffic_commands import write_events
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.merchants.table import EntityTable
from flink_jobs.core.models.faults import ModelError
from flink_jobs.errors import UserError
from flink_jobs.settings import REPO_ROOT
from flink_jobs.traffic.simulate import SimulationPlan, simulate

EVENTS = 2_000
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def card_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cards") / "cards.jsonl"
    write_events(itertools.islice(simulate(SimulationPlan(customers=40, seed=2, fraud_rate=0.05)), EVENTS), path)
    return path


@pytest.fixture(scope="module")
def models(card_file: Path) -> Path:
    folder = card_file.parent / "models"
    run("train", "--data", card_file, "--out", folder, "--version", "small", "--trees", 10, "--train-fraction", 0.5)
    return folder


def run(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--output", "json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.mark.untraced
def test_generated_data_are_judged_by_days_with_the_inputs_of_entities(tmp_path: Path) -> None:
    path = tmp_path / "cards.csv.gz"
    written = run(
        "generate", path, "--customers", 110, "--terminals", 400, "--days", 21, "--terminals-per-merchant", 10
    )
    assert written["transactions"] > written["frauds"] > 0
    data = ("--data", path, "--mapping", "preset:handbook-merchants", "--resamples", 0)
    document = run(
        "evaluate", *data, "--protocol", "days=7,7,7", "--risk", "terminal,merchant", "--out", tmp_path / "report"
    )
    assert document["protocol"] == "days=7,7,7"
    assert document["label_delay_days"] == 7.0
    judged = document["evaluation"]
    assert judged["options"]["cards_per_day"] == 100
    assert judged["days"] == 7
    assert [one["name"] for one in judged["scores"]][-6::2] == ["merchant", "terminal", "merchant-terminal"]
    last = {name: model["feature_names"][-1] for name, model in document["models"].items()}
    assert last["merchant"] == "merchant_fraud_share_30d"
    assert last["terminal"] == last["merchant-terminal"] == "terminal_fraud_share_30d"
    assert last["challenger"] == "population_zscore"
    ends = {model["training_data"]["last_event_time_ms"] // DAY_MS for model in document["models"].values()}
    assert ends == {judged["first_event_time_ms"] // DAY_MS - 8}, "seven days without training before the test"
    options = ("--kind", "gradient_boosting", "--risk", "terminal", "--trees", 5, "--out", tmp_path / "models")
    version = str(run("train", *data[:4], *options)["version"])
    with pytest.raises(ModelError, match="add terminal to STREAMFLOW_RISK_ENTITIES"):
        find_model(str(tmp_path / "models"), None, version, None)
    assert find_model(str(tmp_path / "models"), None, version, None, EntityTable((Entity.TERMINAL,))).version == version


def test_both_families_are_trained_and_judged_and_written_out(card_file: Path, tmp_path: Path) -> None:
    document = run("evaluate", "--data", card_file, "--resamples", 50, "--label-delay-days", 1, "--out", tmp_path)
    scores = {one["name"]: one for one in document["evaluation"]["scores"]}
    assert list(scores) == ["rules", "forest", "rules + forest", "challenger", "rules + challenger"]
    assert document["evaluation"]["baseline"] == "rules + forest"
    assert document["trained_here"] is True
    assert scores["forest"]["roc_auc"]["low"] > 0.5
    names = {Path(path).name for path in document["files"]}
    assert names == {path.name for path in tmp_path.iterdir()}
    assert {"evaluation.json", "evaluation.html"} < names
    assert sum(name.startswith("model_card.") for name in names) == 2
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["evaluation"] == document["evaluation"]
    assert {"scenario"} == {group["grouping"] for group in scores["rules"]["scenarios"]}


def test_a_published_model_is_judged_and_numbers_repeat(card_file: Path, models: Path) -> None:
    command = ("evaluate", "--data", card_file, "--models", models, "--model", "small", "--resamples", 20)
    one, other = run(*command), run(*command)
    assert one["evaluation"] == other["evaluation"]
    assert [score["name"] for score in one["evaluation"]["scores"]] == ["rules", "small", "rules + small"]
    assert one["trained_here"] is False
    assert one["models"]["small"]["version"] == "small"


def test_training_writes_the_stress_scenarios_that_an_evaluation_of_its_later_part_finds(
    card_file: Path, tmp_path: Path
) -> None:
    trained = run("train", "--data", card_file, "--out", tmp_path, "--version", "v", "--trees", 10, "--seed", 3)
    options = ("--models", tmp_path, "--model", "v", "--train-fraction", 0.7, "--seed", 3, "--resamples", 20)
    (blend,) = run("evaluate", "--data", card_file, *options)["blends"].values()
    assert trained["stress"] == blend["stress"]
    draft = (tmp_path / "v" / "model_card.md").read_text()
    assert "### Stress scenarios" in draft
    assert "| amounts 20 % higher | " in draft
    assert "- Not computed: labels known 14 days later, because no input of the model depends on labels." in draft
    whole = run("train", "--data", card_file, "--out", tmp_path, "--version", "w", "--trees", 10, "--train-fraction", 1)
    assert whole["stress"] is None
    assert "Stress" not in (tmp_path / "w" / "model_card.md").read_text()


def test_the_table_on_the_terminal(card_file: Path, models: Path) -> None:
    command = ["evaluate", "--data", str(card_file), "--models", str(models), "--model", "small", "--resamples", "20"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert "rules + small" in result.stdout
    assert "impossible_travel" in result.stdout
    assert "20 resamples of customers" in result.stdout


def test_a_rule_set_on_a_file(card_file: Path, models: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  velocity: {enabled: false}\n  impossible_travel: {weight: 1.0}\n")
    document = run("backtest", "--data", card_file, "--models", models, "--rules", rules)
    alerts = document["alerts"]
    assert document["decisions"] == document["labelled"] == EVENTS
    assert document["degraded"] == {"before": 0, "after": 0}
    assert alerts["before"]["alerts"] == alerts["kept"]["alerts"] + alerts["lost"]["alerts"]
    assert alerts["after"]["alerts"] == alerts["kept"]["alerts"] + alerts["gained"]["alerts"]
    assert document["rules"]["HIGH_VELOCITY"]["after"]["alerts"] == 0
    assert document["rules"]["HIGH_VELOCITY"]["before"]["alerts"] > 0
    assert len(document["examples"]["lost"]) == min(10, alerts["lost"]["alerts"]) > 0


def test_a_model_against_none_and_nothing_against_itself(card_file: Path, models: Path) -> None:
    command = ("backtest", "--data", card_file, "--models", models)
    against = run(*command, "--model", "small", "--against-model", "none")
    assert against["degraded"] == {"before": EVENTS, "after": 0}
    assert against["changed_scores"] > EVENTS / 2
    same = run(*command)
    assert same["changed_scores"] == same["alerts"]["gained"]["alerts"] == same["alerts"]["lost"]["alerts"] == 0


def test_a_backtest_in_words(card_file: Path, models: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("alert_threshold: 0.9")
    command = ["backtest", "--data", str(card_file), "--models", str(models), "--rules", str(rules)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert "Alerts lost, the largest changes" in result.stdout
    assert "HIGH_AMOUNT" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("backtest",), "either a file or the recorded decisions"),
        (("backtest", "--data", "x.csv", "--since", "1d"), "choose recorded decisions"),
        (("backtest", "--from-decisions", "--against-model", "none"), "compares with the recorded decisions"),
        (("backtest", "--data", "{cards}", "--model", "nobody"), "the model cannot be used"),
        (("evaluate", "--data", "{cards}", "--model", "nobody"), "the model cannot be evaluated"),
        (("train", "--from-decisions", "--mapping", "x.yaml"), "are for a file"),
        (("train",), "either a file or the recorded decisions"),
        (("drift", "--once", "--serve", "0"), "exclude each other"),
    ],
)
def test_errors_say_what_to_do(arguments: tuple[str, ...], problem: str, card_file: Path) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        CliRunner().invoke(app, [one.format(cards=card_file) for one in arguments], catch_exceptions=False)
    assert caught.value.fix


def test_help_does_not_wait_for_heavy_imports() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from flink_jobs.cli.app import app\n"
        "for command in ('evaluate', 'backtest', 'drift', 'precision'):\n"
        "    assert CliRunner().invoke(app, [command, '--help']).exit_code == 0, command\n"
        "assert not {'sklearn', 'psycopg'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO_ROOT)
