#!/usr/bin/env bash
# Prints the notes of a release: `release-notes.sh v0.2.0` prints that version's section of CHANGELOG.md. The tag must
# match the version in pyproject.toml, and the section must not be empty.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  echo "release-notes.sh: $*" >&2
  exit 1
}

tag=${1:?release-notes.sh TAG}
version=${tag#v}
[[ $tag == v* ]] || die "$tag is not a release tag; release tags look like v1.2.3"
ours=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml | head -n 1)
[[ $version == "$ours" ]] || die "$tag is not the version in pyproject.toml, which is $ours"
notes=$(awk -v head="## $version - " 'index($0, "## ") == 1 { on = index($0, head) == 1; next } on' CHANGELOG.md)
[[ -n ${notes//[[:space:]]/} ]] || die "CHANGELOG.md has no section '## $version - DATE', or the section is empty"
printf '%s\n' "$notes"
