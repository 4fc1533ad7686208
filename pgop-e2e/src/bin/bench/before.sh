# before.sh readiness|liveness: how the kubelet asked a server before the agent did (commit 770a8ed, templates/files/probe.sh), to compare with.
set -uo pipefail
RUN=/pgop/run MARKS=/tmp/before
supervised() { [ -s "$MARKS/supervisor.pid" ] && kill -0 "$(cat "$MARKS/supervisor.pid")" 2>/dev/null; }
local_psql() {
  local detach=()
  ! command -v setsid >/dev/null || detach=(setsid)
  PGOPTIONS='-c search_path=pg_catalog -c synchronous_commit=local -c statement_timeout=20s -c client_min_messages=warning -c log_statement=none' \
    PGAPPNAME=pgop PGCONNECT_TIMEOUT=5 ${detach[@]+"${detach[@]}"} psql -XqAtw -v ON_ERROR_STOP=1 -h "$RUN" -p 5432 -U postgres -d postgres "$@"
}
serves() {
  [ "$(cat "$MARKS/phase")" = running ] || return 1
  if [ "$PGOP_ROLE" = primary ]; then
    [ -e "$MARKS/synced" ] && [ "$(local_psql -c 'select not pg_is_in_recovery()')" = t ]
  else
    [ "$(local_psql -c "select pg_is_in_recovery() and exists (select from pg_stat_wal_receiver where status = 'streaming')")" = t ]
  fi
}
case $1 in
readiness) supervised && serves ;;
liveness)
  supervised || exit 1
  [ "$(cat "$MARKS/phase")" = running ] || exit 0
  code=0
  pg_isready -q -h "$RUN" -p 5432 -t 4 || code=$?
  [ "$code" -le 1 ]
  ;;
esac
