#!/usr/bin/env bash
# The steps of .github/workflows/upgrade.yml. You can also run each by hand, with kubectl pointing at the cluster.
#   upgrade.sh savepoint               take a savepoint of the running detector and print its path
#   upgrade.sh push OVERLAY DIGESTS    commit image digests to $BRANCH; DIGESTS has one file per image, named after it
#   upgrade.sh wait                    wait until both jobs run the images of $OVERLAY and are stable
#   upgrade.sh smoke                   send test traffic on the cluster and reconcile its ledger
#   upgrade.sh objectives SECONDS      fail if an alert of severity `page` fires at $PROMETHEUS within this time
#   upgrade.sh back                    commit the content before the last push to $BRANCH
set -euo pipefail

readonly namespace=streamflow jobs=(streamflow-detect streamflow-archive)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
kustomize="$here/.tools/bin/kustomize"

die() {
  echo "upgrade.sh: $*" >&2
  exit 1
}
need() { [[ -n ${!1:-} ]] || die "\$$1 is not set; see .github/workflows/upgrade.yml for its value"; }

publish() { # publish TREE MESSAGE: commits the tree on top of $BRANCH and pushes it, never by force
  local parents=() old commit
  if old=$(git rev-parse --verify --quiet "origin/$BRANCH"); then parents=(-p "$old"); fi
  commit=$(git -c user.name=deploy -c user.email=deploy@streamflow.invalid commit-tree "$1" "${parents[@]}" -m "$2")
  if [[ -n ${TOKEN:-} ]]; then
    git -c "http.extraheader=AUTHORIZATION: basic $(printf 'x-access-token:%s' "$TOKEN" | base64 -w 0)" \
      push --quiet origin "$commit:refs/heads/$BRANCH"
  else
    git push --quiet origin "$commit:refs/heads/$BRANCH"
  fi
  git update-ref "refs/remotes/origin/$BRANCH" "$commit"
  echo "$BRANCH is at $commit"
}

savepoint() {
  local name until=$((SECONDS + 600)) state=
  name=$(kubectl --namespace "$namespace" create --output name --filename - <<'Y'
apiVersion: flink.apache.org/v1beta1
kind: FlinkStateSnapshot
metadata:
  generateName: before-upgrade-
spec:
  jobReference:
    kind: FlinkDeployment
    name: streamflow-detect
  savepoint: {}
Y
  )
  until [[ $state == COMPLETED ]]; do
    case $state in
    FAILED | ABANDONED)
      die "$name is $state: $(kubectl --namespace "$namespace" get "$name" --output 'jsonpath={.status.error}')"
      ;;
    esac
    ((SECONDS < until)) || die "$name is not completed after ten minutes; its state is ${state:-empty}"
    sleep 2
    state=$(kubectl --namespace "$namespace" get "$name" --output 'jsonpath={.status.state}')
  done
  kubectl --namespace "$namespace" get "$name" --output 'jsonpath={.status.path}{"\n"}'
}

push() {
  local folder=${1:?push OVERLAY DIGESTS} digests=${2:?push OVERLAY DIGESTS} file
  need BRANCH
  need REGISTRY
  digests=$(cd "$digests" && pwd)
  for file in "$digests"/*; do
    [[ $(<"$file") =~ ^sha256:[0-9a-f]{64}$ ]] || die "$file contains no digest (sha256:...)"
    if [[ ${file##*/} != airflow ]]; then
      (cd "$folder" && "$kustomize" edit set image "streamflow/${file##*/}=$REGISTRY/${file##*/}@$(<"$file")")
    fi
  done
  if "$kustomize" build "$folder" | grep -n 000000000000; then
    die "$folder still has the placeholder account 000000000000: write platform.env (docs/deploy.md) and commit it"
  fi
  git add -- "$folder"
  publish "$(git write-tree)" "Deploy $(git describe --tags --always) to ${BRANCH##*/}"
}

back() {
  need BRANCH
  git rev-parse --verify --quiet "origin/$BRANCH~1" >/dev/null || die "$BRANCH has no earlier release to roll back to"
  publish "$(git rev-parse "origin/$BRANCH~1^{tree}")" "Roll back to the previous release"
}

await() {
  local generation image job
  need OVERLAY
  image=$("$kustomize" build "$OVERLAY" | sed -n 's/^  image: \(.*\/job@.*\)$/\1/p' | sort -u)
  [[ -n $image ]] || die "$OVERLAY has no job image with a digest; run \`upgrade.sh push\` first"
  for job in "${jobs[@]}"; do
    kubectl --namespace "$namespace" wait "flinkdeployment/$job" --for "jsonpath={.spec.image}=$image" --timeout 10m
    # The job was stable before, too. So wait until the operator has observed the current generation of the spec.
    generation=$(kubectl --namespace "$namespace" get "flinkdeployment/$job" --output 'jsonpath={.metadata.generation}')
    kubectl --namespace "$namespace" wait "flinkdeployment/$job" --for "jsonpath={.status.observedGeneration}=$generation" --timeout 10m
    kubectl --namespace "$namespace" wait "flinkdeployment/$job" --for 'jsonpath={.status.lifecycleState}=STABLE' --timeout 15m
  done
}

smoke() {
  local name ended=
  name="smoke-$(date +%s)"
  kubectl --namespace "$namespace" create job "$name" --from cronjob/streamflow-smoke
  until [[ $ended == *Complete* ]]; do # the Job has a deadline, so this loop ends
    if [[ $ended == *Failed* ]]; then
      kubectl --namespace "$namespace" logs "job/$name" --tail 20 >&2 || true
      die "the ledger does not reconcile: a record was lost, duplicated or has another outcome than expected"
    fi
    sleep 2
    ended=$(kubectl --namespace "$namespace" get "job/$name" --output 'jsonpath={.status.conditions[?(@.status=="True")].type}')
  done
}

objectives() {
  local until=$((SECONDS + ${1:?objectives SECONDS})) firing
  need PROMETHEUS
  while ((SECONDS < until)); do
    firing=$(curl --fail --silent --show-error --get "$PROMETHEUS/api/v1/query" \
      --data-urlencode 'query=ALERTS{alertstate="firing",severity="page"}' | jq --raw-output '.data.result[].metric.alertname')
    [[ -z $firing ]] || die "alert fires: $firing"
    sleep 15
  done
}

case ${1:-} in
savepoint) savepoint ;;
push) shift && push "$@" ;;
wait) await ;;
smoke) smoke ;;
objectives) shift && objectives "$@" ;;
back) back ;;
*) die "unknown step '${1:-}'; steps: savepoint, push, wait, smoke, objectives, back" ;;
esac
