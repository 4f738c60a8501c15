#!/usr/bin/env bash
# Runs build.sh on a Debian machine without a container engine, as root. It creates a small Debian (debootstrap) with
# buildah in .tools/images/machine and builds there, in a mount namespace that ends with the script.
#   rootfs.sh BASE IMAGE...
# With an empty BASE it creates a substitute for the Dockerfiles' base image: the same Debian release from its packages,
# without the files that Debian's "slim" images omit, and with this machine's certificate authorities. The substitute is
# not the pinned image. `rm -rf .tools/images/machine` frees the space of all layers and recreates both next time.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
out="$root/.tools/images"
machine="$out/machine"
log="$out/machine.log"
readonly STAND_IN=localhost/streamflow/stand-in:debian-12 SUITE=bookworm
export DEBIAN_FRONTEND=noninteractive

say() { printf 'images: %s\n' "$*" >&2; }

enter() { # enter COMMAND...: runs a command with the machine as its root; buildah needs a real mount there
  # shellcheck disable=SC2016 # the inner shell expands these variables
  unshare --mount --pid --fork --kill-child bash -euc '
    machine=$1 checkout=$2
    shift 2
    mount --make-rprivate /
    mount --bind "$machine" "$machine"
    cd "$machine"
    mount -t proc proc proc
    mount --rbind /dev dev
    mount --rbind /sys sys
    mkdir -p ".$checkout" .old
    # A plain bind, without the mounts inside the checkout: the machine is one of them.
    mount --bind "$checkout" ".$checkout"
    pivot_root . .old
    umount --lazy /.old
    cd /
    exec "$@"' bash "$machine" "$root" "$@"
}

slim() { # slim FOLDER: removes the files that official slim images omit, and configures dpkg and apt to do the same
  local folder=$1 name
  for name in doc groff info linda lintian/overrides locale man; do
    find "$folder/usr/share/$name" -mindepth 1 -not -name copyright -not -type d -delete 2>/dev/null || true
    find "$folder/usr/share/$name" -mindepth 1 -depth -type d -empty -delete 2>/dev/null || true
    echo "path-exclude /usr/share/$name/*"
  done >"$folder/etc/dpkg/dpkg.cfg.d/docker"
  echo "path-include /usr/share/doc/*/copyright" >>"$folder/etc/dpkg/dpkg.cfg.d/docker"
  cat >"$folder/etc/apt/apt.conf.d/docker-clean" <<'CLEAN'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
CLEAN
  printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d"
  chmod 755 "$folder/usr/sbin/policy-rc.d"
  rm -rf "$folder"/var/lib/apt/lists/* "$folder"/var/cache/apt/* "$folder"/var/log/* "$folder/debootstrap"
}

make_machine() { # creates the machine and base.tar, the machine's content before buildah is installed
  rm -rf "$machine" "$machine.new" "$out/base"
  command -v debootstrap >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends debootstrap; }
  debootstrap --variant=minbase "$SUITE" "$machine.new"
  # The same mirror has the security updates in a separate folder.
  sed -n 's|/debian/\{0,1\} \(\S*\) main$|/debian-security \1-security main|p' "$machine.new/etc/apt/sources.list" \
    >"$machine.new/etc/apt/sources.list.d/security.list"
  mkdir -p "$machine.new/usr/local/share/ca-certificates"
  cp /usr/local/share/ca-certificates/*.crt "$machine.new/usr/local/share/ca-certificates/" 2>/dev/null || true
  cp --archive "$machine.new" "$out/base"
  slim "$out/base"
  tar --create --numeric-owner --directory "$out/base" --file "$out/base.tar" .
  rm -rf "$out/base"
  cp --dereference /etc/resolv.conf "$machine.new/etc/resolv.conf"
  mv "$machine.new" "$machine"
  enter bash -euc 'apt-get update && apt-get install --yes --no-install-recommends buildah ca-certificates netbase'
  # shellcheck disable=SC2016 # the inner shell expands these variables
  enter env BUILDAH_ISOLATION=chroot BUILDAH_FORMAT=docker bash -euc '
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$1" /
    buildah config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit --quiet --rm "$container" "$2"' bash "$out/base.tar" "$STAND_IN"
  touch "$machine/made"
}

main() {
  local base=${1:-}
  shift
  mkdir -p "$out"
  if [[ ! -e $machine/made ]]; then
    say "creating a Debian with buildah in ${machine#"$root"/} (takes some minutes; log: ${log#"$root"/}) ..."
    make_machine >"$log" 2>&1 || {
      tail -n 15 "$log" >&2
      say "creating the Debian failed. Check that the Debian mirror is reachable. Full log: $log"
      exit 2
    }
  fi
  [[ -n $base ]] || say "the base is $STAND_IN, built from Debian packages; it is not the pinned image"
  cp --dereference /etc/resolv.conf "$machine/etc/resolv.conf"
  enter env BUILDAH_ISOLATION=chroot "STREAMFLOW_REVISION=${STREAMFLOW_REVISION:-}" \
    "$here/build.sh" --with buildah --base "${base:-$STAND_IN}" "$@"
}

main "$@"
