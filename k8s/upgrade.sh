#!/usr/bin/env bash
# The steps of .github/workflows/upgrade.yml. You can also run each by hand, with kubectl pointing at the cluster.
#   upgrade.sh savepoint               take a savepoint of the running detector and print its path
#   upgrade.sh promote SOURCE DIGESTS  copy images by digest, with their signatures, from the registry SOURCE to $REGISTRY
#   upgrade.sh push OVERLAY DIGESTS    commit image digests to $BRANCH; DIGESTS has one file per image, named after it
#   upgrade.sh wait                    wait until every job and deployment of $OVERLAY runs its image and is stable
#   upgrade.sh smoke                   send test traffic on the cluster and reconcile its ledger
#   upgrade.sh objectives SECONDS      fail if an alert of severity `page` fires at $PROMETHEUS within this time
#   upgrade.sh back COMMIT             roll back the push that made COMMIT: commit the content before it to $BRANCH.
#                                      Changes nothing if COMMIT was not pushed, is rolled back, or is not the newest commit
set -euo pipefail

readonly namespace=streamflow images=(job tools airflow)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
kustomize="$here/.tools/bin/kustomize"

die() {
  echo "upgrade.sh: $*" >&2
  exit 1
}
need() { [[ -n ${!1:-} ]] || die "\$$1 is not set; see .github/workflows/upgrade.yml for its value"; }

remote() { # remote ARGUMENTS: runs git with the token of the workflow, if there is one
  local header=()
  if [[ -n ${TOKEN:-} ]]; then
    header=(-c "http.extraheader=AUTHORIZATION: basic $(printf 'x-access-token:%s' "$TOKEN" | base64 -w 0)")
  fi
  git "${header[@]}" "$@"
}

publish() { # publish TREE MESSAGE: commits the tree on top of $BRANCH and pushes it, never by force
  local parents=() old commit
  if old=$(git rev-parse --verify --quiet "origin/$BRANCH"); then parents=(-p "$old"); fi
  commit=$(git -c user.name=deploy -c user.email=deploy@streamflow.invalid commit-tree "$1" "${parents[@]}" -m "$2")
  # Written before the push: if the connection breaks after the server has taken the commit, it can still be rolled back.
  if [[ -n ${GITHUB_OUTPUT:-} ]]; then echo "commit=$commit" >>"$GITHUB_OUTPUT"; fi
  remote push --quiet origin "$commit:refs/heads/$BRANCH"
  git update-ref "refs/remotes/origin/$BRANCH" "$commit"
  echo "$BRANCH is at $commit"
}

digest_of() { # digest_of DIGESTS IMAGE: prints the digest that the build stored
  [[ -f $1/$2 ]] || die "$1 has no digest of the image $2"
  [[ $(<"$1/$2") =~ ^sha256:[0-9a-f]{64}$ ]] || die "$1/$2 contains no digest (sha256:...)"
  cat "$1/$2"
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

promote() {
  local source=${1:?promote SOURCE DIGESTS} digests=${2:?promote SOURCE DIGESTS} image digest version
  need REGISTRY
  need SIGNER
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/pyproject.toml")
  for image in "${images[@]}"; do
    digest=$(digest_of "$digests" "$image")
    # ECR refuses to write a tag again, so a repeated run copies only the images that are missing.
    if [[ $source != "$REGISTRY" ]] && ! verified "$REGISTRY/$image@$digest" 2>/dev/null; then
      cosign copy "$source/$image@$digest" "$REGISTRY/$image:$version"
    fi
    verified "$REGISTRY/$image@$digest" || die "$REGISTRY lacks $image@$digest, or our build has not signed it"
  done
}

verified() { # verified IMAGE: returns 0 if the registry has the image with a signature of our build
  cosign verify --certificate-identity "$SIGNER" \
    --certificate-oidc-issuer https://token.actions.githubusercontent.com "$1" >/dev/null
}

push() {
  local folder=${1:?push OVERLAY DIGESTS} digests=${2:?push OVERLAY DIGESTS} image digest values=$here/k8s/airflow/values.yaml
  need BRANCH
  need REGISTRY
  digests=$(cd "$digests" && pwd)
  for image in "${images[@]}"; do
    digest=$(digest_of "$digests" "$image")
    if [[ $image == airflow ]]; then # Airflow has its own chart, so its image stands in the values of the chart
      sed -i -e "s|^defaultAirflowRepository: .*|defaultAirflowRepository: $REGISTRY/airflow|" \
        -e "s|^defaultAirflowDigest: .*|defaultAirflowDigest: $digest|" "$values"
    else
      (cd "$folder" && "$kustomize" edit set image "streamflow/$image=$REGISTRY/$image@$digest")
    fi
  done
  if { "$kustomize" build "$folder" && cat "$values"; } | grep -n 000000000000; then
    die "$folder still has the placeholder account 000000000000: write platform.env (docs/deploy.md) and commit it"
  fi
  git add -- "$folder" "$values"
  publish "$(git write-tree)" "Deploy $(git describe --tags --always) to ${BRANCH##*/}"
}

back() {
  local commit=${1:?"back COMMIT; COMMIT is the output of the step push"} newest
  need BRANCH
  remote fetch --quiet origin "+refs/heads/$BRANCH:refs/remotes/origin/$BRANCH"
  newest=$(git rev-parse "origin/$BRANCH")
  if [[ $newest != "$commit" ]]; then
    echo "$BRANCH is at $newest, not at $commit: that commit was never pushed or is no longer in force; nothing is rolled back"
    return
  fi
  if git log -1 --format=%B "$commit" | grep -q '^Rolled-back: '; then
    die "$commit is itself a rollback; release a fixed version instead"
  fi
  git rev-parse --verify --quiet "$commit~1" >/dev/null || die "$BRANCH has no earlier release to roll back to"
  publish "$(git rev-parse "$commit~1^{tree}")" "Roll back to the previous release

Rolled-back: $commit"
}

names() { # names KIND: prints the names of the objects of this kind in the manifests on standard input
  awk -v kind="$1" '
    /^---/ { current = "" }
    /^kind: / { current = $2 }
    /^[a-z]/ { in_metadata = $1 == "metadata:" }
    in_metadata && current == kind && /^  name: / { print $2 }'
}

image_of() { # image_of NAME: prints the image with a digest in the manifests on standard input
  sed -n "s|^ *\(- \)\{0,1\}image: \(.*/$1@.*\)\$|\2|p" | sort -u
}

await() {
  local generation image job manifests deployment path='.spec.template.spec.containers[0].image'
  need OVERLAY
  manifests=$("$kustomize" build "$OVERLAY")
  image=$(image_of job <<<"$manifests")
  [[ -n $image ]] || die "$OVERLAY has no job image with a digest; run \`upgrade.sh push\` first"
  for job in $(names FlinkDeployment <<<"$manifests"); do # the optional lake job, too
    kubectl --namespace "$namespace" wait "flinkdeployment/$job" --for "jsonpath={.spec.image}=$image" --timeout 10m
    # The job was stable before, too. So wait until the operator has observed the current generation of the spec.
    generation=$(kubectl --namespace "$namespace" get "flinkdeployment/$job" --output 'jsonpath={.metadata.generation}')
    kubectl --namespace "$namespace" wait "flinkdeployment/$job" --for "jsonpath={.status.observedGeneration}=$generation" --timeout 10m
    kubectl --namespace "$namespace" wait "flinkdeployment/$job" --for 'jsonpath={.status.lifecycleState}=STABLE' --timeout 15m
  done
  image=$(image_of tools <<<"$manifests")
  [[ -n $image ]] || die "$OVERLAY has no tools image with a digest; run \`upgrade.sh push\` first"
  for deployment in $(names Deployment <<<"$manifests"); do
    kubectl --namespace "$namespace" wait "deployment/$deployment" --for "jsonpath={$path}=$image" --timeout 10m
    kubectl --namespace "$namespace" rollout status "deployment/$deployment" --timeout 10m
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
promote) shift && promote "$@" ;;
push) shift && push "$@" ;;
wait) await ;;
smoke) smoke ;;
objectives) shift && objectives "$@" ;;
back) shift && back "$@" ;;
*) die "unknown step '${1:-}'; steps: savepoint, promote, push, wait, smoke, objectives, back" ;;
esac
