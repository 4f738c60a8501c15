"""The client of a schema registry, against a server that answers as Confluent's API."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.kafka.registry_access import RegistryAccess
from flink_jobs.kafka.schema_registry import RegistryError, SchemaReader, call, register, subject_of
from tests.registry_server import RegistryServer

SUBJECT = subject_of("streamflow.transactions")


def test_every_version_of_a_subject_is_read_once() -> None:
    with RegistryServer() as server:
        reader = SchemaReader(RegistryAccess(server.url), SUBJECT)
        assert reader.read() == {}
        first = server.register(SUBJECT, '"string"')
        server.register("other-value", '"long"')
        assert reader.read() == {first: '"string"'}
        second = server.register(SUBJECT, '"long"')
        asked = len(server.paths)
        assert reader.read() == {first: '"string"', second: '"long"'}
        assert len(server.paths) == asked + 2, "the list of versions and the new version"


def test_the_login_comes_from_a_file(tmp_path: Path) -> None:
    login = tmp_path / "login"
    login.write_text("reader:s3cret\n")
    with RegistryServer(login="reader:s3cret") as server:
        server.register(SUBJECT, '"string"')
        assert SchemaReader(RegistryAccess(server.url, str(login)), SUBJECT).read()
        with pytest.raises(RegistryError, match="answered 401: login needed"):
            SchemaReader(RegistryAccess(server.url), SUBJECT).read()
        login.unlink()
        with pytest.raises(RegistryError, match="FileNotFoundError") as caught:
            SchemaReader(RegistryAccess(server.url, str(login)), SUBJECT).read()
        assert "s3cret" not in str(caught.value)


def test_a_registry_that_is_away_or_no_registry_is_an_error() -> None:
    with RegistryServer() as server:
        url = server.url
        server.body = b"<html>"
        with pytest.raises(RegistryError, match="JSONDecodeError"):
            SchemaReader(RegistryAccess(url), SUBJECT).read()
        server.body = b'["1"]'
        with pytest.raises(RegistryError, match="has no id or no schema"):
            SchemaReader(RegistryAccess(url), SUBJECT).read()
        server.status, server.body = 500, b"oops"
        with pytest.raises(RegistryError, match="answered 500"):
            call(RegistryAccess(url), "subjects")
    with pytest.raises(RegistryError, match="cannot be read"):
        SchemaReader(RegistryAccess(url), SUBJECT).read()


def test_a_folder_holds_schemas_by_id(tmp_path: Path) -> None:
    (tmp_path / "7.avsc").write_text('"string"')
    (tmp_path / "README.md").write_text("no schema")
    (tmp_path / "transactions.v1.avsc").write_text('"long"')
    access = RegistryAccess(str(tmp_path))
    assert access.is_folder
    assert SchemaReader(access, SUBJECT).read() == {7: '"string"'}
    with pytest.raises(RegistryError, match="cannot be read"):
        SchemaReader(RegistryAccess(str(tmp_path / "none")), SUBJECT).read()


def test_registering_twice_gives_one_id_and_sets_the_compatibility() -> None:
    with RegistryServer() as server:
        access = RegistryAccess(server.url)
        ids = {register(access, SUBJECT, '"string"', "FULL_TRANSITIVE") for _ in range(2)}
        assert len(ids) == 1
        assert server.compatibility == {SUBJECT: "FULL_TRANSITIVE"}
        server.status, server.body = 409, b'{"message": "incompatible"}'
        with pytest.raises(RegistryError, match="answered 409: incompatible") as caught:
            register(access, SUBJECT, '"long"', "FULL_TRANSITIVE")
        assert caught.value.status == 409
