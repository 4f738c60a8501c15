#!/usr/bin/env bash
# Upgrades a running job by savepoint and checks the health of the new job. If the new job is unhealthy, the script rolls
# back to the old release. It needs curl, jq and the address of Flink's REST API; for authentication, curl reads ~/.netrc
# and its own environment variables.
#
#   deploy.sh --rest http://jobmanager:8081 --job streamflow-detect --savepoints s3://bucket/savepoints \
#     --new  'release-2/.venv/bin/streamflow submit detect --from-savepoint "$SAVEPOINT"' \
#     --old  'release-1/.venv/bin/streamflow submit detect --from-savepoint "$SAVEPOINT"'
#
# Both commands read the path of the savepoint from $SAVEPOINT. Exit codes:
#   0  the new release runs and is healthy
#   1  the new release was unhealthy, the old release runs again
#   2  nothing was changed
#   3  no job runs; the last line contains the path of the savepoint
set -euo pipefail

readonly ROLLED_BACK=1 UNCHANGED=2 DOWN=3
rest='' job='' savepoints='' new='' old=''
patience=180 # seconds until the new job must be healthy
watch=30     # seconds for which it must then stay healthy
checkpoints=2

say() { printf '%s deploy: %s\n' "$(date -u +%H:%M:%S)" "$*" >&2; }
give_up() { # give_up CODE TEXT
  say "$2"
  exit "$1"
}

while (($#)); do
  (($# > 1)) || give_up "$UNCHANGED" "$1 needs a value; see the example at the top of $0"
  case $1 in
  --rest) rest=${2%/} ;;
  --job) job=$2 ;;
  --savepoints) savepoints=$2 ;;
  --new) new=$2 ;;
  --old) old=$2 ;;
  --patience) patience=$2 ;;
  --watch) watch=$2 ;;
  --checkpoints) checkpoints=$2 ;;
  *) give_up "$UNCHANGED" "unknown option $1; see the example at the top of $0" ;;
  esac
  shift 2
done
for name in rest job savepoints new old; do
  [[ -n ${!name} ]] || give_up "$UNCHANGED" "--$name is missing; see the example at the top of $0"
done
for name in patience watch checkpoints; do
  [[ ${!name} =~ ^[0-9]+$ ]] || give_up "$UNCHANGED" "--$name must be a whole number"
done
for tool in curl jq; do
  command -v "$tool" >/dev/null || give_up "$UNCHANGED" "$tool is not on PATH: install it"
done

# ---------------------------------------------------------------- Flink's REST API

ask() { # ask PATH [CURL OPTIONS]: prints the JSON response
  local path=$1
  shift
  curl --silent --show-error --fail --netrc-optional --max-time 30 --retry 3 --retry-connrefused "$@" "$rest$path"
}
post() { ask "$1" --request POST --header 'Content-Type: application/json' --data "$2"; }
running_jobs() { # prints the ids of the active jobs named $job
  ask /jobs/overview | jq -r --arg name "$job" '
    .jobs[] | select(.name == $name and (.state | IN("FINISHED", "CANCELED", "FAILED") | not)) | .jid'
}
state_of() { ask "/jobs/$1" | jq -r .state; }

stop_with_savepoint() { # stop_with_savepoint ID: stops the job and prints the path of the savepoint
  local trigger answer end=$((SECONDS + 600))
  trigger=$(post "/jobs/$1/stop" "$(jq -n --arg to "$savepoints" '{targetDirectory: $to, drain: false}')" | jq -r '."request-id"')
  while ((SECONDS < end)); do
    answer=$(ask "/jobs/$1/savepoints/$trigger") || return 1
    if [[ $(jq -r .status.id <<<"$answer") == COMPLETED ]]; then
      jq -re '.operation.location' <<<"$answer" && return
      jq -r '.operation."failure-cause".class' <<<"$answer" >&2
      return 1
    fi
    sleep 1
  done
  return 1
}

cancel_all() { # cancels all active jobs named $job and waits until they have ended
  local id end=$((SECONDS + 120))
  for id in $(running_jobs); do ask "/jobs/$id?mode=cancel" --request PATCH --output /dev/null || true; done
  while [[ -n $(running_jobs) ]]; do
    ((SECONDS < end)) || return 1
    sleep 1
  done
}

job_metric() { ask "/jobs/$1/metrics?get=$2" | jq -r '.[0].value // "0" | tonumber | floor'; }

faults_of() { # faults_of ID: prints the number of model faults over all tasks; 0 for a job without models
  local vertex names total=0 part
  for vertex in $(ask "/jobs/$1" | jq -r '.vertices[].id'); do
    names=$(ask "/jobs/$1/vertices/$vertex/subtasks/metrics" | jq -r '[.[].id | select(endswith(".model_faults"))] | join(",")')
    [[ -n $names ]] || continue
    part=$(ask "/jobs/$1/vertices/$vertex/subtasks/metrics?agg=sum&get=$names" | jq '[.[].sum] | add // 0 | floor')
    total=$((total + part))
  done
  echo "$total"
}

# ---------------------------------------------------------------- health

problem_of() { # problem_of ID: prints what is wrong with the job now, or nothing if it is healthy
  local state restarts faults idle done_checkpoints
  state=$(state_of "$1")
  [[ $state == RUNNING ]] || { echo "it is $state" && return; }
  restarts=$(job_metric "$1" numRestarts)
  ((restarts == 0)) || { echo "it was restarted $restarts times" && return; }
  faults=$(faults_of "$1")
  ((faults == 0)) || { echo "its model failed $faults times or could not be loaded" && return; }
  idle=$(ask "/jobs/$1" | jq '[.vertices[] | select(.status != "RUNNING")] | length')
  ((idle == 0)) || { echo "$idle tasks are not running yet" && return; }
  done_checkpoints=$(ask "/jobs/$1/checkpoints" | jq .counts.completed)
  ((done_checkpoints >= checkpoints)) || echo "$done_checkpoints of $checkpoints checkpoints are complete"
}

is_hopeless() { [[ $1 == *FAILED* || $1 == *restarted* || $1 == *model* || $1 == *RESTARTING* || $1 == *CANCEL* ]]; }

await_health() { # await_health ID: returns 0 once the job has been healthy for $watch seconds
  local problem last='' end=$((SECONDS + patience)) healthy_since=''
  while :; do
    problem=$(problem_of "$1") || problem='Flink does not answer'
    if [[ -z $problem ]]; then
      healthy_since=${healthy_since:-$SECONDS}
      ((SECONDS - healthy_since >= watch)) && return
    else
      [[ $problem == "$last" ]] || say "job $1: $problem"
      # Stop waiting when the problem cannot go away, or when a healthy job has become unhealthy.
      if is_hopeless "$problem" || [[ -n $healthy_since ]] || ((SECONDS >= end)); then return 1; fi
    fi
    last=$problem
    sleep 2
  done
}

start_and_watch() { # start_and_watch NAME COMMAND: returns 0 if the command starts one healthy job named $job
  local ids
  say "starting $1"
  SAVEPOINT=$savepoint bash -c "$2" >&2 || { say "$1 could not be submitted" && return 1; }
  ids=$(running_jobs) || return 1
  [[ $(wc -w <<<"$ids") == 1 ]] || { say "$1: $(wc -w <<<"$ids") jobs named $job run, expected one" && return 1; }
  await_health "$ids" || return 1
  say "$1 runs well as $ids"
}

# ---------------------------------------------------------------- the upgrade

before=$(running_jobs) || give_up "$UNCHANGED" "Flink does not answer at $rest"
[[ $(wc -w <<<"$before") == 1 ]] || give_up "$UNCHANGED" "$(wc -w <<<"$before") jobs named $job run at $rest, expected one"
problem=$(checkpoints=1 problem_of "$before") || problem='Flink does not answer'
[[ -z $problem ]] || say "the running job is unhealthy ($problem); continuing with the upgrade"

say "stopping $before with a savepoint in $savepoints"
if ! savepoint=$(stop_with_savepoint "$before"); then
  [[ $(state_of "$before") == RUNNING ]] && give_up "$UNCHANGED" "the savepoint failed; the job keeps running"
  give_up "$DOWN" "the savepoint failed and the job does not run: start it from its last checkpoint"
fi
while [[ -n $(running_jobs) ]]; do sleep 1; done
say "savepoint $savepoint"

if start_and_watch "the new release" "$new"; then exit 0; fi

say "rolling back to the old release"
cancel_all || give_up "$DOWN" "the new job does not end; cancel it, then start the old release from $savepoint"
if start_and_watch "the old release" "$old"; then exit "$ROLLED_BACK"; fi
give_up "$DOWN" "the old release is unhealthy, too; its savepoint is $savepoint"
