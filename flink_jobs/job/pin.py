"""Sets the uid of every operator of a graph.

The SQL planner numbers its operators, and the numbers change when a query is added: a restored job would not find its
Kafka offsets in the savepoint. So sources and sinks, which have state, get the uid of their table, and every other
operator gets a uid from its position upstream of an operator with a uid.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from py4j.java_gateway import JavaObject
from pyflink.datastream import StreamExecutionEnvironment

_NOT_OPERATORS: Final = ("PartitionTransformation", "SideOutputTransformation", "UnionTransformation")
"""Edges that the graph stores as nodes; they run no code and have no uid."""

_ENDS: Final = {
    "SourceTransformation": "source",
    "SinkTransformation": "sink",
}


def transformations(env: StreamExecutionEnvironment) -> Iterator[JavaObject]:
    """Yield every Java transformation of an environment, each once."""
    seen: set[int] = set()
    pending = list(env._j_stream_execution_environment.getTransformations())  # noqa: SLF001
    while pending:
        transformation = pending.pop()
        if transformation.getId() not in seen:
            seen.add(transformation.getId())
            yield transformation
            pending.extend(transformation.getInputs())


def pin_uids(env: StreamExecutionEnvironment, sources: Mapping[str, str], sinks: Mapping[str, str]) -> None:
    """Set a uid on every operator that has none.

    Args:
        env: the environment, its graph complete.
        sources: uid by table name of each source.
        sinks: uid by table name of each sink.

    Raises:
        RuntimeError: a table has no uid, or a uid has no table: the graph and ``uids`` disagree.
    """
    everything = list(transformations(env))
    expected = {"source": dict(sources), "sink": dict(sinks)}
    for transformation in everything:
        end = _ENDS.get(transformation.getClass().getSimpleName())
        if end is None:
            continue
        uid_by_table = expected[end]
        table = transformation.getName().partition("[")[0]
        if table not in uid_by_table:
            raise RuntimeError(f"table {table} is in the graph but has no uid; add one to flink_jobs/contracts/uids.py")
        transformation.setUid(uid_by_table.pop(table))
    left = [table for uid_by_table in expected.values() for table in uid_by_table]
    if left:
        raise RuntimeError(f"no operator in the graph for the tables {', '.join(left)}")
    for transformation in [item for item in everything if item.getUid() is not None]:
        for number, upstream in enumerate(transformation.getInputs(), start=1):
            _pin_chain(f"{transformation.getUid()}-input-{number}", upstream)


def _pin_chain(prefix: str, transformation: JavaObject) -> None:
    """Set numbered uids upstream of an operator with a uid, up to the next operator that has one."""
    number = 0
    while transformation.getUid() is None:
        if transformation.getClass().getSimpleName() not in _NOT_OPERATORS:
            number += 1
            transformation.setUid(f"{prefix}-{number}")
        inputs = transformation.getInputs()
        if len(inputs) != 1:
            for branch, upstream in enumerate(inputs, start=1):
                _pin_chain(f"{prefix}-{number}-input-{branch}", upstream)
            return
        transformation = inputs[0]
