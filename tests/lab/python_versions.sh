#!/usr/bin/env bash
# Tests the parts without Flink on the Python that runs this (3.11 or 3.12), in an environment of its own below .tools.
# Flink's packages and the lock file are for 3.11; the versions of the lock file are used on both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

python=${PYTHON:-python3}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
pin=$(sed -n 's/^.*UV_PIN=\([0-9.]*\).*$/\1/p' flink_jobs/local/bootstrap.sh)
folder=.tools/python-$version
"$python" -m venv "$folder"
"$folder/bin/pip" install --quiet "uv==$pin"
"$folder/bin/uv" export --quiet --frozen --no-hashes --no-emit-project --no-default-groups --group tools --group dev \
  --output-file "$folder/requirements.txt" >/dev/null
"$folder/bin/uv" pip install --quiet --python "$folder/bin/python" --requirement "$folder/requirements.txt"
echo "testing with Python $version"
"$folder/bin/python" -m pytest -q tests/unit/core tests/unit/cards tests/contract
