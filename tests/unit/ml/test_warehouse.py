"""A database that does not answer gives an error of one line without the connection string."""

from __future__ import annotations

from typing import Self

import psycopg
import pytest

from flink_jobs.errors import UserError
from flink_jobs.local.ports import free_ports
from ml.history.connection import warehouse


def test_an_unreachable_database_is_reported_without_the_password() -> None:
    (port,) = free_ports(1)
    with (
        pytest.raises(UserError, match="does not answer") as caught,
        warehouse(f"host=127.0.0.1 port={port} user=u password=hidden"),
    ):
        pass
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (psycopg.OperationalError("server closed the connection, password=hidden"), "ended the connection"),
        (psycopg.errors.UndefinedTable('relation "raw.decisions" does not exist'), "lacks a table"),
    ],
)
def test_an_error_during_reading_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: psycopg.Error, problem: str
) -> None:
    class Gone:
        """A connection whose server goes away in the middle."""

        isolation_level = None

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(psycopg, "connect", lambda *_, **__: Gone())
    with pytest.raises(UserError, match=problem) as caught, warehouse("dsn"):
        raise error
    assert "hidden" not in str(caught.value)
