#!/usr/bin/env bash
# Loads image archives into every node of ../shared/kube-lab, which has no registry: deploy/lab.sh ARCHIVE...
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname "$0")/../../shared/kube-lab/env.sh"
for archive; do
  for name in $(nodes); do
    node_is "$name"
    ctr_of "${socket:?}" images import --all-platforms "$archive" >/dev/null
  done
done
