#!/usr/bin/env bash
# Builds the images from their Dockerfiles with the engine of this machine:
#   build.sh [--with docker|podman|buildah|rootfs] [--base IMAGE] [job] [tools] [airflow]
# Without image names it builds all three. --base sets the build argument BASE of the Dockerfiles. The engine stores
# streamflow/NAME:VERSION; the script writes .tools/images/NAME.tar (the flat file system) and NAME.json (the image's
# settings), which `make images-check` reads.
# `rootfs` works on a Debian machine without an engine, as root: it runs buildah in a separate Debian (rootfs.sh).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
out="$root/.tools/images"
readonly IMAGES=(job tools airflow)
# The own image format of podman and buildah drops SHELL and with it `pipefail`; the docker format keeps it.
export BUILDAH_FORMAT=docker BUILDAH_LAYERS=true

say() { printf 'images: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 2
}

usable() { # usable ENGINE: returns 0 if the engine is installed and answers
  case $1 in
    docker | podman | buildah) command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1 ;;
    rootfs) [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null ;;
    *) die "unknown engine $1; engines: docker, podman, buildah, rootfs" ;;
  esac
}

find_engine() {
  local candidate
  for candidate in docker podman buildah rootfs; do
    if usable "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  die "no docker, podman or buildah found: install one, or run this as root on Debian"
}

build() { # build NAME
  local arguments=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision")
  [[ -z $base ]] || arguments+=(--build-arg "BASE=$base")
  "$engine" build "${arguments[@]}" --file "$here/$1.Dockerfile" --tag "streamflow/$1:$version" "$root"
}

files_of() { # files_of IMAGE: writes the image's file system to standard output as one tar
  local container
  if [[ $engine == buildah ]]; then
    container=$(buildah from --pull-never "$1")
    tar --create --numeric-owner --directory "$(buildah mount "$container")" .
  else
    container=$("$engine" create "$1")
    "$engine" export "$container"
  fi
  "$engine" rm "$container" >/dev/null
}

settings_of() { # settings_of IMAGE: prints user, entry point, environment and labels as JSON; buildah nests them in OCIv1.config
  if [[ $engine == buildah ]]; then
    buildah inspect --type image "$1"
  else
    "$engine" image inspect --format '{{json .Config}}' "$1"
  fi
}

main() {
  local names=() name start known=" ${IMAGES[*]} "
  engine='' base=''
  while (($#)); do
    case $1 in
      --with | --base)
        [[ -n ${2:-} ]] || die "$1 needs a value"
        if [[ $1 == --with ]]; then engine=$2; else base=$2; fi
        shift 2
        ;;
      -h | --help)
        sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        return
        ;;
      *)
        [[ $known == *" $1 "* ]] || die "unknown image $1; images: ${IMAGES[*]}"
        names+=("$1")
        shift
        ;;
    esac
  done
  ((${#names[@]})) || names=("${IMAGES[@]}")
  if [[ -z $engine ]]; then engine=$(find_engine); else usable "$engine" || die "$engine is not installed or does not answer"; fi
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/pyproject.toml")
  revision=${STREAMFLOW_REVISION:-$(git -C "$root" rev-parse HEAD 2>/dev/null || true)}
  mkdir -p "$out"
  if [[ $engine == rootfs ]]; then
    STREAMFLOW_REVISION="$revision" exec "$here/rootfs.sh" "$base" "${names[@]}"
  fi
  for name in "${names[@]}"; do
    start=$SECONDS
    say "$name with $engine on ${base:-$(sed -n 's/^ARG BASE=//p' "$here/$name.Dockerfile")} ..."
    build "$name" >&2
    files_of "streamflow/$name:$version" >"$out/$name.tar.new"
    settings_of "streamflow/$name:$version" >"$out/$name.json"
    mv -f "$out/$name.tar.new" "$out/$name.tar"
    say "$name: $(($(stat --format %s "$out/$name.tar") / 1000000)) MB unpacked, in $((SECONDS - start)) s"
  done
}

main "$@"
