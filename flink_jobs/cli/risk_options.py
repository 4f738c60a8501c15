"""Option ``--risk``: the history of merchants, terminals, devices and cards as inputs of boosted trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli.output import say
from flink_jobs.core.features.entity_risk import Entity, entities_of
from flink_jobs.errors import ErrorCode, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.cli.data_source import SourcedDataset
    from ml.dataset import Dataset

_WHOSE = f"{', '.join(Entity)}; may be repeated, or several separated by commas"
TrainRisk = Annotated[
    list[str] | None,
    typer.Option(
        "--risk",
        metavar="ENTITY",
        help=f"add the history of an entity: {_WHOSE}; gradient_boosting only, jobs need the same in "
        "STREAMFLOW_RISK_ENTITIES",
    ),
]
EvaluateRisk = Annotated[
    list[str] | None,
    typer.Option(
        "--risk",
        metavar="ENTITY",
        help=f"also evaluate boosted trees with the history of an entity: {_WHOSE}; several are evaluated each alone "
        "and all together",
    ),
]


def chosen_entities(texts: list[str] | None) -> tuple[Entity, ...]:
    """Return the entities of the option, in canonical order.

    Raises:
        UserError: a text names no entity.
    """
    given = texts or []
    try:
        entities = entities_of(",".join(given))
    except ValueError as error:
        raise UserError(f"--risk: {error}", "write, for example, --risk terminal", ErrorCode.USAGE_ERROR) from None
    if given and not entities:
        raise UserError("--risk names no entity", f"choose from {', '.join(Entity)}", ErrorCode.USAGE_ERROR)
    return entities


def with_histories(
    source: SourcedDataset, entities: tuple[Entity, ...], delay_days: int, cache: Path | None
) -> SourcedDataset:
    """Return the data with the inputs of some entities; without entities it stays as it is.

    Args:
        source: the whole history.
        entities: see ``chosen_entities``.
        delay_days: days until a label is known.
        cache: folder that keeps the inputs; None: they are replayed.

    Raises:
        UserError: no row names one of the entities, so that its inputs would be constant.
    """
    from ml.entity_risk import without_ids

    missing = without_ids(source.dataset, entities)
    if missing:
        names = ", ".join(missing)
        raise UserError(
            f"no row of {source.source} has a value of {names}, which --risk names",
            f"map a column to {names} (docs/card-files.md), or leave out the option",
        )
    return source._replace(dataset=add_histories(source.dataset, entities, delay_days, cache))


def add_histories(dataset: Dataset, entities: tuple[Entity, ...], delay_days: int, cache: Path | None) -> Dataset:
    """Return the rows with the inputs of some entities, as ``with_histories``; an entity without ids has no values."""
    if not entities:
        return dataset
    if cache is not None:
        from flink_jobs.cli.cached_histories import with_cached_risk

        return with_cached_risk(dataset, entities, delay_days, cache)
    from ml.entity_risk import with_risk

    say(f"Replaying the history of each {' and each '.join(entities)} ...")
    return with_risk(dataset, entities, delay_days)
