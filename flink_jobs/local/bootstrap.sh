#!/usr/bin/env bash
# Makes a fresh clone runnable: system tools, Python environment, jars. Run it as often as you like; when nothing
# changed it only compares a few hashes. Everything it makes lives in .venv and .tools; with the argument `marts` it
# also makes .venv-orchestration, which has dbt and Airflow; with `platform` it builds what checks k8s/ and workflows,
# with `terraform` what checks terraform/, with `cluster` the API server that k8s/ is applied to, with `monitoring` it
# fetches Prometheus and promtool.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
tools="$root/.tools"
maven_dir="$root/flink_jobs/local/maven"
log="$tools/bootstrap.log"

readonly UV_PIN=0.13.8
readonly UV_MINIMUM=0.9
readonly POSTGRES_MINIMUM=15 # the marts use MERGE
readonly JAVA_MINIMUM=17 # Kafka 4 brokers need 17
readonly JAVA_MAXIMUM=21 # Flink 2.2 is tested up to 21; its start script's flags stop a JVM of 24 or newer
readonly GO_MINIMUM=1.24
readonly CHECKERS=(
  sigs.k8s.io/kustomize/kustomize/v5@v5.8.1
  github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
  github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
)
readonly KUBERNETES=1.34.2 # as in tests/lab/platform/controlplane/go.mod
readonly CONTROL_PLANE=(
  go.etcd.io/etcd/server/v3=etcd
  k8s.io/kubernetes/cmd/kube-apiserver=kube-apiserver
  k8s.io/kubernetes/cmd/kube-controller-manager=kube-controller-manager
  k8s.io/kubernetes/cmd/kubectl=kubectl
)
# The validator of Flink's operator was built with the guava of Flink 1.17, all else on its class path is of Flink 1.20.
readonly OLDER_GUAVA=org.apache.flink:flink-shaded-guava:30.1.1-jre-16.1
readonly TFLINT=github.com/terraform-linters/tflint@v0.64.0
readonly DEPENDENCY_PLUGIN=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

# A caller's own Python settings must not leak into ours.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV UV_PROJECT_ENVIRONMENT UV_PYTHON

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() {
  printf 'bootstrap: %s\n' "$*" >&2
  exit 2
}

# ---------------------------------------------------------------- finding things

java_major() { # the major version of a Java home, from its release file; nothing when it is no Java home
  [[ -x "$1/bin/java" && -r "$1/release" ]] || return 1
  sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release"
}

find_java() { # prints the home of a Java that both Flink and Kafka accept
  local candidates=() home major
  [[ -n "${JAVA_HOME:-}" ]] && candidates+=("$JAVA_HOME")
  if command -v java >/dev/null; then
    candidates+=("$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")")
  fi
  candidates+=(/usr/lib/jvm/* /opt/java/*)
  for home in "${candidates[@]}"; do
    major=$(java_major "$home") || continue
    if [[ -n "$major" ]] && ((major >= JAVA_MINIMUM && major <= JAVA_MAXIMUM)); then
      echo "$home"
      return
    fi
  done
  return 1
}

find_postgres() { # prints the folder of initdb and postgres
  local candidates=() dir major
  [[ -n "${STREAMFLOW_POSTGRES_BIN:-}" ]] && candidates+=("$STREAMFLOW_POSTGRES_BIN")
  if command -v postgres >/dev/null; then candidates+=("$(dirname "$(readlink -f "$(command -v postgres)")")"); fi
  while read -r dir; do candidates+=("$dir"); done < <(
    printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin | sort -rV
  )
  for dir in "${candidates[@]}"; do
    [[ -x "$dir/initdb" && -x "$dir/postgres" ]] || continue
    major=$("$dir/postgres" --version | sed -n 's/^[^0-9]*\([0-9]*\).*/\1/p')
    if ((major >= POSTGRES_MINIMUM)); then
      echo "$dir"
      return
    fi
  done
  return 1
}

# Python must be 3.11, able to make environments, and come with libpython: Flink's thread mode loads it into the JVM.
python_probe='
import ctypes, os, platform, sys, sysconfig
import ensurepip, venv
if sys.version_info[:2] != (3, 11) or platform.machine() != "x86_64": sys.exit(1)
name = "libpython3.11.so.1.0"
lib = sysconfig.get_config_var("LIBDIR") or ""
arch = sysconfig.get_config_var("MULTIARCH") or ""
if not any(os.path.exists(os.path.join(d, name)) for d in (lib, os.path.join(lib, arch))): ctypes.CDLL(name)
print(os.path.realpath(sys.executable))'

find_python() {
  local candidate found
  local candidates=()
  [[ -n "${STREAMFLOW_PYTHON:-}" ]] && candidates+=("$STREAMFLOW_PYTHON")
  while read -r candidate; do candidates+=("$candidate"); done < <(
    type -aP python3.11 || true
    ls -d "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}"/versions/3.11*/bin/python3.11 2>/dev/null || true
    printf '%s\n' /usr/local/bin/python3.11 /usr/bin/python3.11 /opt/python/3.11/bin/python3.11
    type -aP python3 || true
    if command -v uv >/dev/null; then uv python find --system 3.11 2>/dev/null || true; fi
  )
  for candidate in "${candidates[@]}"; do
    [[ -x "$candidate" ]] || continue
    if found=$("$candidate" -I -c "$python_probe" 2>/dev/null); then
      echo "$found"
      return
    fi
  done
  return 1
}

# ---------------------------------------------------------------- system packages

missing=()   # for people
packages=()  # for apt-get

look() {
  missing=()
  packages=()
  if ! java_home=$(find_java); then
    missing+=("Java $JAVA_MINIMUM to $JAVA_MAXIMUM (set JAVA_HOME if it is in an unusual place)")
    packages+=("openjdk-17-jre-headless|openjdk-21-jre-headless")
  fi
  if ! command -v mvn >/dev/null; then
    missing+=("Maven 3.6 or newer (mvn on PATH)")
    packages+=("maven")
  fi
  if ! find_postgres >/dev/null; then
    missing+=("PostgreSQL $POSTGRES_MINIMUM or newer server programs (set STREAMFLOW_POSTGRES_BIN to the folder of initdb)")
    packages+=("postgresql")
  fi
  if ! python=$(find_python); then
    missing+=("Python 3.11 for x86_64 with venv and libpython (set STREAMFLOW_PYTHON to it if it is in an unusual place)")
    packages+=("python3.11" "python3.11-venv" "libpython3.11")
  fi
}

first_available() { # of "a|b|c", the first package apt can install
  local name
  for name in ${1//|/ }; do
    if [[ -n "$(apt-cache show --no-all-versions "$name" 2>/dev/null)" ]]; then
      echo "$name"
      return
    fi
  done
  return 1
}

install_packages() {
  local wanted=() name alternatives
  say "missing here: $(printf '%s; ' "${missing[@]%% (*}")installing with apt-get (log: $log)"
  apt-get update >>"$log" 2>&1 || say "apt-get update had errors; trying with the package lists there are"
  for alternatives in "${packages[@]}"; do
    if name=$(first_available "$alternatives"); then wanted+=("$name"); fi
  done
  ((${#wanted[@]})) || return 0
  # A Debian package of Postgres would start its own cluster on 5432; we only want the programs.
  local keep_cluster=0 conf=/etc/postgresql-common/createcluster.conf
  if [[ " ${wanted[*]} " == *" postgresql "* && ! -e $conf ]]; then
    mkdir -p "$(dirname "$conf")"
    echo "create_main_cluster = false" >"$conf"
    keep_cluster=1
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    -o Dpkg::Options::=--force-confold "${wanted[@]}" </dev/null >>"$log" 2>&1 ||
    say "apt-get could not install everything: $(grep -m1 '^E:' "$log" || echo "see $log")"
  if ((keep_cluster)); then rm -f "$conf"; fi
}

ensure_system() {
  local start=$SECONDS
  look
  if ((${#missing[@]})) && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    install_packages
    look
  fi
  if ((${#missing[@]})); then
    {
      echo "bootstrap: this machine lacks:"
      printf '  - %s\n' "${missing[@]}"
      echo "On Debian 12:  sudo apt-get install openjdk-17-jre-headless maven postgresql python3.11 python3.11-venv libpython3.11"
      echo "Elsewhere: use the system's package manager; Python 3.11 also comes from \`pyenv install 3.11\` (with --enable-shared)"
      echo "or \`uv python install 3.11\`. Then run the same command again."
    } >&2
    exit 2
  fi
  export JAVA_HOME="$java_home"
  say "system tools: Java $(java_major "$java_home"), $("$(find_postgres)/postgres" --version), Python at $python ($((SECONDS - start)) s)"
}

# ---------------------------------------------------------------- stamps: redo a step only when its inputs changed

digest() { # of the text of all arguments and the content of those that are files
  local item
  for item in "$@"; do if [[ -f "$item" ]]; then cat "$item"; else printf '%s\n' "$item"; fi; done | sha256sum | cut -d' ' -f1
}
fresh() { [[ -f "$tools/stamps/$1" && "$(cat "$tools/stamps/$1")" == "$2" ]]; }
stamp() { mkdir -p "$tools/stamps" && echo "$2" >"$tools/stamps/$1"; }

step() { # step NAME HASH WHAT COMMAND...: runs the command with its output in the log, unless the stamp is fresh
  local name=$1 hash=$2 what=$3 start=$SECONDS
  shift 3
  if fresh "$name" "$hash"; then return; fi
  say "$what ..."
  printf '\n== %s\n' "$what" >>"$log"
  if ! "$@" >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    die "$what failed. Is the package registry reachable from here (proxy, mirror, certificate)? Whole log: $log"
  fi
  stamp "$name" "$hash"
  say "$what: done in $((SECONDS - start)) s"
}

# ---------------------------------------------------------------- steps

version_at_least() { [[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n1)" == "$2" ]]; }

install_uv() {
  "$python" -m venv --clear "$tools/uv" &&
    "$tools/uv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check "uv==$UV_PIN"
}

ensure_uv() {
  if command -v uv >/dev/null && version_at_least "$(uv --version | cut -d' ' -f2)" "$UV_MINIMUM"; then
    uv=$(command -v uv)
    return
  fi
  uv="$tools/uv/bin/uv"
  [[ -x "$uv" ]] || rm -f "$tools/stamps/uv"
  step uv "$(digest "$UV_PIN" "$python")" "installing uv $UV_PIN" install_uv
}

uv_sync() { # uv_sync ENVIRONMENT OPTIONS...: what the lock says, into that environment
  # Without a usable HOME uv has nowhere for its cache.
  if [[ -z "${HOME:-}" || ! -w "${HOME:-/}" ]]; then export UV_CACHE_DIR="${UV_CACHE_DIR:-$tools/uv-cache}"; fi
  # uv brings its own certificates; a machine behind a proxy has the right ones in the system's store.
  if [[ -z "${SSL_CERT_FILE:-}" && -e /etc/ssl/certs/ca-certificates.crt ]]; then
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" UV_NATIVE_TLS="${UV_NATIVE_TLS:-1}" # the second is the older name
  fi
  local environment=$1
  shift
  cd "$root" && UV_PROJECT_ENVIRONMENT="$environment" \
    "$uv" sync --frozen --no-progress --python "$python" --no-python-downloads "$@"
}

ensure_marts() { # Flink and dbt want different protobufs, so they cannot share an environment
  local environment="$root/.venv-orchestration"
  [[ -x "$environment/bin/dbt" ]] || rm -f "$tools/stamps/marts"
  step marts "$(digest "$root/uv.lock" "$root/pyproject.toml" "$python")" \
    "installing dbt and Airflow (about 370 MB the first time)" \
    uv_sync "$environment" --no-default-groups --group orchestration
  echo "$root" >"$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/streamflow.pth"
}

ensure_python() {
  [[ -x "$root/.venv/bin/python" ]] || rm -f "$tools/stamps/python"
  step python "$(digest "$root/uv.lock" "$root/pyproject.toml" "$python")" \
    "installing Python packages (about 500 MB the first time)" uv_sync "$root/.venv"
  site=$("$root/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  # The project is not a package: this one line makes `import flink_jobs` work from any folder.
  echo "$root" >"$site/streamflow.pth"
  cat >"$root/.venv/bin/streamflow.new" <<'LAUNCHER'
#!/bin/sh
# Written by flink_jobs/local/bootstrap.sh. -P: the folder one happens to be in is not imported from.
here=$(dirname "$(readlink -f "$0")")
# Many images set it, and then every process compiles all that it imports, the detector for five seconds at each start.
unset PYTHONDONTWRITEBYTECODE
exec "$here/python" -P -m flink_jobs.cli "$@"
LAUNCHER
  chmod 755 "$root/.venv/bin/streamflow.new"
  mv -f "$root/.venv/bin/streamflow.new" "$root/.venv/bin/streamflow"
}

install_checkers() { # install_checkers MODULE...: into .tools/bin, by the versions' own checksums
  local module
  mkdir -p "$tools/bin" || return 1
  for module in "$@"; do
    GOBIN="$tools/bin" GOFLAGS=-buildvcs=false go install -trimpath -ldflags '-s -w' "$module" || return 1
  done
}

ensure_platform() {
  if ! command -v go >/dev/null || ! version_at_least "$(go env GOVERSION | tr -d go)" "$GO_MINIMUM"; then
    say "there is no Go $GO_MINIMUM or newer here: kustomize, kubeconform and actionlint are left out, and with them the tests of k8s/"
    return
  fi
  [[ -x "$tools/bin/kustomize" && -x "$tools/bin/kubeconform" && -x "$tools/bin/actionlint" ]] || rm -f "$tools/stamps/checkers"
  step checkers "$(digest "${CHECKERS[*]}")" "building kustomize, kubeconform and actionlint (a minute or two the first time)" \
    install_checkers "${CHECKERS[@]}"
}

build_stand_in() { # where terraform looks for providers when .tools/terraform.rc says so
  local folder="$tools/terraform/registry.terraform.io/hashicorp/aws/6.25.0/linux_amd64"
  mkdir -p "$folder" && cd "$stand_in" &&
    GOFLAGS=-buildvcs=false go build -trimpath -ldflags '-s -w' -o "$folder/terraform-provider-aws_v6.25.0" . &&
    cp schema.json "$folder/" &&
    printf 'provider_installation {\n  filesystem_mirror {\n    path = "%s"\n  }\n}\ndisable_checkpoint = true\n' \
      "$tools/terraform" >"$tools/terraform.rc"
}

ensure_terraform() { # tflint, checkov, and a stand-in for the provider: see tests/lab/platform/standin
  local stand_in="$root/tests/platform/standin" checkov="$root/.venv-checkov"
  command -v terraform >/dev/null || die "terraform 1.11 or newer is needed to check terraform/: install it"
  command -v go >/dev/null || die "Go $GO_MINIMUM or newer is needed to build the stand-in of the provider"
  step terraform "$(digest "$stand_in/main.go" "$stand_in/go.sum" "$stand_in/schema.json" "$root")" \
    "building the stand-in for Terraform's provider" build_stand_in
  [[ -x "$tools/bin/tflint" ]] || rm -f "$tools/stamps/tflint"
  step tflint "$(digest "$TFLINT")" "building tflint (five minutes the first time)" install_checkers "$TFLINT"
  step checkov "$(digest "$root/uv.lock" "$python")" "installing checkov" \
    uv_sync "$checkov" --no-default-groups --group checkov
}

copy_jars() { # copy_jars NAME [POM]: into a new folder first, so that a broken download never looks complete
  local target="$tools/jars/$1" fresh_dir="$tools/jars/$1.new"
  rm -rf "$fresh_dir" && mkdir -p "$fresh_dir"
  mvn -B -q -f "${2:-$maven_dir/$1.xml}" "$DEPENDENCY_PLUGIN:copy-dependencies" \
    -DincludeScope=runtime -DoutputDirectory="$fresh_dir" </dev/null || return 1
  ls "$fresh_dir"/*.jar >/dev/null || return 1
  rm -rf "$target" && mv "$fresh_dir" "$target"
}

ensure_jars() {
  local name what
  for name in connectors kafka; do
    what="fetching jars: $name"
    ls "$tools/jars/$name"/*.jar >/dev/null 2>&1 || rm -f "$tools/stamps/jars-$name"
    step "jars-$name" "$(digest "$maven_dir/$name.xml" "$DEPENDENCY_PLUGIN")" "$what" copy_jars "$name"
  done
}

build_control_plane() { # build_control_plane PACKAGE PROGRAM
  local version=k8s.io/component-base/version
  cd "$control_plane" && mkdir -p "$tools/controlplane" &&
    GOFLAGS=-buildvcs=false nice go build -p 2 -trimpath -o "$tools/controlplane/$2" -ldflags "-s -w \
      -X $version.gitVersion=v$KUBERNETES -X $version.gitMajor=1 -X $version.gitMinor=34" "$1"
}

fetch_validator() {
  copy_jars flink-operator "$root/tests/platform/operator/pom.xml" &&
    mvn -B -q "$DEPENDENCY_PLUGIN:copy" -Dartifact="$OLDER_GUAVA" -DoutputDirectory="$tools/jars/flink-operator" </dev/null
}

ensure_cluster() { # see tests/lab/platform/control_plane.py and operator_checks.py
  local control_plane="$root/tests/platform/controlplane" item
  command -v go >/dev/null || die "Go $GO_MINIMUM or newer is needed to build the API server that k8s/ is applied to"
  for item in "${CONTROL_PLANE[@]}"; do
    [[ -x "$tools/controlplane/${item#*=}" ]] || rm -f "$tools/stamps/${item#*=}"
    step "${item#*=}" "$(digest "$control_plane/go.mod" "$control_plane/go.sum" "$KUBERNETES" "$item")" \
      "building ${item#*=} from its sources (all four: about 20 minutes the first time)" \
      build_control_plane "${item%=*}" "${item#*=}"
  done
  ls "$tools/jars/flink-operator"/*.jar >/dev/null 2>&1 || rm -f "$tools/stamps/flink-operator"
  step flink-operator "$(digest "$root/tests/platform/operator/pom.xml" "$OLDER_GUAVA" "$DEPENDENCY_PLUGIN")" \
    "fetching jars: flink-operator (about 100 MB)" fetch_validator
}

link_flink_lib() {
  # One folder for the cluster's class path. Setting `pipeline.jars` in a job instead would drop the flink-python jar,
  # and PEMJA's native library can be loaded only once per JVM, so it belongs here and not in a job.
  local target="$tools/flink-lib" fresh_dir="$tools/flink-lib.new" jar
  rm -rf "$fresh_dir" && mkdir -p "$fresh_dir"
  for jar in "$site"/pyflink/lib/*.jar "$site"/pyflink/opt/flink-python-*.jar "$tools"/jars/connectors/*.jar; do
    ln -s "$jar" "$fresh_dir/" || return 1
  done
  rm -rf "$target" && mv "$fresh_dir" "$target"
}

ensure_flink_lib() {
  [[ -d "$tools/flink-lib" ]] || rm -f "$tools/stamps/flink-lib"
  step flink-lib "$(digest "$site" "$(ls "$site/pyflink/lib" "$site/pyflink/opt" "$tools/jars/connectors")")" \
    "linking the Flink class path" link_flink_lib
}

compile_core() { # the core runs as Python too: no compiler is no reason to stop
  cd "$root" || return 1
  "$root/.venv/bin/python" -P -m flink_jobs.native.build >>"$log" 2>&1 ||
    say "the core is not compiled and runs as Python, slower and with the same results: $(tail -n 1 "$log")"
}

ensure_native_core() {
  local folder
  folder=$("$root/.venv/bin/python" -P -c 'from flink_jobs.native.modules import build_folder; print(build_folder())')
  [[ -d $folder ]] || rm -f "$tools/stamps/native"
  step native "$(digest "$folder")" "compiling the core" compile_core
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
  [[ -x "$tools/prometheus/usr/bin/promtool" ]] || rm -f "$tools/stamps/prometheus"
  step prometheus "$(digest prometheus)" "fetching Prometheus" fetch_prometheus
}

main() {
  local start=$SECONDS
  [[ "$(uname -s)-$(uname -m)" == Linux-x86_64 ]] ||
    die "this is $(uname -s) on $(uname -m); Flink's Python thread mode (PEMJA) has wheels for Linux on x86_64 only."
  mkdir -p "$tools/stamps" 2>/dev/null || true
  [[ -w "$tools" && -w "$root" ]] || die "cannot write to $root or its .tools: run as the owner of the checkout, or clone it anew."
  # Two runs at once (two terminals, parallel CI steps) take turns.
  exec 9>"$tools/.lock"
  if command -v flock >/dev/null && ! flock -n 9; then
    say "another bootstrap is running; waiting for it"
    flock 9
  fi
  : >"$log"
  ensure_system
  ensure_uv
  ensure_python
  ensure_jars
  ensure_flink_lib
  ensure_native_core
  local part
  for part in "$@"; do
    case $part in
      marts) ensure_marts ;;
      monitoring) ensure_monitoring ;;
      platform) ensure_platform ;;
      terraform) ensure_terraform ;;
      cluster) ensure_cluster ;;
      *) die "there is no part $part: marts, monitoring, platform, terraform, cluster" ;;
    esac
  done
  say "ready in $((SECONDS - start)) s"
}

main "$@"
