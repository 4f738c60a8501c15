"""The scan of `make lint` finds what it is there for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flink_jobs.local.checkout import PYTHON
from flink_jobs.settings import REPO_ROOT

SCAN = [str(PYTHON.with_name("detect-secrets-hook")), "--baseline", str(REPO_ROOT / ".secrets.baseline")]


@pytest.mark.parametrize(
    "leak",
    [
        "-----BEGIN EC PRIVATE" + " KEY-----\nMHcCAQEEIA\n",
        "aws_key = 'AKIA" + "IOSFODNN7EXAMPLQ'\n",
        "url = 'postgresql://streamflow:" + "correct-horse@db/streamflow'\n",
    ],
)
def test_a_planted_secret_is_found(tmp_path: Path, leak: str) -> None:
    (tmp_path / "planted.py").write_text(leak)
    answer = subprocess.run([*SCAN, str(tmp_path / "planted.py")], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "planted.py" in answer.stdout
