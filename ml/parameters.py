"""What a training run may choose; kept apart from scikit-learn, which takes seconds to import."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The families of models; the values are those of the artifacts."""

    ISOLATION_FOREST = "isolation_forest"
    GRADIENT_BOOSTING = "gradient_boosting"


@dataclass(frozen=True, slots=True)
class TrainingParameters:
    """What decides the trees besides the data.

    The numbers of the forest were chosen on two files of the generator behind the sample file, with other seeds, and
    confirmed on three further ones (docs/adr/0013).

    Attributes:
        kind: the family. A forest needs no labels; boosting does.
        n_estimators: trees, 1 to 1,000; scoring time grows with it.
        max_samples: forest: rows per tree, at least 1. The paper's 256 assumes few anomalies; where fraud is a few
            percent, smaller samples keep frauds from hiding one another (masking).
        max_features: forest: share of the inputs each tree sees, in (0, 1].
        bootstrap: forest: draw a tree's rows with replacement.
        learning_rate: boosting: share of each tree's step that is taken, in (0, 1].
        max_leaf_nodes: boosting: leaves per tree, 2 to 64.
        min_samples_leaf: boosting: training rows per leaf, at least 1.
        l2_regularization: boosting: pulls leaves towards zero, 0 or more.
        seed: of every random choice, 0 to 2^32 - 1.
        train_fraction: share of the rows, by event time, that train; the rest measures.
        label_delay_days: a label is known this long after its transaction; younger ones do not train.
        alerts_per_day: the alert budget that a threshold is chosen for, over all customers; None chooses none.
    """

    kind: str = Kind.ISOLATION_FOREST.value
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

    def relevant(self) -> dict[str, int | float | str | bool | None]:
        """Return what this family's training looked at, by name: what a manifest records."""
        ignored = _BOOSTING_ONLY if self.kind == Kind.ISOLATION_FOREST else _FOREST_ONLY
        return {name: value for name, value in asdict(self).items() if name not in ignored}


_FOREST_ONLY: Final = frozenset({"max_samples", "max_features", "bootstrap"})
_BOOSTING_ONLY: Final = frozenset(
    {"learning_rate", "max_leaf_nodes", "min_samples_leaf", "l2_regularization", "label_delay_days"}
)
