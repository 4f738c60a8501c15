"""Rows in the format of ``COPY``: they hold the values of their documents, and doubtful documents get none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.job.archiver.copying import rows_of
from flink_jobs.job.archiver.tables import ARCHIVE_OF, ARCHIVES, Archive
from tests.strategies import CONTRACTS, archived_documents

UNESCAPED = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}
READ: dict[str, Any] = {
    "text": str,
    "integer": int,
    "bigint": int,
    "double precision": float,
    "boolean": {"t": True, "f": False}.__getitem__,
    "jsonb": orjson.loads,
}
by_topic = pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.topic)


def read(archive: Archive, row: str) -> dict[str, Any]:
    """Return the values of a row, read as Postgres reads the text format."""
    cells = row.split("\t")
    assert len(cells) == len(archive.columns)
    return {
        name: None if cell == "\\N" else READ[kind](unescaped(cell))
        for (name, kind), cell in zip(archive.columns.items(), cells, strict=True)
    }


def unescaped(cell: str) -> str:
    letters, text = iter(cell), ""
    for letter in letters:
        assert letter not in "\t\n\r"
        text += UNESCAPED[next(letters)] if letter == "\\" else letter
    return text


def value_of(archive: Archive, document: dict[str, Any], name: str) -> object:
    origin = archive.origins.get(name)
    if origin is None:
        return document.get(name)
    found: Any = document
    for step in origin.path:
        found = None if found is None else found.get(step)
    return origin.default if found is None else found


def expected(archive: Archive, document: dict[str, Any]) -> dict[str, Any]:
    values = {name: value_of(archive, document, name) for name in archive.columns}
    return {
        name: float(value) if isinstance(value, int) and archive.columns[name] == "double precision" else value
        for name, value in values.items()
    }


@by_topic
@given(st.data())
def test_a_row_holds_the_values_of_its_document(archive: Archive, data: st.DataObject) -> None:
    document = data.draw(archived_documents(archive.topic))
    (row,) = rows_of(archive, [orjson.dumps(document).decode()])
    if row is None:
        return
    assert read(archive, row) == expected(archive, document)


@by_topic
def test_every_document_of_every_version_has_a_row(archive: Archive) -> None:
    """The fast way is the usual one: no message of our own jobs is left to Postgres."""
    examples = CONTRACTS[archive.topic].examples
    rows = rows_of(archive, [orjson.dumps(dict(example.document)).decode() for example in examples])
    assert rows
    assert None not in rows


def decision(**changes: object) -> str:
    document = CONTRACTS["decisions"].examples[0].document
    return orjson.dumps({**document, **changes}).decode()


@pytest.mark.parametrize(
    "message",
    [
        "", "null", "[1]", "5", '{"a":', "\ud800", decision() + " x",
        decision(amount_minor="5"), decision(amount_minor=5.0), decision(amount_minor=True),
        decision(amount_minor=2**64 * 1.0), decision(merchant=5), decision(score="0.5"), decision(score=True),
        decision(is_alert=1), decision(is_alert="true"), decision(features="none"), decision(reasons=5),
        decision(source="t"), decision(source=["t", 0, 1]), decision(source={"topic": 5, "partition": 0, "offset": 1}),
        decision(merchant="a\0b"), decision(features={"\0": 1}), decision(unknown="\0"),
    ],
)  # fmt: skip
def test_postgres_decides_on_every_other_message(message: str) -> None:
    assert rows_of(ARCHIVE_OF["decisions"], [message]) == [None]


def test_texts_are_escaped() -> None:
    text = 'tab\tline\nreturn\rback\\slash \\N "quoted" é \u2028'
    (row,) = rows_of(ARCHIVE_OF["decisions"], [decision(merchant=text, features={text: 1.5})])
    assert row is not None
    values = read(ARCHIVE_OF["decisions"], row)
    assert values["merchant"] == text
    assert values["features"] == {text: 1.5}
    (row,) = rows_of(ARCHIVE_OF["decisions"], [decision(merchant="\\N")])
    assert row is not None
    assert read(ARCHIVE_OF["decisions"], row)["merchant"] == "\\N", "a text, not an absent value"
