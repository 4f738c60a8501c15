"""An evaluation with everything needed to repeat it: what `evaluation.json` holds and the reports are written from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

if TYPE_CHECKING:
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.models.manifest import ModelManifest
    from ml.evaluation.evaluation import Evaluation

DOCUMENT_SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class EvaluationDocument:
    """What was judged, on what, and what came out.

    Attributes:
        created_at: ISO 8601, UTC; the one thing in here that differs between two equal runs.
        code_version: of the program that judged.
        source: name of the data.
        source_sha256: digest of the file's bytes; None when the rows did not come from a file.
        trained_here: whether the models were trained on the earlier part of the same data, for this judgement.
        label_delay_days: labels that late in the earlier part were unknown to training.
        config: rules and blend that were judged.
        models: contender to the manifest of the model in it.
        evaluation: the judgement.
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

    def to_json(self) -> bytes:
        """Return the file's content."""
        document = self.to_dict()
        option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
        return orjson.dumps(document, option=option)

    def to_dict(self) -> dict[str, Any]:
        """Return the document as JSON has it, curves as lists."""
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
            "config": orjson.loads(self.config.to_json()),
            "models": {name: orjson.loads(manifest.to_json()) for name, manifest in self.models.items()},
            "evaluation": evaluation,
        }
