#!/usr/bin/env bash
# What is written into a release: `release-notes.sh v0.2.0` prints that version's section of CHANGELOG.md. A tag that is not
# the version of pyproject.toml, or of which the changelog says nothing, is no release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  echo "release-notes.sh: $*" >&2
  exit 1
}

tag=${1:?release-notes.sh TAG}
version=${tag#v}
[[ $tag == v* ]] || die "$tag is no tag of a release, they are called v1.2.3"
ours=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml | head -n 1)
[[ $version == "$ours" ]] || die "$tag is not the version of pyproject.toml, $ours"
notes=$(awk -v head="## $version - " 'index($0, "## ") == 1 { on = index($0, head) == 1; next } on' CHANGELOG.md)
[[ -n ${notes//[[:space:]]/} ]] || die "CHANGELOG.md has no section '## $version - DATE', or an empty one"
printf '%s\n' "$notes"
