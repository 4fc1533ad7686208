#!/bin/bash
# probe.sh startup|liveness|readiness: Kubernetes' questions. No password is needed for any of them.
set -uo pipefail
# shellcheck source=lib.sh
. "${PGOP_HOME:-/pgop}/config/lib.sh"

supervised() { [ -s "$RUN/supervisor.pid" ] && kill -0 "$(cat "$RUN/supervisor.pid")" 2>/dev/null; }
serves() {
  [ "$(cat "$RUN/phase")" = running ] || return 1
  if [ "$PGOP_ROLE" = primary ]; then
    [ -e "$RUN/synced" ] && [ "$(local_psql -c 'select not pg_is_in_recovery()')" = t ]
  else
    [ "$(local_psql -c "select pg_is_in_recovery() and exists (select from pg_stat_wal_receiver where status = 'streaming')")" = t ]
  fi
}
case ${1:-} in
# Asked often, until it serves for the first time, and never a reason to be killed: after that an exec is too dear to be frequent.
startup | readiness) supervised && serves ;;
liveness)
  supervised || exit 1
  # While it makes, copies or stops a database the supervisor decides, however long that takes.
  [ "$(cat "$RUN/phase")" = running ] || exit 0
  code=0
  pg_isready -q -h "$RUN" -p 5432 -t 4 || code=$?
  [ "$code" -le 1 ] # 1: starting up or replaying after a crash, which must be left to finish
  ;;
*) echo "usage: probe.sh startup|liveness|readiness" >&2; exit 2 ;;
esac
