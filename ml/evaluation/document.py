"""An evaluation with the facts needed to repeat it. ``evaluation.json`` and the reports are written from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

if TYPE_CHECKING:
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.models.manifest import ModelManifest
    from flink_jobs.core.models.threshold_choice import ThresholdRow
    from flink_jobs.core.scoring import BlendInForce
    from ml.evaluation.calibration import Calibration
    from ml.evaluation.evaluation import Evaluation
    from ml.evaluation.governance import Governance
    from ml.evaluation.importance import InputImportance
    from ml.evaluation.over_time import Period
    from ml.sanity.finding import Finding
    from ml.stress.result import StressTest

DOCUMENT_SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class JudgedBlend:
    """The blend of one model as the job would use it, and its alerts on the judged rows.

    Attributes:
        in_force: ``alpha`` and alert threshold, and what sets each of them.
        alerts_per_day: mean number of alerts on a day, labelled rows or not.
        precision: share of frauds among the labelled alerts; None without a labelled alert.
        recall: share of the labelled frauds that are alerts; None without a fraud.
        periods: results by day or week at the threshold in force.
        importance: inputs of the model by falling importance.
        thresholds: the threshold in force and others, on the judged rows.
        probability: error of the probability of fraud; None without a calibration for the ``alpha`` in force.
        stress: results under stress scenarios; None without any.
    """

    in_force: BlendInForce
    alerts_per_day: float
    precision: float | None
    recall: float | None
    thresholds: tuple[ThresholdRow, ...] = ()
    periods: tuple[Period, ...] = ()
    importance: tuple[InputImportance, ...] = ()
    probability: Calibration | None = None
    stress: StressTest | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the blend with JSON types."""
        return {
            **self.in_force._asdict(),
            "alerts_per_day": self.alerts_per_day,
            "precision": self.precision,
            "recall": self.recall,
            "thresholds": [asdict(row) for row in self.thresholds],
            "periods": [asdict(period) for period in self.periods],
            "importance": {one.name: one.loss for one in self.importance},
            "probability": None if self.probability is None else asdict(self.probability),
            "stress": None if self.stress is None else asdict(self.stress),
        }


@dataclass(frozen=True, slots=True)
class EvaluationDocument:
    """The data, configuration and models of an evaluation, and its result.

    Attributes:
        created_at: ISO 8601, UTC; the only field that differs between two equal runs.
        code_version: version of the program.
        source: name of the data.
        source_sha256: digest of the file's bytes; None when the rows did not come from a file.
        trained_here: whether the models were trained on the earlier part of the same data, for this evaluation.
        label_delay_days: labels of the last days of the earlier part that were unknown to training.
        config: rules and blend that were judged.
        models: by contender, the manifest of its model.
        evaluation: the result.
        data_warnings: defects of the data that make scores look too good.
        protocol: text of ``--protocol``; None: the split is a share of the rows.
        blends: by contender, the blend of its model.
        governance: facts that people state; None without a file.
    """

    created_at: str
    code_version: str
    source: str
    source_sha256: str | None
    trained_here: bool
    label_delay_days: float
    config: DetectionConfig
    models: dict[str, ModelManifest]
    evaluation: Evaluation
    data_warnings: tuple[Finding, ...] = ()
    protocol: str | None = None
    blends: dict[str, JudgedBlend] = field(default_factory=dict)
    governance: Governance | None = None

    def to_json(self) -> bytes:
        """Return the content of ``evaluation.json``."""
        document = self.to_dict()
        option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
        return orjson.dumps(document, option=option)

    def to_dict(self) -> dict[str, Any]:
        """Return the document with JSON types; curves are lists."""
        evaluation = asdict(self.evaluation)
        for report, score in zip(evaluation["scores"], self.evaluation.scores, strict=True):
            curves = score.curves._asdict()
            report["curves"] = {name: np.round(values, 6).tolist() for name, values in curves.items()}
        return {
            "schema_version": DOCUMENT_SCHEMA_VERSION,
            "created_at": self.created_at,
            "code_version": self.code_version,
            "source": self.source,
            "source_sha256": self.source_sha256,
            "trained_here": self.trained_here,
            "label_delay_days": self.label_delay_days,
            "protocol": self.protocol,
            "data_warnings": [asdict(finding) for finding in self.data_warnings],
            "config": orjson.loads(self.config.to_json()),
            "models": {name: orjson.loads(manifest.to_json()) for name, manifest in self.models.items()},
            "blends": {name: blend.to_dict() for name, blend in self.blends.items()},
            "governance": None if self.governance is None else asdict(self.governance),
            "evaluation": evaluation,
        }
