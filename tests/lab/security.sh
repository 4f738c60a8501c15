#!/usr/bin/env bash
# Checks the locked packages of every image for known vulnerabilities, the workflows with zizmor, and the checkout for secrets.
# A package that the database of vulnerabilities does not know fails the check: unknown is not a pass.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

uv=.tools/uv/bin/uv
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
for group in job tools airflow; do
  echo "packages of the image $group"
  "$uv" export --quiet --frozen --no-emit-project --no-default-groups --group "$group" --output-file "$requirements" >/dev/null
  "$uv" tool run --from pip-audit==2.10.1 pip-audit --strict --disable-pip --require-hashes --requirement "$requirements"
done
.venv/bin/zizmor --no-progress --config .github/zizmor.yml .github/workflows
git ls-files -z | xargs -0 .venv/bin/detect-secrets-hook --baseline .secrets.baseline
