#!/usr/bin/env bash
# Starts one Flink process. On Kubernetes the operator passes the full command; `docker compose` passes one of:
#   job SCRIPT [FLAGS...]   a JobManager that runs this one job (application mode). It resumes from the newest
#                           snapshot of the job, unless FLAGS name one with --fromSavepoint or STREAMFLOW_FRESH is 1
#   taskmanager [FLAGS...]  a TaskManager
set -euo pipefail

case ${1:-} in
  job)
    script=${2:?"entrypoint.sh: job needs the path of the job's Python file"}
    shift 2
    start=()
    if [[ " $* " != *" --fromSavepoint "* ]]; then
      found=$(python -P -m flink_jobs.job.start_point "$(basename "$script" .py)")
      [[ -z $found ]] || start=(--fromSavepoint "$found")
    fi
    exec standalone-job.sh start-foreground --job-classname org.apache.flink.client.python.PythonDriver \
      "${start[@]}" "$@" \
      -pyclientexec /opt/streamflow/.venv/bin/python -py "$script"
    ;;
  taskmanager)
    shift
    exec taskmanager.sh start-foreground "$@"
    ;;
  "")
    echo "entrypoint.sh: nothing to start; give job SCRIPT, taskmanager or a command of Flink" >&2
    exit 2
    ;;
  *)
    exec "$@"
    ;;
esac
