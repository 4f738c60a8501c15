"""Finds a model version in the local folder, or fetches it from the store it was published to."""

from pathlib import Path

from flink_jobs.artifacts.artifact_store import fetch, open_store
from flink_jobs.core.features.entity_risk import RISK_NAMES, Entity
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.merchants.table import EntityTable
from flink_jobs.core.models.inputs import Histories
from flink_jobs.core.models.lineup import Model
from flink_jobs.core.models.model import ModelError, ModelFault, load_model, model_directory
from flink_jobs.core.own_features.values import OwnValues


def histories_of(entities: tuple[Entity, ...]) -> EntityTable | None:
    """Return an empty table where an installation has histories, for a check that a model can be loaded.

    Args:
        entities: the setting.
    """
    return EntityTable(entities) if entities else None


def known_features(entities: tuple[Entity, ...]) -> tuple[str, ...]:
    """Return the inputs that an installation computes, own features and encodings left out."""
    return (*FEATURE_NAMES, *(name for entity in entities for name in RISK_NAMES[entity]))


def find_model(
    model_dir: str,
    store: str | None,
    version: str,
    digest: str | None,
    histories: Histories | None = None,
    own: OwnValues | None = None,
) -> Model:
    """Load a model version; takes well under a second, plus a download when the local folder lacks it.

    Args:
        model_dir: the local model folder.
        store: folder or URI of the store, ``None`` when the local folder is the store.
        version: the version to load.
        digest: expected SHA-256 of the arrays, ``None`` to accept any.
        histories: the history of merchants and other entities; ``None`` refuses a model that needs one.
        own: the own features; ``None`` refuses a model that needs some.

    Raises:
        ModelError: the model cannot be loaded. No other exception is raised.
    """
    folder = Path(model_dir)
    try:
        directory = model_directory(folder, version)
    except ModelError as error:
        if error.reason is not ModelFault.MISSING or store is None:
            raise
        with open_store(store) as opened:
            directory = fetch(opened, version, folder)
    model = load_model(directory, known_features(() if histories is None else histories.entities), histories, own)
    if digest is not None and model.digest != digest:
        detail = f"{directory} holds {model.digest[:12]}, expected {digest[:12]}"
        raise ModelError(ModelFault.DIGEST_MISMATCH, detail)
    return model
