"""The gate of a promotion: loads the models, measures them, and returns the result of every check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from flink_jobs.artifacts.finder import find_model
from flink_jobs.core.features.entity_risk import ENTITY_OF, Entity
from flink_jobs.core.features.table import NEUTRAL_VALUES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.own_features.declaration import is_own
from flink_jobs.core.state.customer import CustomerFraudState
from flink_jobs.core.transaction import Transaction
from flink_jobs.model_registry.stages import ModelStage
from ml.gate import NO_CHAMPION, Check, check_speed, compare
from ml.history.connection import warehouse
from ml.history.decisions import Period, measure_period, read_decisions

if TYPE_CHECKING:
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.models.lineup import Model
    from flink_jobs.core.models.model import TreeModel
    from flink_jobs.core.own_features.values import OwnValues
    from flink_jobs.model_registry.promotion import CardRows, PromotionRequest
    from flink_jobs.model_registry.versions import RegisteredModel, Registry
    from flink_jobs.settings import Settings
    from ml.entity_risk import RiskReplay

MOST_DECISIONS: Final = 1_000_000
"""Each recorded decision is scored twice; this takes some minutes for as many."""
_DAY_MS: Final = 86_400_000


class _Inputs(NamedTuple):
    """What the models read beside features: the histories that the setting names, and own features."""

    histories: RiskReplay | None
    own: OwnValues | None


def run_gate(
    settings: Settings, registry: Registry, asked: PromotionRequest, config: DetectionConfig, now_ms: int
) -> list[Check]:
    """Run the checks that the target stage needs; stop after a check whose failure makes the later ones impossible."""
    from ml.entity_risk import RiskReplay  # noqa: PLC0415 - numpy
    from ml.gate_measures import median_score_us  # noqa: PLC0415 - scikit-learn takes seconds to import

    inputs = _Inputs(RiskReplay(settings.entities) if settings.entities else None, settings.own_values())
    candidate, check = _load_registered(settings, registry.get(asked.version), inputs)
    checks = [check]
    if candidate is None:
        return checks
    plain = Transaction("gate", "gate", 1_000, "USD", now_ms)
    if inputs.own is not None:
        inputs.own.compute(CustomerFraudState(), plain)
    checks.append(check_speed(median_score_us(candidate, FeatureVector(*NEUTRAL_VALUES), plain), asked.bounds))
    if asked.to is not ModelStage.CHAMPION:
        return checks
    present = registry.at(ModelStage.CHAMPION)
    if present is None:
        return [*checks, Check("comparison", passed=True, detail=NO_CHAMPION)]
    champion, check = _load_registered(settings, present, inputs)
    if champion is None:
        detail = (
            f"the champion {present.version} cannot be loaded to compare with ({check.detail}); restore its artifact, "
            "or promote without a comparison with --force"
        )
        return [*checks, Check("comparison", passed=False, detail=detail)]
    pair = [(candidate, registry.get(asked.version)), (champion, present)]
    if asked.cards is not None:
        return [*checks, *_compare_on_cards(asked, asked.cards, pair, inputs, config)]
    return [*checks, *_compare_on_decisions(settings, asked, pair, config)]


def _compare_on_cards(
    asked: PromotionRequest,
    cards: CardRows,
    pair: list[tuple[Model, RegisteredModel]],
    inputs: _Inputs,
    config: DetectionConfig,
) -> list[Check]:
    """Compare on one replay of the card file, with the inputs that at least one of the models reads."""
    from ml.gate_measures import Contender, measure_together  # noqa: PLC0415 - as above

    contenders = [Contender(model, _trained_until_ms(item)) for model, item in pair]
    names = _input_names(pair)
    read = {ENTITY_OF[name] for name in names if name in ENTITY_OF}
    own = inputs.own if any(is_own(name) for name in names) else None
    rows = cards(config, own, tuple(entity for entity in Entity if entity in read))
    candidate, champion = measure_together(rows, contenders, config)
    return compare(candidate, champion, asked.bounds)


def _compare_on_decisions(
    settings: Settings, asked: PromotionRequest, pair: list[tuple[Model, RegisteredModel]], config: DetectionConfig
) -> list[Check]:
    """Compare on the decisions of the days before the newest one, as far as they are later than both trainings."""
    from ml.gate_measures import Contender, measure_recorded  # noqa: PLC0415 - as above

    if asked.days is None:
        detail = f"give --data (labelled cards) or --from-decisions to compare with {pair[1][1].version}"
        return [Check("comparison", passed=False, detail=detail)]
    for name in _input_names(pair):
        if name in ENTITY_OF or is_own(name):
            detail = f"recorded decisions cannot give {name} to a model: compare with --data"
            return [Check("comparison", passed=False, detail=detail)]
    contenders = [Contender(model, _trained_until_ms(item)) for model, item in pair]
    with warehouse(settings.postgres_dsn) as connection:
        row = connection.execute("SELECT max(event_time_ms) AS newest FROM raw.decisions").fetchone()
        if row is None or row["newest"] is None:
            return [Check("evaluation", passed=False, detail="no decision is stored")]
        first_ms = max(contender.trained_until_ms for contender in contenders) + 1
        period = Period(since_ms=max(first_ms, row["newest"] - asked.days * _DAY_MS), until_ms=row["newest"] + 1)
        count = measure_period(connection, period).decisions
        if count > MOST_DECISIONS:
            detail = f"{count:,} decisions, at most {MOST_DECISIONS:,}: choose fewer days"
            return [Check("evaluation", passed=False, detail=detail)]
        candidate, champion = measure_recorded(read_decisions(connection, period), contenders, config)
    return compare(candidate, champion, asked.bounds)


def _input_names(pair: list[tuple[Model, RegisteredModel]]) -> list[str]:
    return [name for model, _ in pair for name in cast("TreeModel", model).manifest.feature_names]


def _trained_until_ms(item: RegisteredModel) -> int:
    return item.manifest["training_data"]["last_event_time_ms"]


def _load_registered(settings: Settings, item: RegisteredModel, inputs: _Inputs) -> tuple[Model | None, Check]:
    """Load a version from its store, as the job does, and compare its digest with the digest in the registry."""
    name, store = "artifact", item.artifact_uri.rpartition("/")[0]
    try:
        model = find_model(str(settings.model_dir), store, item.version, item.digest, *inputs)
    except ModelError as error:
        return None, Check(name, passed=False, detail=error.detail)
    return model, Check(name, passed=True, detail=f"loads, digest {item.digest[:12]}, known features")
