#!/usr/bin/env bash
# Installs the tools that only tests, benchmarks and deployments need, into .tools. Run `make setup` first. Its parts:
#   monitoring  Prometheus and promtool, which check alerts and dashboards
#   browser     Chromium and axe-core, which try the console
#   platform    kustomize, kubeconform and actionlint, which check k8s/ and the workflows (kustomize also deploys); with
#               terraform on PATH also a stand-in for the AWS provider, which checks terraform/
#   helm        helm, which checks the chart that `make chart` writes
#   terraform   tflint and checkov, which check terraform/ further
#   cluster     a Kubernetes API server and the validator of Flink's operator, which check k8s/
#   collector   OpenTelemetry's collector, which runs the configuration of k8s/collector
set -euo pipefail

# shellcheck source=flink_jobs/local/bootstrap_library.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../flink_jobs/local/bootstrap_library.sh"

platform="$root/tests/lab/platform"

readonly PARTS="monitoring, browser, platform, helm, terraform, cluster, collector"
readonly AXE=4.14.1
readonly AXE_SHA256=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
readonly GO_MINIMUM=1.24
readonly CHECKERS=(
  sigs.k8s.io/kustomize/kustomize/v5@v5.8.1
  github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
  github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
)
readonly HELM=helm.sh/helm/v3/cmd/helm@v3.19.5
readonly TFLINT=github.com/terraform-linters/tflint@v0.64.0
readonly KUBERNETES=1.34.2 # as in tests/lab/platform/controlplane/go.mod
readonly CONTROL_PLANE=(
  go.etcd.io/etcd/server/v3=etcd
  k8s.io/kubernetes/cmd/kube-apiserver=kube-apiserver
  k8s.io/kubernetes/cmd/kube-controller-manager=kube-controller-manager
  k8s.io/kubernetes/cmd/kubectl=kubectl
)
# The validator of Flink's operator was built with the guava of Flink 1.17, all else on its class path is of Flink 1.20.
readonly OLDER_GUAVA=org.apache.flink:flink-shaded-guava:30.1.1-jre-16.1

has_go() { command -v go >/dev/null && version_at_least "$(go env GOVERSION | tr -d go)" "$GO_MINIMUM"; }
require_go() { # require_go WHAT [VERSION]
  local version=${2:-$GO_MINIMUM}
  if ! has_go || ! version_at_least "$(go env GOVERSION | tr -d go)" "$version"; then
    die "Go $version or newer is needed to build $1: install it"
  fi
}

fetch_prometheus() { # Debian's package, unpacked and not installed: nothing starts, and no root is needed
  local folder="$tools/prometheus.new"
  rm -rf "$folder" && mkdir -p "$folder" || return 1
  (cd "$folder" && apt-get download prometheus && dpkg-deb -x prometheus_*.deb . && rm -f prometheus_*.deb) || return 1
  "$folder/usr/bin/promtool" --version || return 1
  rm -rf "$tools/prometheus" && mv "$folder" "$tools/prometheus"
}

ensure_monitoring() {
  if command -v prometheus >/dev/null && command -v promtool >/dev/null; then return; fi
  command -v apt-get >/dev/null || die "no prometheus and promtool on PATH: install them with the system's package manager"
  step prometheus "$tools/prometheus/usr/bin/promtool" "$(digest prometheus)" "fetching Prometheus" fetch_prometheus
}

install_chromium() {
  apt-get update || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-dejavu-core </dev/null
}

fetch_axe() { # npm checks the digest that its registry names; the folder replaces the old one only when it is whole
  local folder="$tools/axe.new"
  rm -rf "$folder" && mkdir -p "$folder" || return 1
  (cd "$folder" && npm pack --silent "axe-core@$AXE" && tar xzf axe-core-*.tgz package/axe.min.js && rm -f axe-core-*.tgz) || return 1
  [[ "$(sha256sum <"$folder/package/axe.min.js")" == "$AXE_SHA256 "* ]] || return 1
  rm -rf "$tools/axe" && mv "$folder" "$tools/axe"
}

ensure_browser() { # without it, the tests in a browser are skipped with this reason
  if ! command -v chromium >/dev/null; then
    if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
      (step chromium /usr/bin/chromium "$(digest chromium)" "installing Chromium" install_chromium) ||
        say "Chromium is missing: the tests in a browser are skipped"
    else
      say "no chromium on PATH: install it with the system's package manager; the tests in a browser are skipped"
    fi
  fi
  if ! command -v npm >/dev/null; then
    say "no npm on PATH: axe-core is left out, and with it the tests of accessibility"
    return
  fi
  (step axe "$tools/axe/package/axe.min.js" "$(digest "$AXE" "$AXE_SHA256")" "fetching axe-core" fetch_axe) ||
    say "axe-core is missing: the tests of accessibility are skipped"
}

install_checker() { # builds a Go module's program into .tools/bin; the module's own checksums are checked
  mkdir -p "$tools/bin" &&
    GOBIN="$tools/bin" GOFLAGS=-buildvcs=false go install -trimpath -ldflags '-s -w' "$1"
}

ensure_checker() { # ensure_checker NAME MODULE TEXT
  step "$1" "$tools/bin/$1" "$(digest "$2")" "$3" install_checker "$2"
}

ensure_platform() {
  local module name
  if ! has_go; then
    say "no Go $GO_MINIMUM or newer found: the tests of k8s/, terraform/ and the workflows are left out with their tools"
    return
  fi
  for module in "${CHECKERS[@]}"; do
    name=${module%@*} name=${name%/v5} name=${name##*/}
    ensure_checker "$name" "$module" "building $name (a minute the first time)"
  done
  if command -v terraform >/dev/null; then ensure_stand_in; else say "no terraform on PATH: its tests are skipped"; fi
}

ensure_helm() {
  require_go helm
  ensure_checker helm "$HELM" "building helm (two minutes the first time)"
}

build_stand_in() { # terraform looks for providers in this folder if .tools/terraform.rc names it
  local folder="$tools/terraform/registry.terraform.io/hashicorp/aws/6.25.0/linux_amd64"
  mkdir -p "$folder" && cd "$platform/standin" &&
    GOFLAGS=-buildvcs=false go build -trimpath -ldflags '-s -w' -o "$folder/terraform-provider-aws_v6.25.0" . &&
    cp schema.json "$folder/" &&
    printf 'provider_installation {\n  filesystem_mirror {\n    path = "%s"\n  }\n}\ndisable_checkpoint = true\n' \
      "$tools/terraform" >"$tools/terraform.rc"
}

ensure_stand_in() {
  local stand_in="$platform/standin"
  step terraform "$tools/terraform.rc" "$(digest "$stand_in/main.go" "$stand_in/go.sum" "$stand_in/schema.json" "$root")" \
    "building the stand-in for Terraform's provider (a minute the first time)" build_stand_in
}

ensure_terraform() {
  local uv="$tools/uv/bin/uv" python="$root/.venv/bin/python"
  command -v terraform >/dev/null || die "terraform 1.11 or newer is needed to check terraform/: install it"
  require_go "the stand-in for Terraform's provider"
  ensure_stand_in
  ensure_checker tflint "$TFLINT" "building tflint (five minutes the first time)"
  [[ -x "$python" ]] || die "checkov needs Python and uv: run \`make setup\` first"
  [[ -x "$uv" ]] || uv=uv
  step checkov "$root/.venv-checkov" "$(digest "$root/uv.lock")" "installing checkov" \
    uv_sync "$uv" "$(readlink -f "$python")" "$root/.venv-checkov" --no-default-groups --group checkov
}

build_control_plane() { # build_control_plane PACKAGE PROGRAM
  local version=k8s.io/component-base/version
  cd "$platform/controlplane" && mkdir -p "$tools/controlplane" &&
    GOFLAGS=-buildvcs=false nice go build -p 2 -trimpath -o "$tools/controlplane/$2" -ldflags "-s -w \
      -X $version.gitVersion=v$KUBERNETES -X $version.gitMajor=1 -X $version.gitMinor=34" "$1"
}

fetch_validator() {
  copy_jars flink-operator "$platform/operator/pom.xml" &&
    mvn -B -q "$DEPENDENCY_PLUGIN:copy" -Dartifact="$OLDER_GUAVA" -DoutputDirectory="$tools/jars/flink-operator" </dev/null
}

ensure_cluster() { # see tests/lab/platform/control_plane.py and operator_checks.py
  local item name jar
  require_go "the API server that k8s/ is applied to"
  for item in "${CONTROL_PLANE[@]}"; do
    name=${item#*=}
    step "$name" "$tools/controlplane/$name" \
      "$(digest "$platform/controlplane/go.mod" "$platform/controlplane/go.sum" "$KUBERNETES" "$item")" \
      "building $name from its sources (all four: about 20 minutes the first time)" build_control_plane "${item%=*}" "$name"
  done
  jar=$(compgen -G "$tools/jars/flink-operator/*.jar" | head -n1) || true
  step flink-operator "$jar" "$(digest "$platform/operator/pom.xml" "$OLDER_GUAVA" "$DEPENDENCY_PLUGIN")" \
    "fetching jars: flink-operator (about 100 MB)" fetch_validator
}

build_collector() { # its own builder runs `go mod tidy`, which also needs the modules of the parts' tests
  mkdir -p "$tools/collector" && cd "$platform/otelcol" &&
    GOFLAGS=-buildvcs=false nice go build -p 2 -trimpath -ldflags '-s -w' -o "$tools/collector/otelcol" .
}

ensure_collector() { # see tests/lab/platform/collector_checks.py
  local source="$platform/otelcol"
  require_go "OpenTelemetry's collector" 1.26
  step collector "$tools/collector/otelcol" "$(digest "$source/main.go" "$source/go.mod" "$source/go.sum")" \
    "building OpenTelemetry's collector (about five minutes the first time)" build_collector
}

main() {
  local part start=$SECONDS
  (($#)) || die "name at least one part: $PARTS"
  begin
  for part in "$@"; do
    case $part in
      monitoring | browser | platform | helm | terraform | cluster | collector) "ensure_$part" ;;
      *) die "there is no part $part: $PARTS" ;;
    esac
  done
  say "lab tools ($*): ready in $((SECONDS - start)) s"
}

main "$@"
