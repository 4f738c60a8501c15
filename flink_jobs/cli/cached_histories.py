"""Uses the inputs of entities that a folder keeps, and replays the history of the others (``--cache``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flink_jobs.cli.cache_folder import cache_in
from flink_jobs.cli.output import say

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from flink_jobs.core.features.entity_risk import Entity
    from ml.dataset import Dataset
    from ml.risk_cache import RiskCache


def with_cached_risk(dataset: Dataset, entities: tuple[Entity, ...], delay_days: int, folder: Path) -> Dataset:
    """Return what ``with_risk`` returns for the same arguments, and keep the inputs of each entity.

    Args:
        dataset: the whole history.
        entities: at least one.
        delay_days: days until a label is known.
        folder: folder of the cache.

    Raises:
        UserError: the folder cannot be used.
    """
    from ml.risk_cache import RiskCache
    from ml.risk_columns import RiskColumns

    cache = cache_in(folder, RiskCache)
    blocks = {entity: _inputs(dataset, entity, delay_days, cache) for entity in entities}
    return replace(dataset, risk=RiskColumns.of(blocks))


def _inputs(dataset: Dataset, entity: Entity, delay_days: int, cache: RiskCache) -> NDArray[np.float64]:
    from ml.entity_risk import replayed
    from ml.kept_files import DamagedCacheError
    from ml.risk_cache import risk_key

    key = risk_key(dataset, entity, delay_days)
    try:
        found = cache.read(key, entity, len(dataset))
    except DamagedCacheError as error:
        say(f"Warning: {error}. The history of each {entity} is replayed again.")
        found = None
    if found is not None:
        say(f"History of each {entity} from the feature cache")
        return found
    say(f"Replaying the history of each {entity} ...")
    values = replayed(dataset, entity, delay_days)
    try:
        say(f"History of each {entity} is kept in {cache.write(key, entity, values)}")
    except OSError as error:
        say(f"Warning: the history of each {entity} cannot be kept ({error.strerror or error}).")
    return values
