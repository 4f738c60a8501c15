"""Columns keep every row, and code each text once."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml.columns import Coded, Coder, Grower

TEXTS = st.lists(st.none() | st.sampled_from(["a", "b", "", "None"]), max_size=30)


def coded(texts: list[str | None]) -> Coded:
    coder = Coder()
    for text in texts:
        coder.append(text)
    return coder.array()


def digest(column: Coded) -> str:
    state = hashlib.sha256()
    column.update(state)
    return state.hexdigest()


@given(TEXTS)
def test_every_text_comes_back(texts: list[str | None]) -> None:
    column = coded(texts)
    assert [column.text(row) for row in range(len(column))] == texts
    assert len(set(column.names)) == len(column.names)


@given(TEXTS, TEXTS)
def test_the_digest_sees_texts_not_codes(one: list[str | None], other: list[str | None]) -> None:
    assert (digest(coded(one)) == digest(coded(other))) is (one == other)
    whole = coded(["z", *other, *one])
    mask = np.arange(len(whole)) > len(other)
    assert digest(whole[mask]) == digest(coded(one))


def test_rows_beyond_the_first_allocation() -> None:
    matrix, vector = Grower("<f8", 2), Grower("<i8")
    for number in range(5_000):
        matrix.append((number, -number))
        vector.append(number)
    assert matrix.array().tolist() == [[number, -number] for number in range(5_000)]
    assert vector.array().tolist() == list(range(5_000))
