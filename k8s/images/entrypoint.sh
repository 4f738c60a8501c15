#!/usr/bin/env bash
# Starts one process of Flink. On Kubernetes the operator gives the whole command; `docker compose` names a part:
#   job SCRIPT [FLAGS...]   a JobManager that runs this one job (application mode)
#   taskmanager [FLAGS...]
set -euo pipefail

case ${1:-} in
  job)
    script=${2:?"entrypoint.sh: job needs the Python file with the job's main"}
    shift 2
    exec standalone-job.sh start-foreground --job-classname org.apache.flink.client.python.PythonDriver "$@" \
      -pyclientexec /opt/streamflow/.venv/bin/python -py "$script"
    ;;
  taskmanager)
    shift
    exec taskmanager.sh start-foreground "$@"
    ;;
  "")
    echo "entrypoint.sh: say what to start: job SCRIPT, taskmanager, or any command of Flink" >&2
    exit 2
    ;;
  *)
    exec "$@"
    ;;
esac
