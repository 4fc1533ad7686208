#!/bin/bash
# preStop of every container of ours: tells its process 1 to stop until it is heard. The kernel drops a TERM to process 1 while
# no handler is set, so the kubelet's own, sent right after a start, is lost, and the pod stays for its whole grace period.
set -uo pipefail
HEARD=${PGOP_HOME:-/pgop}/run/stop-heard
rm -f "$HEARD" # of a container that was here before
until [ -e "$HEARD" ]; do
  kill -TERM 1 || exit 0
  sleep 0.1
done
