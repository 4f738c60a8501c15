#!/usr/bin/env bash
# Runs one command of the command line inside the cluster, with the owner's login and the Kafka account of the tools:
#   k8s/admin.sh control show
#   k8s/admin.sh api keys create gateway --scope transactions:write
# kubectl must point at the cluster, and you need the right to create Jobs in the namespace. The command reads no input, so give
# --reason and --yes where it would ask. The audit names your login ($USER). Exit code: that of the command.
set -euo pipefail

readonly namespace=streamflow limit=600
(($#)) || {
  sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}
pods() { kubectl --namespace "$namespace" get pods --selector "job-name=$name" --output "jsonpath={.items[0].$1}" 2>/dev/null; }

name="admin-$(date +%s)-$RANDOM"
arguments=$(for one in "$@"; do jq --null-input --arg one "$one" '$one'; done | jq --slurp .)
kubectl --namespace "$namespace" create job "$name" --from cronjob/streamflow-admin --dry-run=client --output json |
  jq --argjson arguments "$arguments" --arg user "${USER:-$(id -un)}" \
    '.spec.template.spec.containers[0] |= (.args = $arguments | .env += [{name: "USER", value: $user}])' |
  kubectl --namespace "$namespace" create --filename - >&2
phase='' until=$((SECONDS + limit))
until [[ $phase == Running || $phase == Succeeded || $phase == Failed ]]; do
  ((SECONDS < until)) || {
    echo "admin.sh: the pod of job/$name does not start; its phase is ${phase:-unknown}" >&2
    exit 1
  }
  sleep 1
  phase=$(pods status.phase) || true
done
kubectl --namespace "$namespace" logs --follow "job/$name" || true
until [[ $phase == Succeeded || $phase == Failed ]]; do
  sleep 1
  phase=$(pods status.phase) || true
done
code=$(pods 'status.containerStatuses[0].state.terminated.exitCode') || true
exit "${code:-1}"
