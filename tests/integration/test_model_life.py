"""The life cycle of a model on a running job and its archive, through the user's commands, without a restart.

The tests build on each other in the order of the file; both jobs run through the whole file.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import psycopg
import pytest
from typer.testing import CliRunner

from api.console.accounts import add_account, create_token
from api.console.roles import Role
from api.keys import Scope, create_key
from api.model_requests.carrying import carry_out_next
from api.settings import ApiSettings
from flink_jobs.cards.card_files import read_events
from flink_jobs.cards.mapping import load_mapping
from flink_jobs.cli.app import app
from flink_jobs.cli.data_source import DataChoice, read_data
from flink_jobs.core.features.table import FEATURE_NAMES, NEUTRAL_VALUES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.model import load_model
from flink_jobs.core.transaction import Transaction
from flink_jobs.errors import UserError
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings, load_settings
from flink_jobs.waiting import wait_for
from flink_jobs.warehouse import retraining
from ml.dataset import FRAUD, GENUINE, Dataset
from ml.parameters import TrainingParameters
from ml.train import training_parts
from tests.integration import jobs
from tests.integration.api_server import client, serving
from tests.unit.job.samples import write_model

PREFIX = "model-life"
LATER_ROWS = 12_000
DESK_ROWS, DESK_SHARE = 12_000, 7
"""The rows of the card file, nearly three weeks, and which share of the customers is sent: one of so many."""
DESK_YEARS_EARLIER_S = 10 * 365 * 86_400
LABEL_DELAY_MS = 7 * 86_400_000
PATIENCE_S = 400
SUSPICIOUS_OF_THE_ORDINARY: dict[str, Any] = {
    "feature": [1, -1, 0, -1, -1, -1],  # velocity_count <= 3 is one row of eight, the rarest value
    "threshold": [3.0, 0.0, 1.5, 0.0, 0.0, 0.0],
    "left": [1, -1, 3, -1, -1, -1],
    "right": [2, -1, 4, -1, -1, -1],
    "n_samples": [8, 1, 7, 5, 2, 8],
}


@dataclass
class Life:
    """The running jobs, and the command line that controls them."""

    stack: Stack
    job_id: str
    models: Path
    good: str
    runs: Iterator[int]
    others: frozenset[str] = frozenset()
    """Versions that other tests registered on this stack."""

    def run(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        """Run a command and return its JSON."""
        result = CliRunner().invoke(app, [*arguments, "--output", "json"])
        if isinstance(result.exception, UserError):
            raise result.exception
        assert result.exit_code in {0, 1}, result.output
        answer = orjson.loads(result.stdout)
        return (result.exit_code, answer) if result.exit_code else answer

    def decisions(self, events: int = 5) -> list[dict[str, Any]]:
        """Send events of new customers; return the decisions."""
        run = f"life{next(self.runs)}"
        ledger = jobs.send(self.stack, jobs.card_events(run, events), prefix=PREFIX)
        assert jobs.account(self.stack, ledger, PREFIX).is_as_expected
        decided = jobs.committed(self.stack, "decisions", PREFIX)
        mine = [item for item in decided if item["customer_id"].startswith(f"{run}-")]
        assert len(mine) == events
        return mine

    def stages(self) -> dict[str, str]:
        listed = {item["version"]: item["stage"] for item in self.run("model", "list")}
        return {version: stage for version, stage in listed.items() if version not in self.others}

    def wait_rows(self, query: str, *parameters: object, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the archive has written this number of rows."""

        def found() -> list[dict[str, Any]] | None:
            rows = jobs.rows(self.stack, query, *parameters)
            return rows if len(rows) >= count else None

        return wait_for(found, limit_s=PATIENCE_S, what=f"{count} rows in Postgres")


@pytest.fixture(scope="module")
def life(stack: Stack, model_dir: Path) -> Iterator[Life]:
    patch = pytest.MonkeyPatch()
    environment = {
        "STREAMFLOW_HOME": str(stack.home.root),
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "500",
        "STREAMFLOW_MODEL_DIR": str(model_dir),
        "STREAMFLOW_TOPIC_PREFIX": jobs.own_topics(stack, PREFIX),
    }
    for name, value in environment.items():
        patch.setenv(name, value)
    try:
        with jobs.running_jobs(stack, environment) as ids:
            lab = Life(stack, ids["detect"], model_dir, (model_dir / "current").read_text().strip(), itertools.count())
            lab.others = frozenset(lab.stages())
            yield lab
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def later_cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last rows of the card file, none of which trained the model of `model_dir`."""
    target = tmp_path_factory.mktemp("cards") / "later.csv"
    with gzip.open(jobs.CARD_FILE, "rt", newline="") as file:
        rows = list(csv.reader(file))
    with target.open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *rows[-LATER_ROWS:]])
    return target


def test_a_registered_model_becomes_champion_once_the_job_confirms_it(life: Life) -> None:
    assert life.run("model", "register", life.good)["new"] is True
    assert life.run("model", "register", life.good)["new"] is False

    done = life.run("model", "promote", life.good, "--to", "champion", "--reason", "the first")

    assert done["promoted"]
    assert life.stages() == {life.good: "champion"}
    assert {(item["model_version"], item["variant"]) for item in life.decisions()} == {(life.good, "champion")}


def test_a_shadow_scores_beside_it_without_a_restart(life: Life) -> None:
    write_model(life.models, "poor")
    life.run("model", "register", "poor")

    life.run("model", "promote", "poor", "--to", "shadow", "--reason", "to watch it")

    decided = life.decisions()
    assert {item["model_version"] for item in decided} == {life.good}
    assert {item["shadow"]["model_version"] for item in decided} == {"poor"}
    assert life.stages() == {life.good: "champion", "poor": "shadow"}


def test_the_gate_refuses_a_worse_model_with_its_reasons(life: Life, later_cards: Path) -> None:
    promotion = ("model", "promote", "poor", "--to", "champion", "--reason", "hope")
    code, blind = life.run(*promotion)
    assert (code, [check["name"] for check in blind["checks"] if not check["passed"]]) == (1, ["comparison"])

    code, refused = life.run(*promotion, "--data", str(later_cards), "--mapping", str(jobs.CARD_MAPPING))

    failed = {check["name"]: check["detail"] for check in refused["checks"] if not check["passed"]}
    assert (code, refused["promoted"]) == (1, False)
    assert "average precision" in failed
    assert "the champion 0." in failed["average precision"]
    assert life.stages()["poor"] == "shadow"
    events = life.run("model", "history", "poor")
    assert [event["event"] for event in events][-2:] == ["gate_refused", "gate_refused"]
    assert {item["model_version"] for item in life.decisions()} == {life.good}


def test_a_forced_promotion_records_its_user_and_one_command_rolls_back(life: Life) -> None:
    done = life.run("model", "promote", "poor", "--to", "champion", "--reason", "a drill", "--force", "--by", "drill")

    assert (done["promoted"], done["forced"]) == (True, True)
    assert life.stages() == {life.good: "archived", "poor": "champion"}
    decided = life.decisions()
    assert {(item["model_version"], item["shadow"]) for item in decided} == {("poor", None)}, "no longer its own shadow"
    overruled = [event for event in life.run("model", "history", "poor") if event["event"] == "gate_overruled"]
    assert [(event["actor"], event["reason"]) for event in overruled] == [("drill", "a drill")]

    back = life.run("model", "rollback", "--reason", "the drill is over")

    assert (back["from"], back["to"]) == ("poor", life.good)
    assert life.stages() == {life.good: "champion", "poor": "archived"}
    assert {item["model_version"] for item in life.decisions()} == {life.good}


def test_two_persons_change_the_models_in_the_console(life: Life) -> None:
    """The job takes each model without a restart; for the urgent rollback the API itself starts the process."""
    settings = life.stack.settings().model_copy(update={"topic_prefix": PREFIX})
    for name, role in (("life-asks", Role.RULES_EDITOR), ("life-approves", Role.APPROVER)):
        add_account(settings.postgres_dsn, name, [role], by="pytest")
    with people(settings, starts=False) as (asks, approves):
        shadow = asks.send("promotions", version="poor", stage="shadow", days="1", reason="again")
        assert carry_out_next(load_settings(), print)
        asks.wait(shadow, "waits for approval")
        assert life.stages()["poor"] == "archived"
        approves.send(f"requests/{shadow}/approve", reason="it may watch")
        assert carry_out_next(load_settings(), print)
        asks.wait(shadow, "done")
        back = asks.send("rollbacks", version="poor", reason="a drill")
        assert asks.post(f"requests/{back}/approve", reason="mine").status_code == 403
        approves.send(f"requests/{back}/approve", reason="a drill")
        assert carry_out_next(load_settings(), print)
        approves.wait(back, "done")
    assert life.stages() == {life.good: "archived", "poor": "champion"}
    assert {(item["model_version"], item["shadow"]) for item in life.decisions()} == {("poor", None)}
    with people(settings, starts=True) as (_, approves):
        urgent = approves.send("rollbacks", version=life.good, reason="the drill is over", urgent="yes")
        approves.wait(urgent, "done")
    assert life.stages() == {life.good: "champion", "poor": "archived"}
    changes = [
        (event["actor"], event["to_stage"]) for event in life.run("model", "history", "poor") if event["control_id"]
    ]
    both = "user:life-asks, approved by user:life-approves"
    assert changes[-3:] == [(both, "shadow"), (both, "champion"), ("user:life-approves, alone (urgent)", "archived")]


@contextmanager
def people(settings: Settings, *, starts: bool) -> Iterator[list[Person]]:
    """Yield a person who asks and one who approves; ``starts``: the API starts the process that does the work."""
    own = ApiSettings(secure_cookie=False, case_work=False, model_work=starts)
    with serving(settings, own) as url, ExitStack() as stack:
        yield [
            Person(settings, stack.enter_context(client(url, follow_redirects=True)), name)
            for name in ("life-asks", "life-approves")
        ]


class Person:
    """A person at the page of the models."""

    def __init__(self, settings: Settings, http: httpx.Client, name: str) -> None:
        self._http = http
        http.post("/console/login", data={"token": create_token(settings.postgres_dsn, name, by="pytest")})

    def post(self, path: str, **values: str) -> httpx.Response:
        csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', self._http.get("/console/models").text)
        assert csrf is not None
        return self._http.post(f"/console/models/{path}", data={"csrf": csrf[1], **values})

    def send(self, path: str, **values: str) -> str:
        """Send a form; return the number of the request."""
        answer = self.post(path, **values)
        assert answer.status_code == 200, answer.text
        return answer.url.path.rpartition("/")[2]

    def wait(self, number: str, state: str) -> None:
        def is_there() -> bool:
            page = self._http.get(f"/console/models/requests/{number}").text
            assert 'class="problem"' not in page, page
            return f'<span class="tag">{state}</span>' in page

        wait_for(is_there, limit_s=PATIENCE_S, what=f"a request that is {state}")


def test_a_model_that_the_job_refuses_is_not_recorded_as_promoted(life: Life) -> None:
    write_model(life.models, "vanished")
    life.run("model", "register", "vanished")
    (life.models / "vanished" / "model.npz").write_bytes(b"not what was registered")

    for stage in ("shadow", "champion"):
        with pytest.raises(
            UserError, match=f"did not confirm vanished as {stage} .*the previous model is in force again"
        ):
            life.run("model", "promote", "vanished", "--to", stage, "--reason", "test", "--force")
    assert life.stages()["vanished"] == "candidate"
    assert [item["event"] for item in life.run("model", "history", "vanished")].count("job_refused") == 2
    assert {item["model_version"] for item in life.decisions()} == {life.good}


def test_the_guard_ends_an_experiment_and_the_champion_scores_again(life: Life) -> None:
    write_model(life.models, "wild", **SUSPICIOUS_OF_THE_ORDINARY)
    life.run("model", "register", "wild")
    ordinary = FeatureVector(*NEUTRAL_VALUES), Transaction("t", "c", 100, "USD", 0)
    wild, good = (load_model(life.models / name, FEATURE_NAMES).score(*ordinary) for name in ("wild", life.good))
    assert wild > good + 0.1
    life.run("control", "set-alpha", "1", "--reason", "test")
    life.run("control", "set-threshold", str(wild - 0.05), "--reason", "test")

    trial = ("--id", "spring", "--share", "0.5", "--min-decisions", "40", "--reason", "test")
    life.run("experiment", "start", "wild", *trial)
    assert {item["variant"] for item in life.decisions(400)} == {"champion", "challenger"}

    def ended() -> bool:
        return not life.run("experiment", "status")["is_on"]

    wait_for(ended, limit_s=PATIENCE_S, what="the guard's control message")
    status = life.run("experiment", "status")
    assert (status["ended_by_guard"], status["experiment"]["id"]) == (True, "spring")
    assert "times as often" in status["why_ended"]
    assert {item["variant"] for item in life.decisions(40)} == {"champion"}
    with pytest.raises(UserError, match="the guard has stopped experiment spring"):
        life.run("experiment", "start", "wild", *trial)
    life.wait_rows("SELECT 1 FROM ops.control_audit WHERE control_id = 'guard-spring' AND outcome = 'applied'")
    assert life.stack.rest().failures(life.job_id) == []


def test_labels_arrive_late_and_the_latest_wins(life: Life, tmp_path: Path) -> None:
    cards = tmp_path / "cards.csv"
    with gzip.open(jobs.CARD_FILE, "rt") as file:
        cards.write_text("".join(itertools.islice(file, 51)))
    arguments = ("--mapping", str(jobs.CARD_MAPPING), "--delay-days", "10", "--prefix", "lab-")
    assert life.run("label", "--from-file", str(cards), *arguments)["sent"] == 50
    rows = life.wait_rows("SELECT * FROM raw.labels WHERE customer_id LIKE 'lab-%%'", count=50)
    one = rows[0]
    assert {row["label"] for row in rows} <= {"fraud", "genuine"}

    jobs.send_raw(life.stack, f"{PREFIX}.labels", [b"not a label", b'{"label_id": "lb_x", "label": "maybe"}', b""])
    other = "genuine" if one["label"] == "fraud" else "fraud"
    # Version 3 of the contract: the archive keeps such a label as every other one.
    known = ("--terminal", "till-4", "--card", "tok_1", "--event-time", "2019-01-01T00:00:00Z")
    who = ("--customer", one["customer_id"], "--as", other, "--source", "chargeback")
    life.run("label", one["transaction_id"], *who, *known)

    key = (one["customer_id"], one["transaction_id"])
    life.wait_rows("SELECT 1 FROM raw.labels WHERE customer_id = %s AND transaction_id = %s", *key, count=2)
    query = "SELECT label, source FROM raw.latest_labels WHERE customer_id = %s AND transaction_id = %s"
    assert jobs.rows(life.stack, query, *key) == [{"label": other, "source": "chargeback"}]
    with pytest.raises(UserError, match="the label is not valid"):
        life.run("label", "t-1", "--customer", "x" * 65, "--as", "fraud")


def test_explain_shows_an_alert_and_an_ordinary_decision(life: Life) -> None:
    life.run("control", "set-alpha", "0.5", "--reason", "test")
    life.run("control", "set-threshold", "0.01", "--reason", "test")
    (alert, *_) = life.decisions(2)
    life.run("control", "set-threshold", "1", "--reason", "test")
    (quiet, *_) = life.decisions(2)
    for decision, is_alert in ((alert, True), (quiet, False)):
        key = decision["transaction_id"], decision["customer_id"]
        life.wait_rows("SELECT 1 FROM raw.decisions WHERE transaction_id = %s AND customer_id = %s", *key)
        told = life.run("explain", key[0], "--customer", key[1])
        assert told["found_in"] == "Postgres"
        assert told["decision"]["is_alert"] is is_alert
        total = told["base"] + sum(share["adds"] for share in told["shares"])
        assert total == pytest.approx(decision["ml_score"], abs=1e-9)
        assert {share["feature"] for share in told["shares"]} & set(FEATURE_NAMES)
        assert all(share["meaning"] for share in told["shares"])
        plain = CliRunner().invoke(app, ["explain", key[0], "--customer", key[1]])
        assert plain.exit_code == 0, plain.output
        assert f"the model {life.good} starts at" in plain.output
    with pytest.raises(UserError, match="no decision on nobody"):
        life.run("explain", "nobody")


def test_a_verdict_on_an_alert_trains_a_shadow_model(life: Life, tmp_path: Path) -> None:
    """From an alert to a shadow model that learned the verdict: the steps of the API, the relay and the DAG."""
    life.run("control", "set-threshold", "0.2", "--reason", "test")
    cards = desk_cards(tmp_path)
    events = [jobs.renamed(event, "desk") for event in read_events(cards, load_mapping(jobs.CARD_MAPPING))]
    assert jobs.account(life.stack, jobs.send(life.stack, events, prefix=PREFIX), PREFIX).is_as_expected
    life.run("label", "--from-file", str(cards), "--mapping", str(jobs.CARD_MAPPING), "--prefix", "desk-")
    for table in ("decisions", "labels"):
        life.wait_rows(f"SELECT 1 FROM raw.{table} WHERE customer_id LIKE 'desk-%%'", count=len(events))  # noqa: S608
    before = known_rows()

    # An early alert: the labels of the last days are not known yet when a model is trained.
    until_ms = int(before.event_time_ms.max()) - LABEL_DELAY_MS
    known = (
        "SELECT customer_id, transaction_id, label FROM raw.alerts JOIN raw.latest_labels "
        "USING (customer_id, transaction_id) WHERE customer_id LIKE 'desk-%%' AND event_time_ms < %s "
        "ORDER BY event_time_ms, transaction_id"
    )
    alert = life.wait_rows(known, until_ms)[0]
    decide_otherwise(life, alert)
    version = retraining.train_version("gradient_boosting", "a verdict")

    trained_on = orjson.loads((life.models / version / "manifest.json").read_bytes())["training_data"]
    (row,) = np.flatnonzero(before.transaction_ids == alert["transaction_id"])
    assert (trained_on["features_sha256"], trained_on["rows"]) == (before.digest(), len(before))
    assert before.labels[row] == (FRAUD if alert["label"] == "fraud" else GENUINE)
    before.labels[row] = GENUINE if alert["label"] == "fraud" else FRAUD
    assert trained_on["labels_sha256"] == before.labels_digest(), "the verdict, and no other label, is new"
    assert retraining.promote(version, "shadow") == "shadow"
    assert {item["shadow"]["model_version"] for item in life.decisions()} == {version}


def desk_cards(folder: Path) -> Path:
    """Write three weeks of some customers, dated before the rows of all other tests on this stack.

    So other tests' rows cannot move the end of the training part before the day on which the labels are known.
    """
    target = folder / "cards.csv"
    with gzip.open(jobs.CARD_FILE, "rt", newline="") as file, target.open("w", newline="") as kept:
        rows, writer = csv.DictReader(itertools.islice(file, DESK_ROWS + 1)), csv.writer(kept)
        writer.writerow(rows.fieldnames or ())
        for row in rows:
            if int(row["acct_num"]) % DESK_SHARE == 0:
                writer.writerow({**row, "unix_time": int(row["unix_time"]) - DESK_YEARS_EARLIER_S}.values())
    return target


def known_rows() -> Dataset:
    """Return the rows, with the labels, from which ``retraining.train_version`` would learn now."""
    source = read_data(DataChoice(None, None, False, True, None, None, None))  # noqa: FBT003
    return training_parts(source.dataset, TrainingParameters("gradient_boosting"), source.source)[0]


def decide_otherwise(life: Life, alert: dict[str, Any]) -> None:
    """Give an alert the verdict that its label does not have, in its case, and wait for the new label."""
    settings = life.stack.settings().model_copy(update={"topic_prefix": PREFIX})
    key = create_key(settings.postgres_dsn, "desk", list(Scope), created_by="pytest")
    headers = {"Authorization": f"Bearer {key}"}
    customer, transaction = alert["customer_id"], alert["transaction_id"]
    body = {
        "verdict": "genuine" if alert["label"] == "fraud" else "fraud",
        "reason": "the cardholder was asked",
        "transaction_ids": [transaction],
    }
    with (
        serving(settings, ApiSettings(case_undo_s=0, case_every_s=0.2)) as url,
        client(url, headers) as http,
    ):
        found = "SELECT case_id FROM cases.alerts WHERE customer_id = %s AND transaction_id = %s"
        case = life.wait_rows(found, customer, transaction)[0]["case_id"]

        def accepted() -> bool:
            tag = {"If-Match": http.get(f"/v1/cases/{case}").headers["ETag"]}
            answer = http.post(f"/v1/cases/{case}/verdict", json=body, headers=tag)
            assert answer.status_code in {200, 412}, answer.text  # 412: an alert joined the case meanwhile
            return answer.status_code == 200

        wait_for(accepted, limit_s=PATIENCE_S, what="the verdict")
        labels = "SELECT 1 FROM raw.labels WHERE customer_id = %s AND transaction_id = %s"
        life.wait_rows(labels, customer, transaction, count=2)


def test_retraining_ends_with_a_shadow_model_in_the_job(life: Life) -> None:
    """The commands of the DAG; repeating them changes nothing."""
    life.run("control", "set-threshold", "0.4", "--reason", "test")
    champion = next(version for version, stage in life.stages().items() if stage == "champion")
    version = retraining.train_version("isolation_forest", "a test")
    assert life.stages()[version] == "candidate"
    for _ in range(2):
        assert retraining.train_version("isolation_forest", "a test") == version
        assert retraining.promote(version, "shadow") == "shadow"
    assert {(item["model_version"], item["shadow"]["model_version"]) for item in life.decisions()} == {
        (champion, version)
    }
    with pytest.raises(UserError, match=f"the gate refuses {version} as champion .comparison: give --data"):
        retraining.promote(version, "champion")
    assert life.stages()[version] == "shadow"


def test_a_file_that_breaks_in_the_middle_is_accounted_for_and_resumed(life: Life, tmp_path: Path) -> None:
    cards = tmp_path / "cards.csv"
    cards.with_name("cards.mapping.yaml").write_text(
        "fields: {transaction_id: id, customer_id: cust, amount: {column: amt, unit: major}, "
        "currency: {constant: USD}, event_time: {column: ts, format: unix_s}}"
    )
    lines = [f"half-{number},half-{number % 3},{1_704_067_200 + number},9.99" for number in range(30)]
    header = "id,cust,ts,amt"
    broken = [*lines[:18], lines[18].replace("9.99", "nine"), *lines[19:]]

    def replay(rows: list[str], *options: str) -> tuple[BaseException | None, dict[str, Any]]:
        cards.write_text("\n".join([header, *rows, ""]))
        command = ["replay", str(cards), "--account", str(PATIENCE_S), "--output", "json", *options]
        result = CliRunner().invoke(app, command)
        return result.exception, orjson.loads(result.stdout)

    failure, first = replay(broken)
    assert isinstance(failure, UserError)
    assert "row 20: column amt" in failure.what
    assert "18 records were sent before, up to row 19" in failure.what
    assert "--resume" in failure.fix
    assert (first["sent"], first["account"]["decided"], first["account"]["balanced"]) == (18, 18, True)

    failure, rest = replay(lines, "--resume")
    assert failure is None
    assert (rest["sent"], rest["account"]["decided"], rest["account"]["duplicates"]) == (12, 12, 0)
    decided = [item["transaction_id"] for item in jobs.committed(life.stack, "decisions", PREFIX)]
    mine = sorted(name for name in decided if name.startswith("half-"))
    assert mine == sorted(f"half-{number}" for number in range(30)), "each transaction is scored once"


def test_every_offset_has_its_row_and_a_missing_row_is_reported(life: Life) -> None:
    life.decisions(20)

    def compared(wait: float) -> tuple[int, dict[str, Any]]:
        result = CliRunner().invoke(app, ["completeness", "--wait", str(wait), "--output", "json"])
        return result.exit_code, orjson.loads(result.stdout)

    topic = f"{PREFIX}.transactions"

    def all_read() -> list[dict[str, Any]] | None:  # the detector commits its offsets to Kafka with a short delay
        code, document = compared(PATIENCE_S)
        assert code == 0, document
        inputs = [item for item in document["partitions"] if item["topic"] == topic]
        return inputs if all((item["read_offset"] or 0) == item["end_offset"] for item in inputs) else None

    inputs = wait_for(all_read, limit_s=PATIENCE_S, what="the detector to tell what it has read")
    sent = sum(item["end_offset"] - item["first_offset"] for item in inputs)
    assert sent > 0
    outcomes = "SELECT source_partition, source_offset FROM raw.{} WHERE source_topic = %s"
    decisions = jobs.rows(life.stack, outcomes.format("decisions"), topic)
    letters = jobs.rows(life.stack, outcomes.format("dead_letters") + " AND disposition <> 'incident'", topic)
    assert sent == len({tuple(row.values()) for row in decisions + letters})

    lost = max(decisions, key=lambda row: row["source_offset"])
    with psycopg.connect(life.stack.settings().postgres_dsn) as connection:
        connection.execute(
            "DELETE FROM raw.decisions WHERE source_topic = %s AND source_partition = %s AND source_offset = %s",
            (topic, *lost.values()),
        )
    code, document = compared(0)
    assert code == 3
    missing = {item["partition"]: item["missing"] for item in document["partitions"] if item["topic"] == topic}
    assert {partition for partition, count in missing.items() if count} == {lost["source_partition"]}
    assert sum(missing.values()) == 1
    kept = jobs.rows(life.stack, "SELECT sum(missing) AS missing FROM ops.kafka_positions WHERE topic = %s", topic)
    assert kept == [{"missing": 1}]
