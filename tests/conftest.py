"""What must hold before a test imports anything: which core this process runs.

Coverage sees Python only, so the tests run the core as Python unless asked otherwise (`make test` ends with a run on
the compiled one). What they start - jobs, commands - takes what a user would get.
"""

import os

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
