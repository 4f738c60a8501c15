"""How jobs are submitted with ``flink run``, and how its errors are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.flink.submit import Submission, argv, client_error

CLIENT = Path("/flink/bin/flink")


def test_submit_passes_all_options_to_flink(tmp_path: Path) -> None:
    plain = argv(CLIENT, Submission(tmp_path / "job.py"), "http://127.0.0.1:8081")
    assert plain == [
        "/flink/bin/flink",
        "run",
        "--detached",
        "--jobmanager",
        "127.0.0.1:8081",
        "-py",
        str(tmp_path / "job.py"),
    ]
    full = argv(CLIENT, Submission(tmp_path / "job.py", ("a",), 2, "file:/sp", {"k": "v"}), "http://h:1")
    assert full[5:] == [
        "--parallelism",
        "2",
        "--fromSavepoint",
        "file:/sp",
        "-Dk=v",
        "-py",
        str(tmp_path / "job.py"),
        "a",
    ]


PYTHON_FAILS = """\
Traceback (most recent call last):
  File "job.py", line 1, in <module>
    raise ValueError('boom')
ValueError: boom
org.apache.flink.client.program.ProgramAbortException: java.lang.RuntimeException: Python process exits with code: 1
\tat org.apache.flink.client.python.PythonDriver.main(PythonDriver.java:140)
Caused by: java.lang.RuntimeException: Python process exits with code: 1
"""
JAVA_FAILS = """\
Traceback (most recent call last):
py4j.protocol.Py4JJavaError: An error occurred while calling o9.execute.
: org.apache.flink.table.api.ValidationException: Unable to create a source
\tat org.apache.flink.x(Y.java:1)
Caused by: org.apache.flink.table.api.ValidationException: Could not find any factory for identifier 'nope'
org.apache.flink.client.program.ProgramAbortException: java.lang.RuntimeException: Python process exits with code: 1
Caused by: java.lang.RuntimeException: Python process exits with code: 1
"""


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (PYTHON_FAILS, "ValueError: boom"),
        (
            JAVA_FAILS,
            "org.apache.flink.table.api.ValidationException: Could not find any factory for identifier 'nope'",
        ),
        ("Could not connect\n", "Could not connect"),
        ("", "no output"),
    ],
)
def test_the_cause_is_found_in_the_clients_output(text: str, cause: str) -> None:
    assert client_error(text) == cause
