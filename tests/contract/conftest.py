from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from flink_jobs.contracts.topic_contracts import load_contracts

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.contracts.topic_contracts import TopicContract

# JSON Schema calls 12.0 an integer; our wire format does not (money and time are written without a fraction).
_STRICT = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _checker, value: type(value) is int)
StrictValidator = extend(Draft202012Validator, type_checker=_STRICT)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def contracts() -> dict[str, TopicContract]:
    return load_contracts()


@pytest.fixture(scope="session")
def problems(contracts: dict[str, TopicContract]) -> Callable[[str, object], list[str]]:
    """What the latest schema of a topic holds against a document; empty where it is valid."""
    validators = {suffix: StrictValidator(contract.schema()) for suffix, contract in contracts.items()}

    def find(suffix: str, document: object) -> list[str]:
        return [f"{error.json_path}: {error.message}" for error in validators[suffix].iter_errors(document)]

    return find
