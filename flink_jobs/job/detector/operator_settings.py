"""What the operator needs to know; travels pickled inside the job graph."""

from collections.abc import Callable
from dataclasses import dataclass

from flink_jobs.artifacts.finder import find_model
from flink_jobs.core.models.lineup import Model

ModelFinder = Callable[[str, str | None, str, str | None], Model]


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """Settings of the operator, resolved where the job is submitted."""

    transactions_topic: str
    control_topic: str
    model_dir: str
    model_version: str | None
    """The model to start with; ``None`` starts by rules alone, degraded, until a control message names one."""
    execution_mode: str
    state_ttl_days: int
    state_cache_customers: int
    """Customers whose decoded state a subtask keeps in memory; 0 reads and decodes each."""
    model_budget_ms: int
    """Longest time a score may take; a model that keeps taking longer is cut off."""
    artifact_store: str | None = None
    """Where models are published that the folder may lack."""
    find_model: ModelFinder = find_model
    """Loads models; a test of faults brings its own."""
