"""Parameters of a training run. This module does not import scikit-learn, which takes seconds to import."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from flink_jobs.core.features.entity_risk import Entity


class ModelFamily(StrEnum):
    """Families of models; artifacts hold the value as ``kind``."""

    ISOLATION_FOREST = "isolation_forest"
    GRADIENT_BOOSTING = "gradient_boosting"


@dataclass(frozen=True, slots=True)
class TrainingParameters:
    """Parameters that determine the trees for given data.

    The default numbers of the forest were chosen on two files that the generator of the sample file made with other
    seeds, and confirmed on three more files (docs/adr/0013).

    Attributes:
        kind: value of a ``ModelFamily``. A forest needs no labels; boosting needs them.
        n_estimators: number of trees, 1 to 1,000; scoring time grows with it.
        max_samples: forest: rows per tree, at least 1. The paper's 256 assumes few anomalies; where a few percent of
            the rows are fraud, smaller samples keep frauds from hiding each other (masking).
        max_features: forest: share of the inputs that each tree sees, in (0, 1].
        bootstrap: forest: whether to draw a tree's rows with replacement.
        learning_rate: boosting: share of each tree's step that is applied, in (0, 1].
        max_leaf_nodes: boosting: leaves per tree, 2 to 64.
        min_samples_leaf: boosting: training rows per leaf, at least 1.
        l2_regularization: boosting: pulls leaf values towards zero, 0 or more.
        seed: seed of every random choice, 0 to 2^32 - 1.
        train_fraction: share of the rows, earliest first, that train the model; the later rows measure it.
        label_delay_days: days after its transaction when a label becomes known; labels that are not known at the split
            do not train.
        alerts_per_day: alert budget over all customers, for which a threshold is chosen; None chooses no threshold.
        review_cost: price of the review of an alert, main currency units: the threshold with the lowest cost is chosen;
            None: costs do not count.
        risk_entities: boosting: whose inputs are used beside the customer's (``with_risk``).
        own_features: boosting: whether the own features of the data set are used.
        train_since_ms: event time of the first row that trains or measures, UTC milliseconds; None: the first row.
        excluded_customers: number of customers of the list whose rows neither train nor measure; None: no list.
        excluded_sha256: digest of this list.
        excluded_cards: the same number of the list of cards.
        excluded_cards_sha256: digest of this list.
    """

    kind: str = ModelFamily.ISOLATION_FOREST.value
    n_estimators: int = 100
    max_samples: int = 64
    max_features: float = 1.0
    bootstrap: bool = False
    learning_rate: float = 0.08
    max_leaf_nodes: int = 15
    min_samples_leaf: int = 30
    l2_regularization: float = 1.0
    seed: int = 7
    train_fraction: float = 0.7
    label_delay_days: float = 7.0
    alerts_per_day: float | None = None
    review_cost: float | None = None
    risk_entities: tuple[Entity, ...] = ()
    own_features: bool = False
    train_since_ms: int | None = None
    excluded_customers: int | None = None
    excluded_sha256: str | None = None
    excluded_cards: int | None = None
    excluded_cards_sha256: str | None = None

    def relevant(self) -> dict[str, int | float | str | bool | None]:
        """Return the parameters that this family uses, by name, for the manifest."""
        ignored = _BOOSTING_ONLY if self.kind == ModelFamily.ISOLATION_FOREST else _FOREST_ONLY
        values = {name: value for name, value in asdict(self).items() if name not in ignored}
        if "risk_entities" in values:
            values["risk_entities"] = ",".join(self.risk_entities) or None
        # Manifests of models without these stay as they were. Those of older releases name the inputs of merchants
        # ``merchant_risk: true``; their inputs are read from ``feature_names``.
        unused = [name for name in _LATER if values.get(name) is None or values[name] is False]
        return {name: value for name, value in values.items() if name not in unused}


_FOREST_ONLY: Final = frozenset({"max_samples", "max_features", "bootstrap"})
_BOOSTING_ONLY: Final = frozenset(
    {"learning_rate", "max_leaf_nodes", "min_samples_leaf", "l2_regularization", "label_delay_days", "risk_entities",
     "own_features"}
)  # fmt: skip
_LATER: Final = frozenset(
    {"review_cost", "risk_entities", "own_features", "train_since_ms", "excluded_customers", "excluded_sha256",
     "excluded_cards", "excluded_cards_sha256"}
)  # fmt: skip
"""Parameters that came with later releases; the manifest has them only where they were used."""
