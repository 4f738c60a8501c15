"""The settings of the operator; the job graph contains them pickled."""

from collections.abc import Callable
from dataclasses import dataclass

from flink_jobs.artifacts.finder import find_model
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.models.lineup import Model
from flink_jobs.core.own_features.source import FeatureSource
from flink_jobs.core.state.older_ids import DEFAULT_WINDOW, DuplicateWindow
from flink_jobs.job.detector.schemas import SchemaSettings
from flink_jobs.tracing.target import TraceTarget

ModelFinder = Callable[..., Model]
"""``find_model``, or a function with its parameters."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """Settings of the operator, read where the job is submitted."""

    transactions_topic: str
    control_topic: str
    replies_topic: str
    reply_routes: tuple[str, ...]
    """For each partition of the replies topic, a message key that Kafka's partitioner maps to it."""
    model_dir: str
    model_version: str | None
    """The champion at start; with ``None`` the rules score alone (degraded) until a control message names a model."""
    execution_mode: str
    are_alerts_at_once: bool
    """Alerts leave when they are raised, at least once; else with the next checkpoint."""
    state_ttl_days: int
    state_cache_customers: int
    """Number of customers whose decoded state a subtask keeps in memory; 0 reads and decodes every state."""
    model_budget_ms: int
    """Longest time a score may take; a model that repeatedly takes longer is disabled."""
    actions_topic: str = ""
    """Topic of actions on accounts."""
    duplicate_window: DuplicateWindow = DEFAULT_WINDOW
    """How long transaction ids are remembered to recognise duplicates."""
    schemas: SchemaSettings | None = None
    """Where the schemas of Avro records come from; ``None``: every Avro record becomes a dead letter."""
    merchants_topic: str = ""
    """Topic of the rows of merchants; empty: the detector has no such rows."""
    risk_entities: tuple[Entity, ...] = (Entity.MERCHANT,)
    """Whose rows models may use, where the detector has rows."""
    own_features: tuple[FeatureSource, ...] = ()
    """Source texts of the modules of own features; the TaskManagers need no copy of the files."""
    artifact_store: str | None = None
    """Store of published models, for models that ``model_dir`` does not have."""
    traces: TraceTarget | None = None
    """Receiver of spans; ``None``: no spans."""
    find_model: ModelFinder = find_model
    """Function that loads models; tests of model faults replace it."""
