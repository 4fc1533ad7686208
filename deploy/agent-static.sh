#!/usr/bin/env bash
# Proves that a program needs nothing of the machine that it runs on, and is small: deploy/agent-static.sh PROGRAM
set -euo pipefail
program=$1
MOST=$((10 << 20))
fail() { echo "agent-static: $*" >&2; exit 1; }

libraries=$(ldd "$program" 2>&1 || true)
[[ $libraries == *"statically linked"* || $libraries == *"not a dynamic executable"* ]] || fail "$program needs libraries: $libraries"
bytes=$(stat -c %s "$program")
[ "$bytes" -lt "$MOST" ] || fail "$program has $bytes bytes, and may have less than $MOST"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cp "$program" "$root/pgop-agent"
version=$(unshare --map-root-user chroot "$root" /pgop-agent version) || fail "$program does not run in an empty root"
[[ $version == pgop-agent\ [0-9]* ]] || fail "in an empty root, $program says: $version"
echo "agent-static: $version is static, runs in an empty root and has $bytes bytes"
