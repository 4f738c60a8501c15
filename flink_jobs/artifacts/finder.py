"""Find a model version: in the local folder, and behind it in the store it was published to."""

from pathlib import Path

from flink_jobs.artifacts.artifact_store import fetch, open_store
from flink_jobs.core.features.vector import FEATURE_NAMES
from flink_jobs.core.models.lineup import Model
from flink_jobs.core.models.model import ModelError, ModelFault, load_model, model_directory


def find_model(model_dir: str, store: str | None, version: str, digest: str | None) -> Model:
    """Load a model version; takes well under a second, and a download where the local folder lacks it.

    Args:
        model_dir: the local folder of models.
        store: where models are published, ``None`` where that is the same folder.
        version: what to load.
        digest: SHA-256 of the arrays that are meant, ``None`` to take what is there.

    Raises:
        ModelError: whatever is wrong with it; no other exception.
    """
    folder = Path(model_dir)
    try:
        directory = model_directory(folder, version)
    except ModelError as error:
        if error.reason is not ModelFault.MISSING or store is None:
            raise
        with open_store(store) as place:
            directory = fetch(place, version, folder)
    model = load_model(directory, FEATURE_NAMES)
    if digest is not None and model.digest != digest:
        detail = f"{directory} holds {model.digest[:12]}, the control message means {digest[:12]}"
        raise ModelError(ModelFault.DIGEST_MISMATCH, detail)
    return model
