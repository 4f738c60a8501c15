"""The gate of a promotion: loads the models, measures them, and returns the result of every check."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flink_jobs.artifacts.finder import find_model
from flink_jobs.cards.card_files import mapping_for, read_events
from flink_jobs.cards.time_order import oldest_first
from flink_jobs.core.features.table import NEUTRAL_VALUES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.state.customer import CustomerFraudState
from flink_jobs.core.transaction import Transaction
from flink_jobs.model_registry.stages import ModelStage
from ml.gate import NO_CHAMPION, Check, check_speed, compare

if TYPE_CHECKING:
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.models.lineup import Model
    from flink_jobs.core.own_features.values import OwnValues
    from flink_jobs.model_registry.promotion import PromotionRequest
    from flink_jobs.model_registry.versions import RegisteredModel, Registry
    from flink_jobs.settings import Settings
    from ml.merchant_risk import MerchantReplay


class _Inputs(NamedTuple):
    """What the models read beside features: the history of merchants, replayed, and own features."""

    merchants: MerchantReplay | None
    own: OwnValues | None


def run_gate(
    settings: Settings, registry: Registry, asked: PromotionRequest, config: DetectionConfig, now_ms: int
) -> list[Check]:
    """Run the checks that the target stage needs; stop after a check whose failure makes the later ones impossible."""
    from ml.gate_measures import median_score_us  # noqa: PLC0415 - scikit-learn takes seconds to import
    from ml.merchant_risk import MerchantReplay  # noqa: PLC0415 - numpy

    inputs = _Inputs(MerchantReplay() if settings.merchant_risk else None, settings.own_values())
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
        detail = f"the champion cannot be loaded to compare with ({check.detail})"
        return [*checks, Check("comparison", passed=True, detail=detail)]
    if asked.data is None:
        detail = f"give --data: labelled cards to compare with {present.version}"
        return [*checks, Check("comparison", passed=False, detail=detail)]
    pair = [(candidate, registry.get(asked.version)), (champion, present)]
    return [*checks, *_compare_on_cards(asked, pair, inputs, config, now_ms)]


def _compare_on_cards(
    asked: PromotionRequest,
    pair: list[tuple[Model, RegisteredModel]],
    inputs: _Inputs,
    config: DetectionConfig,
    now_ms: int,
) -> list[Check]:
    from ml.gate_measures import Contender, measure_together  # noqa: PLC0415 - as above

    assert asked.data is not None  # noqa: S101 - the caller has checked it
    contenders = [Contender(model, item.manifest["training_data"]["last_event_time_ms"]) for model, item in pair]
    data, columns = asked.data, mapping_for(asked.data, asked.mapping)
    candidate, champion = oldest_first(
        lambda: read_events(data, columns),
        lambda events: measure_together(events, contenders, config, now_ms, *inputs),
        lambda _number: None,
    )
    return compare(candidate, champion, asked.bounds)


def _load_registered(settings: Settings, item: RegisteredModel, inputs: _Inputs) -> tuple[Model | None, Check]:
    """Load a version from its store, as the job does, and compare its digest with the digest in the registry."""
    name, store = "artifact", item.artifact_uri.rpartition("/")[0]
    try:
        model = find_model(str(settings.model_dir), store, item.version, item.digest, *inputs)
    except ModelError as error:
        return None, Check(name, passed=False, detail=error.detail)
    return model, Check(name, passed=True, detail=f"loads, digest {item.digest[:12]}, known features")
