#!/usr/bin/env bash
# Makes a fresh clone runnable: system programs, Python environment, jars, compiled core. Run it as often as you like:
# if nothing changed it only compares hashes. It writes only to .venv and .tools. With the argument `marts` it also makes
# .venv-orchestration with dbt and Airflow, and fetches the jars of the lake job; with `registry` it fetches the schema registry
# (140 MB). tests/lab/bootstrap.sh installs the tools that only tests and benchmarks need.
set -euo pipefail

# shellcheck source=flink_jobs/local/bootstrap_library.sh
source "$(dirname "${BASH_SOURCE[0]}")/bootstrap_library.sh"
# shellcheck source=flink_jobs/local/system_programs.sh
source "$(dirname "${BASH_SOURCE[0]}")/system_programs.sh"

readonly UV_PIN=0.13.8
readonly UV_MINIMUM=0.9
readonly REGISTRY=io.apicurio:apicurio-registry-app:2.6.13.Final:tar.gz:all

install_uv() {
  "$python" -m venv --clear "$tools/uv" &&
    "$tools/uv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check "uv==$UV_PIN"
}

ensure_uv() {
  if command -v uv >/dev/null && version_at_least "$(uv --version | cut -d' ' -f2)" "$UV_MINIMUM"; then
    uv=$(command -v uv)
  else
    uv="$tools/uv/bin/uv"
    step uv "$uv" "$(digest "$UV_PIN" "$python")" "installing uv $UV_PIN" install_uv
  fi
}

packages_of() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

ensure_environment() { # ensure_environment NAME FOLDER PROGRAM TEXT OPTIONS...
  local name=$1 folder="$root/$2" program=$3 what=$4
  shift 4
  step "$name" "$folder/bin/$program" "$(digest "$root/uv.lock" "$root/pyproject.toml" "$python")" "$what" \
    uv_sync "$uv" "$python" "$folder" "$@"
  # The project is not a package: this one line makes `import flink_jobs` work from any folder.
  echo "$root" >"$(packages_of "$folder")/streamflow.pth"
}

write_launcher() {
  cat >"$root/.venv/bin/streamflow.new" <<'LAUNCHER'
#!/bin/sh
# Written by flink_jobs/local/bootstrap.sh. With -P nothing is imported from the current folder.
here=$(dirname "$(readlink -f "$0")")
# Many images set this variable. Without bytecode every process compiles all its imports: the detector for 5 s per start.
unset PYTHONDONTWRITEBYTECODE
exec "$here/python" -P -m flink_jobs.cli "$@"
LAUNCHER
  chmod 755 "$root/.venv/bin/streamflow.new"
  mv -f "$root/.venv/bin/streamflow.new" "$root/.venv/bin/streamflow"
}

ensure_jars() { # ensure_jars NAME...
  local name pom result
  for name in "$@"; do
    pom="$root/flink_jobs/local/maven/$name.xml"
    result=$(compgen -G "$tools/jars/$name/*.jar" | head -n1) || true
    step "jars-$name" "$result" "$(digest "$pom" "$DEPENDENCY_PLUGIN")" "fetching jars: $name" copy_jars "$name" "$pom"
  done
}

fetch_beside() { # fetch_beside NAME...: for a background process; its output goes to a log of its own
  local log="$tools/bootstrap-jars.log"
  : >"$log"
  ensure_jars "$@"
}

start_jars() { # start_jars NAME...: fetches jars while the packages are installed
  trap wait EXIT # also after a failure or an interrupt: the lock is held until no process writes to .tools
  fetch_beside "$@" &
  jars=$!
}

await_jars() { wait "$jars" || exit 2; } # the background process has printed the failure

link_flink_lib() { # link_flink_lib SITE_PACKAGES
  # One folder for the cluster's class path. Setting `pipeline.jars` in a job instead would drop the flink-python jar,
  # and a JVM can load PEMJA's native library only once, so the jar must be here and not in a job.
  local target="$tools/flink-lib" new="$tools/flink-lib.new" jar
  rm -rf "$new" && mkdir -p "$new" || return 1
  for jar in "$1"/pyflink/lib/*.jar "$1"/pyflink/opt/flink-python-*.jar "$tools"/jars/connectors/*.jar; do
    ln -s "$jar" "$new/" || return 1
  done
  rm -rf "$target" && mv "$new" "$target"
}

ensure_flink_lib() {
  local site
  site=$(packages_of "$root/.venv")
  step flink-lib "$tools/flink-lib" "$(digest "$site" "$(ls "$site/pyflink/lib" "$site/pyflink/opt" "$tools/jars/connectors")")" \
    "linking the Flink class path" link_flink_lib "$site"
}

ensure_s3_plugin() { # Flink loads each folder of flink-plugins as one plugin, apart from the other jars
  ensure_jars object-storage
  mkdir -p "$tools/flink-plugins" && ln -sfn ../jars/object-storage "$tools/flink-plugins/s3-fs-hadoop"
}

build_crossing() { # without it the detector takes one record at a time, so a failure is not an error
  if mvn -B -q -f "$root/flink_jobs/crossing/pom.xml" -Dflink.lib="$tools/flink-lib" -Dbuild.folder="$tools/crossing" \
    package </dev/null; then
    ln -sf "$tools/crossing/streamflow-crossing.jar" "$tools/flink-lib/"
  else
    rm -f "$tools/flink-lib/streamflow-crossing.jar" # the jar of another release may not fit this release's Python
    say "the batched crossing is not built: the detector is slower, with the same results (see $log)"
  fi
}

ensure_crossing() {
  local sources
  mapfile -t sources < <(find "$root/flink_jobs/crossing/src/main" -name '*.java' | sort)
  step crossing "$tools/flink-lib/streamflow-crossing.jar" \
    "$(digest "$root/flink_jobs/crossing/pom.xml" "${sources[@]}" "$(ls "$tools/jars/connectors")")" \
    "building the batched crossing" build_crossing
}

install_redis() { # Debian's package redis-server would start a server on port 6379; this one has the same program
  apt-get update || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends redis-tools </dev/null || return 1
  mkdir -p "$tools/redis" && ln -sfn /usr/bin/redis-check-rdb "$tools/redis/redis-server" # it acts by its name
  "$tools/redis/redis-server" --version
}

ensure_redis() { # without it the API counts rates per process, so a failure is not an error
  if command -v redis-server >/dev/null; then return; fi
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    (step redis "$tools/redis/redis-server" "$(digest redis-tools)" "installing Redis" install_redis) ||
      say "Redis is missing: each process of the API counts rates by itself"
  else
    say "no redis-server on PATH: install it with the system's package manager; until then each process of the API counts rates by itself"
  fi
}

fetch_registry() { # a new folder replaces the old one only when it is complete
  local new="$tools/registry.new" work="$tools/registry.work"
  rm -rf "$new" "$work" && mkdir -p "$new" "$work" || return 1
  # Without a project, Maven writes a marker below the current folder, and unpacks nothing where one exists.
  (cd "$work" && mvn -B -q "$DEPENDENCY_PLUGIN:unpack" -Dartifact="$REGISTRY" -DoutputDirectory="$new" </dev/null) &&
    rm -rf "$work" && ls "$new"/*-runner.jar >/dev/null && rm -rf "$tools/registry" && mv "$new" "$tools/registry"
}

ensure_registry() { step registry "$tools/registry/lib" "$(digest "$REGISTRY")" "fetching the schema registry (140 MB)" fetch_registry; }

compile_core() { # the core also runs as Python, so a missing compiler is not an error
  cd "$root" || return 1
  "$root/.venv/bin/python" -P -m flink_jobs.native.build >>"$log" 2>&1 ||
    say "the core is not compiled and runs as Python: slower, with the same results ($(tail -n 1 "$log"))"
}

ensure_native_core() {
  local folder
  folder=$("$root/.venv/bin/python" -P -c 'from flink_jobs.native.modules import build_folder; print(build_folder())')
  step native "$folder" "$(digest "$folder")" "compiling the core" compile_core
}

main() {
  local part start=$SECONDS
  [[ "$(uname -s)-$(uname -m)" == Linux-x86_64 ]] ||
    die "this is $(uname -s) on $(uname -m); Flink's Python thread mode (PEMJA) has wheels for Linux on x86_64 only."
  for part in "$@"; do
    [[ $part == marts || $part == registry ]] || die "there is no part $part: name marts, registry, or nothing"
  done
  begin
  ensure_system
  start_jars connectors kafka
  ensure_uv
  ensure_environment python .venv python "installing Python packages (about 500 MB the first time)"
  write_launcher
  await_jars
  ensure_flink_lib
  ensure_crossing
  ensure_native_core
  ensure_redis
  if [[ " $* " == *" registry "* ]]; then ensure_registry; fi
  if [[ " $* " == *" marts "* ]]; then # Flink and dbt need different releases of protobuf, so they cannot share an environment
    ensure_environment marts .venv-orchestration dbt "installing dbt and Airflow (about 370 MB the first time)" \
      --no-default-groups --group orchestration
    ensure_jars lake # for the optional lake job (docs/lake.md), whose files dbt reads with DuckDB
    ensure_s3_plugin # for a lake in S3
  fi
  say "ready in $((SECONDS - start)) s"
}

main "$@"
