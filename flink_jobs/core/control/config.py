"""The configuration that control messages change: blend, threshold, rules, blacklists, models, an experiment.

A ``DetectionConfig`` is immutable; a control message creates a new one with the next revision. Flink's broadcast state
holds it as JSON, so a restored job continues with the same revision.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Self, TypedDict, Unpack

import orjson

from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.control.experiment import Experiment, GuardBand, ModelRef
from flink_jobs.core.documents import ExperimentDocument
from flink_jobs.core.rules import DEFAULT_RULE_SETTINGS, RULE_BY_ID, RULESET_VERSION, RuleSetting

CONFIG_SCHEMA_VERSION: Final = 2
DEFAULT_ALPHA: Final = 0.6
DEFAULT_ALERT_THRESHOLD: Final = 0.4
REMEMBERED_CONTROL_IDS: Final = 256
"""Number of control ids kept to recognise a redelivered control message."""


class ConfigChanges(TypedDict, total=False):
    """The fields of a ``DetectionConfig`` that a control message sets."""

    alpha: float
    alpha_is_set: bool
    alert_threshold: float
    threshold_is_set: bool
    rules: Mapping[str, RuleSetting]
    blacklist: Blacklist
    model_version: str | None
    model_digest: str | None
    shadow_model: ModelRef | None
    experiment: Experiment | None


@dataclass(frozen=True, slots=True)
class DetectionConfig:
    """All settings of a decision, apart from the models' arrays."""

    alpha: float = DEFAULT_ALPHA
    """Weight of the model in ``score = alpha * ml + (1 - alpha) * rules``, 0 to 1."""
    alert_threshold: float = DEFAULT_ALERT_THRESHOLD
    """Score from which a decision is an alert, 0 to 1."""
    rules: Mapping[str, RuleSetting] = field(default_factory=lambda: dict(DEFAULT_RULE_SETTINGS))
    blacklist: Blacklist = field(default_factory=Blacklist)
    model_version: str | None = None
    """The champion that a control message named; ``None``: the model with which the job was started."""
    model_digest: str | None = None
    """Digest of its arrays, if the message gave one: a model with this version and other arrays is not used."""
    shadow_model: ModelRef | None = None
    """A model that scores every transaction without effect on decisions."""
    experiment: Experiment | None = None
    """A challenger that scores for a share of the customers."""
    alpha_is_set: bool = False
    """Whether a control message set ``alpha``: it then applies to every model. Otherwise a model's own blend applies,
    and ``alpha`` to models without one."""
    threshold_is_set: bool = False
    """The same for ``alert_threshold``."""
    revision: int = 0
    """Number of control messages applied since the job's first start."""
    control_ids: tuple[str, ...] = ()
    """Ids of the last applied messages, oldest first."""

    @property
    def ruleset_version(self) -> str:
        """Name of the rule set in force: the table's version and, after a control message, the revision."""
        return RULESET_VERSION if self.revision == 0 else f"{RULESET_VERSION}+r{self.revision}"

    def next_revision(self, control_id: str, **changes: Unpack[ConfigChanges]) -> Self:
        """Return a copy with these changes, the next revision and the control id added."""
        remembered = (*self.control_ids, control_id)[-REMEMBERED_CONTROL_IDS:]
        return replace(self, revision=self.revision + 1, control_ids=remembered, **changes)

    def to_json(self) -> str:
        """Return the JSON for the broadcast state; equal configurations give equal text."""
        document = {
            "schema_version": CONFIG_SCHEMA_VERSION,
            "alpha": self.alpha,
            "alpha_is_set": self.alpha_is_set,
            "alert_threshold": self.alert_threshold,
            "threshold_is_set": self.threshold_is_set,
            "rules": {rule_id: self.rules[rule_id] for rule_id in RULE_BY_ID},
            "blacklist": {kind: sorted(getattr(self.blacklist, kind)) for kind in ("customer", "merchant", "country")},
            "model_version": self.model_version,
            "model_digest": self.model_digest,
            "shadow_model": None if self.shadow_model is None else asdict(self.shadow_model),
            "experiment": None if self.experiment is None else asdict(self.experiment),
            "revision": self.revision,
            "control_ids": self.control_ids,
        }
        return orjson.dumps(document).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the configuration from the broadcast state; a rule that the JSON lacks has its default settings.

        Raises:
            ValueError: a newer release wrote the configuration.
        """
        document = orjson.loads(text)
        if document["schema_version"] > CONFIG_SCHEMA_VERSION:
            raise ValueError(
                f"configuration schema {document['schema_version']} in the savepoint is newer than "
                f"{CONFIG_SCHEMA_VERSION}, the newest this release reads; run the release that wrote it"
            )
        # Schema version 1 has a champion only.
        shadow, experiment = document.get("shadow_model"), document.get("experiment")
        stored = {name: RuleSetting(**setting) for name, setting in document["rules"].items() if name in RULE_BY_ID}
        return cls(
            alpha=document["alpha"],
            alert_threshold=document["alert_threshold"],
            # An earlier release does not store these two: a value that differs from the default was set.
            alpha_is_set=document.get("alpha_is_set", document["alpha"] != DEFAULT_ALPHA),
            threshold_is_set=document.get("threshold_is_set", document["alert_threshold"] != DEFAULT_ALERT_THRESHOLD),
            rules={**DEFAULT_RULE_SETTINGS, **stored},
            blacklist=Blacklist(**{kind: frozenset(values) for kind, values in document["blacklist"].items()}),
            model_version=document["model_version"],
            model_digest=document.get("model_digest"),
            shadow_model=None if shadow is None else ModelRef(**shadow),
            experiment=None if experiment is None else experiment_of(experiment),
            revision=document["revision"],
            control_ids=tuple(document["control_ids"]),
        )


def experiment_of(document: ExperimentDocument) -> Experiment:
    """Return an experiment from its JSON; a limit of the guard that is left out takes its default."""
    return Experiment(
        document["id"],
        document["version"],
        document["digest"],
        document["share"],
        GuardBand(**document.get("guard", {})),
    )
