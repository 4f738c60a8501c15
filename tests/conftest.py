"""What must hold before a test imports anything: which core this process runs, and which random texts it gets.

Coverage sees Python only, so the tests run the core as Python unless asked otherwise (`make test` ends with a run on
the compiled one). What they start - jobs, commands - takes what a user would get.
"""

import os
import secrets
import sys
import uuid
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

_VARIABLE = "STREAMFLOW_CORE"

if _VARIABLE not in os.environ:
    os.environ[_VARIABLE] = "python"
    import flink_jobs  # noqa: F401 - it chooses the core when it is imported

    del os.environ[_VARIABLE]

# The same examples everywhere, and a slow machine is no failure of a test.
settings.register_profile(
    "streamflow",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("streamflow")

_AWKWARD = "_-409_4111--"
_AWKWARD_HEX = "40941110"
_token_urlsafe, _uuid4 = secrets.token_urlsafe, uuid.uuid4


def awkward_token(nbytes: int | None = None) -> str:
    """Return a random token that starts with all that a rare token may hold: separators, dashes and digits."""
    token = _token_urlsafe(nbytes)
    return _AWKWARD + token[len(_AWKWARD) :] if len(token) > 2 * len(_AWKWARD) else token


def awkward_uuid() -> uuid.UUID:
    """Return a random UUID of version 4 that ends with digits which tests look for elsewhere."""
    return uuid.UUID(hex=_uuid4().hex[: -len(_AWKWARD_HEX)] + _AWKWARD_HEX)


@pytest.fixture(scope="session", autouse=True)
def awkward_random_texts() -> None:
    """Give each test the random tokens and ids that would otherwise make it fail once in many runs."""
    secrets.token_urlsafe, uuid.uuid4 = awkward_token, awkward_uuid


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Do not trace a test with the mark ``untraced``: tracing takes more than half of the time of such a test.

    The mark ``no_cover`` of pytest-cov has no effect on time in a process of pytest-xdist, where two measurements are
    open and the outer one goes on.
    """
    if item.get_closest_marker("untraced") is None:
        return (yield)
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)
