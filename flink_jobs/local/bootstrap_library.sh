# shellcheck shell=bash
# What flink_jobs/local/bootstrap.sh and tests/lab/bootstrap.sh share: messages, a lock, steps that run only when their
# inputs changed, and downloads by uv and Maven. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
tools="$root/.tools"
log="$tools/bootstrap.log"

readonly DEPENDENCY_PLUGIN=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

# The caller's own Python settings must not change what is installed.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV UV_PROJECT_ENVIRONMENT UV_PYTHON

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 2
}

begin() { # makes .tools, waits until no other bootstrap runs in this checkout, and empties the log
  mkdir -p "$tools/stamps" 2>/dev/null || true
  [[ -w "$tools" && -w "$root" ]] || die "cannot write to $root or its .tools: run as the owner of the checkout, or clone it anew."
  exec 9>"$tools/.lock"
  if command -v flock >/dev/null && ! flock -n 9; then
    say "another bootstrap is running; waiting until it has ended"
    flock 9
  fi
  : >"$log"
}

version_at_least() { [[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n1)" == "$2" ]]; }

digest() { # digest ITEM...: the hash of all arguments; of a file, the hash of its content
  local item
  for item in "$@"; do if [[ -f "$item" ]]; then cat "$item"; else printf '%s\n' "$item"; fi; done | sha256sum | cut -d' ' -f1
}

step() { # step NAME RESULT HASH TEXT COMMAND...: runs the command unless RESULT exists and HASH is that of the last run
  local stamp="$tools/stamps/$1" result=$2 hash=$3 what=$4 start=$SECONDS
  shift 4
  if [[ -e "$result" && -f "$stamp" && "$(<"$stamp")" == "$hash" ]]; then return; fi
  say "$what ..."
  printf '\n== %s\n' "$what" >>"$log"
  if ! "$@" >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    die "$what failed. Is the package registry reachable from here (proxy, mirror, certificate)? Whole log: $log"
  fi
  echo "$hash" >"$stamp"
  say "$what: done in $((SECONDS - start)) s"
}

uv_sync() { # uv_sync UV PYTHON ENVIRONMENT OPTIONS...: installs what uv.lock holds into the environment
  local uv=$1 python=$2 environment=$3
  shift 3
  # uv needs a folder for its cache even if HOME is not usable.
  if [[ -z "${HOME:-}" || ! -w "${HOME:-/}" ]]; then export UV_CACHE_DIR="${UV_CACHE_DIR:-$tools/uv-cache}"; fi
  # uv brings its own certificates; on a machine behind a proxy only the system's store has the right ones.
  if [[ -z "${SSL_CERT_FILE:-}" && -e /etc/ssl/certs/ca-certificates.crt ]]; then
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}" UV_NATIVE_TLS="${UV_NATIVE_TLS:-1}" # the second is the older name
  fi
  cd "$root" && UV_PROJECT_ENVIRONMENT="$environment" \
    "$uv" sync --frozen --no-progress --python "$python" --no-python-downloads "$@"
}

copy_jars() { # copy_jars NAME POM: into a new folder first, so that an interrupted download never looks complete
  local target="$tools/jars/$1" new="$tools/jars/$1.new"
  rm -rf "$new" && mkdir -p "$new" || return 1
  mvn -B -q -f "$2" "$DEPENDENCY_PLUGIN:copy-dependencies" -DincludeScope=runtime -DoutputDirectory="$new" </dev/null &&
    ls "$new"/*.jar >/dev/null && rm -rf "$target" && mv "$new" "$target"
}
