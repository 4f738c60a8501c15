# shellcheck shell=bash
# Finds Java, Maven, Postgres and Python on this machine; as root, installs missing ones with apt-get. Sourced by
# bootstrap.sh after bootstrap_library.sh. It sets `java_home` and `python`, and exports JAVA_HOME for Maven.
# shellcheck disable=SC2154 # bootstrap_library.sh sets log

readonly POSTGRES_MINIMUM=15 # the marts use MERGE
readonly JAVA_MINIMUM=17     # Kafka 4 brokers need 17
readonly JAVA_MAXIMUM=21     # Flink 2.2 is tested up to 21; its start script's flags stop a JVM of 24 or newer

java_major() { sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$1/release"; }

find_java() { # prints the home of a Java that both Flink and Kafka accept
  local home major
  while read -r home; do
    [[ -x "$home/bin/java" && -r "$home/release" ]] || continue
    major=$(java_major "$home")
    if ((major >= JAVA_MINIMUM && major <= JAVA_MAXIMUM)); then echo "$home" && return; fi
  done < <(
    echo "${JAVA_HOME:-}"
    if command -v java >/dev/null; then dirname "$(dirname "$(readlink -f "$(command -v java)")")"; fi
    printf '%s\n' /usr/lib/jvm/* /opt/java/*
  )
  return 1
}

find_postgres() { # prints the folder of initdb and postgres
  local folder major
  while read -r folder; do
    [[ -x "$folder/initdb" && -x "$folder/postgres" ]] || continue
    major=$("$folder/postgres" --version | sed -n 's/^[^0-9]*\([0-9]*\).*/\1/p')
    if ((major >= POSTGRES_MINIMUM)); then echo "$folder" && return; fi
  done < <(
    echo "${STREAMFLOW_POSTGRES_BIN:-}"
    if command -v postgres >/dev/null; then dirname "$(readlink -f "$(command -v postgres)")"; fi
    printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin | sort -rV
  )
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

find_python() { # prints the path of the first Python that passes the probe
  local candidate
  while read -r candidate; do
    if [[ -x "$candidate" ]] && "$candidate" -I -c "$python_probe" 2>/dev/null; then return; fi
  done < <(
    echo "${STREAMFLOW_PYTHON:-}"
    type -aP python3.11 || true
    ls -d "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}"/versions/3.11*/bin/python3.11 2>/dev/null || true
    printf '%s\n' /usr/local/bin/python3.11 /usr/bin/python3.11 /opt/python/3.11/bin/python3.11
    type -aP python3 || true
    if command -v uv >/dev/null; then uv python find --system 3.11 2>/dev/null || true; fi
  )
  return 1
}

look() { # fills `missing` (for the reader) and `packages` (for apt-get; with |, the first that can be installed)
  missing=() packages=()
  if ! java_home=$(find_java); then
    missing+=("Java $JAVA_MINIMUM to $JAVA_MAXIMUM (set JAVA_HOME if it is in an unusual place)")
    packages+=("openjdk-17-jre-headless|openjdk-21-jre-headless")
  fi
  if ! command -v mvn >/dev/null; then
    missing+=("Maven 3.6 or newer (mvn on PATH)")
    packages+=(maven)
  fi
  if ! postgres=$(find_postgres); then
    missing+=("PostgreSQL $POSTGRES_MINIMUM or newer server programs (set STREAMFLOW_POSTGRES_BIN to the folder of initdb)")
    packages+=(postgresql)
  fi
  if ! python=$(find_python); then
    missing+=("Python 3.11 for x86_64 with venv and libpython (set STREAMFLOW_PYTHON to it if it is in an unusual place)")
    packages+=(python3.11 python3.11-venv libpython3.11)
  fi
}

install_packages() {
  local wanted=() alternatives name conf=/etc/postgresql-common/createcluster.conf made_conf=0
  say "missing on this machine: $(printf '%s; ' "${missing[@]%% (*}")installing with apt-get (log: $log)"
  apt-get update >>"$log" 2>&1 || say "apt-get update had errors; using the package lists of this machine"
  for alternatives in "${packages[@]}"; do
    for name in ${alternatives//|/ }; do
      if [[ -n "$(apt-cache show --no-all-versions "$name" 2>/dev/null)" ]]; then wanted+=("$name") && break; fi
    done
  done
  ((${#wanted[@]})) || return 0
  # Debian's package of Postgres would start a cluster of its own on port 5432; only its programs are needed.
  if [[ " ${wanted[*]} " == *" postgresql "* && ! -e $conf ]]; then
    mkdir -p "$(dirname "$conf")" && echo "create_main_cluster = false" >"$conf" && made_conf=1
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    -o Dpkg::Options::=--force-confold "${wanted[@]}" </dev/null >>"$log" 2>&1 ||
    say "apt-get could not install everything: $(grep -m1 '^E:' "$log" || echo "see $log")"
  if ((made_conf)); then rm -f "$conf"; fi
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
  say "system programs: Java $(java_major "$java_home"), $("$postgres/postgres" --version), Python at $python ($((SECONDS - start)) s)"
}
