"""Whose history a savepoint of the job of merchants holds."""

from __future__ import annotations

from flink_jobs.contracts import uids
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.merchants.keys import split_key
from flink_jobs.errors import UserError
from flink_jobs.flink.savepoints.snapshot import local_path, open_snapshot


def entities_without_history(uri: str, entities: tuple[Entity, ...]) -> tuple[Entity, ...] | None:
    """Return the entities of which a savepoint holds no history.

    Reads keys until each entity was found, so it reads all of them only if one is missing.

    Args:
        uri: path of the savepoint.
        entities: the entities to look for.

    Returns:
        Those without history in the order given; ``None`` if the keys cannot be read: a checkpoint, a folder that
        this machine does not have, or another job's.
    """
    missing = set(entities)
    try:
        if not local_path(uri).exists():
            return None
        with open_snapshot(uri) as snapshot:
            if snapshot.operator(uids.MERCHANTS) is None:
                return None
            for key in snapshot.keys(uids.MERCHANTS, uids.MERCHANT_STATE):
                missing.discard(split_key(key)[0])
                if not missing:
                    break
    except (UserError, ValueError):
        return None
    return tuple(entity for entity in entities if entity in missing)
