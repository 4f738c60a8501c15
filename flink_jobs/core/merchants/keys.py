"""The key of an entity in state, in the topic of rows and in the detector's table."""

from __future__ import annotations

from typing import Final

from flink_jobs.core.features.entity_risk import Entity

SEPARATOR: Final = "\x1f"
"""Stands between entity and id. No id holds a control character, so no two keys are equal."""


def entity_key(entity: Entity, name: str) -> str:
    r"""Return the key of an entity; a merchant's key is its id, as releases without other entities wrote it.

    >>> entity_key(Entity.MERCHANT, "m-1"), entity_key(Entity.TERMINAL, "t-1")
    ('m-1', 'terminal\x1ft-1')
    """
    return name if entity is Entity.MERCHANT else f"{entity}{SEPARATOR}{name}"


def split_key(key: str) -> tuple[Entity, str]:
    r"""Return entity and id of a key.

    >>> split_key("m-1"), split_key("terminal\x1ft-1")
    ((<Entity.MERCHANT: 'merchant'>, 'm-1'), (<Entity.TERMINAL: 'terminal'>, 't-1'))

    Raises:
        ValueError: a later release wrote the key, for an entity that this one does not know.
    """
    entity, separator, name = key.partition(SEPARATOR)
    return (Entity(entity), name) if separator else (Entity.MERCHANT, key)
