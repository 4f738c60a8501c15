"""Declared units, ranges and meanings of features, those of own features too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from flink_jobs.core.features.table import FeatureSpec
from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.inputs import INPUT_SPECS
from flink_jobs.core.models.own_use import UsedModule, parse_used, range_of
from flink_jobs.core.own_features.declaration import is_own

if TYPE_CHECKING:
    from api.database import Database
    from api.documents import Decision
    from flink_jobs.core.own_features.values import OwnValues

Specs = Mapping[str, FeatureSpec]
_MODULES: Final = "SELECT manifest -> 'own_features' AS modules FROM ml.model_versions WHERE version = %(version)s"


class OwnInput(NamedTuple):
    """An own feature of a model version, for readers."""

    version: str
    name: str
    unit: str
    range: str
    meaning: str
    absent: str
    module: str
    """Its module, and the beginning of the module's version."""


async def specs_of(database: Database, decision: Decision, own: OwnValues | None) -> Specs:
    """Return the declaration of every feature of a decision, as far as one is known.

    That of an own feature comes from the manifest of the model that scored, and for features that no model takes from
    the modules of the API.

    Args:
        database: has the manifests of registered models.
        decision: the decision.
        own: the own features of the API.

    Raises:
        ApiError: the database does not answer (503).
    """
    names = {*((decision.model_extra or {}).get("features") or {}), *(decision.contributions or {})}
    if not any(is_own(name) for name in names):
        return INPUT_SPECS
    rows = await database.rows(_MODULES, {"version": decision.model_version})
    here = {} if own is None else {item.spec.name: item.spec for item in own.features.features}
    return {**INPUT_SPECS, **here, **_declared(modules_of(rows[0]["modules"] if rows else None))}


def modules_of(document: object) -> tuple[UsedModule, ...]:
    """Return the modules in a manifest; none if this release cannot read them."""
    try:
        return parse_used(document) or ()
    except ModelError:
        return ()


def _declared(modules: Iterable[UsedModule]) -> dict[str, FeatureSpec]:
    return {
        one.name: FeatureSpec(one.name, one.unit, one.low, one.high, one.neutral, one.absent, one.meaning)
        for module in modules
        for one in module.features
    }


def own_inputs(versions: Iterable[Mapping[str, Any]]) -> list[OwnInput]:
    """Return the own features of model versions.

    Args:
        versions: rows with ``version`` and ``modules``, the part ``own_features`` of the manifest.
    """
    return [
        OwnInput(
            row["version"], one.name, one.unit, range_of(one.low, one.high), one.meaning, one.absent,
            module.label,
        )
        for row in versions
        for module in modules_of(row["modules"])
        for one in module.features
    ]  # fmt: skip
