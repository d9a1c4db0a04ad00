#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#   regenerate.sh 1.X.Y
# Writes go.mod and go.sum for another version of Kubernetes; tools.go names the commands.
set -euo pipefail
cd "$(dirname "$0")"
version=${1:?the version, as 1.35.4}
published=v0.${version#1.}
header=$(sed '/^module /q' go.mod)
theirs=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
{
    echo "$header"
    echo
    grep -E '^(go|godebug) ' "$theirs"
    sed -n '/^godebug (/,/^)/p' "$theirs"
    echo
    echo "require k8s.io/kubernetes v$version"
    echo
    echo "replace ("
    sed -n 's|^[[:space:]]*\(k8s.io/[a-z0-9-]*\) => ./staging/src/.*|\t\1 => \1 '"$published"'|p' "$theirs" | sort -u
    echo ")"
} >go.mod.new
mv go.mod.new go.mod
# Adds what the commands import; `go mod tidy` would fetch the tests of everything too.
go list -e -mod=mod -deps -tags tools . >/dev/null
