#!/bin/bash
# The server container's supervisor. It prepares the data directory, runs PostgreSQL as its child and looks after it:
# configuration, roles, slots, and a replica that fell behind. Nothing outside the pod is needed for that.
set -uo pipefail
HERE=${PGOP_HOME:-/pgop}/config
# shellcheck source=lib.sh
. "$HERE/lib.sh"
# shellcheck source=primary.sh
[ "$PGOP_ROLE" != primary ] || . "$HERE/primary.sh"
# shellcheck source=replica.sh
[ "$PGOP_ROLE" != replica ] || . "$HERE/replica.sh"

DIR=$VOLUME/$PGOP_INSTANCE
DATA=$DIR/data
PLACE="directory $DATA on claim $PGOP_CLAIM"
server='' child='' stopping=''

phase() { printf '%s\n' "$1" >"$RUN/phase.new" && mv -f "$RUN/phase.new" "$RUN/phase"; }

# TERM from the kubelet: fast shutdown (INT in PostgreSQL's words), which aborts transactions and writes a checkpoint.
on_stop() {
  stop_heard
  stopping=yes
  phase stopping
  if [ -n "$server" ]; then
    kill -INT "$server" 2>/dev/null
  else
    [ -z "$child" ] || { kill -TERM "$child" 2>/dev/null; wait "$child"; }
    log "asked to stop while preparing"
    let_hook_end
    exit 143
  fi
}
trap on_stop TERM INT

# A long preparing command, in the background so that TERM is heard.
step() {
  "$@" &
  child=$!
  local code=0 from=$SECONDS next=$((SECONDS + 30))
  while kill -0 "$child" 2>/dev/null; do
    nap 1
    [ "$SECONDS" -lt "$next" ] || { log "$1 goes on ($((SECONDS - from)) s)"; next=$((SECONDS + 30)); }
  done
  wait "$child" || code=$?
  child=''
  return "$code"
}

# What was there when last looked at is kept as it is, in memory: not every image has a program that hashes.
contents() { local f; for f; do printf '%s:%s\n' "$f" "$([ ! -r "$f" ] || printf '%s' "$(<"$f")")"; done; }
config_now() { contents "$CONFIG"/{postgresql,pg_hba,pg_ident}.conf "$CONFIG"/{wal-keep,primary-host,primary-port}; }
secrets_now() { contents "$SECRETS"/{superuser,replication,user}/{username,password}; }

# What the server reads: ours first, then the user's, so that the user's word is the last one, except who to follow.
write_conf() {
  local keep=''
  [ ! -s "$CONFIG/wal-keep" ] || keep=$(tr -d ' \n' <"$CONFIG/wal-keep")
  {
    echo "# Written by start.sh; edit the resource instead."
    [[ ! $keep =~ ^(-1|[0-9]+(kB|MB|GB|TB)?)$ ]] || echo "max_slot_wal_keep_size = '$keep'"
    # The first segment of a backup has to be there when its stream begins, also when another backup's checkpoint comes in between.
    echo "wal_keep_size = '64MB'"
    echo "include '$CONFIG/postgresql.conf'"
    [ "$PGOP_ROLE" != replica ] || replica_conf
  } >"$RUN/postgresql.conf.new"
  mv -f "$RUN/postgresql.conf.new" "$RUN/postgresql.conf"
}

start_server() {
  local extra=()
  [ "$PGOP_ROLE" != primary ] || ! [ -e "$DATA/recovery.signal" ] ||
    # First start after a restore: replay what the snapshot holds and go on with a new timeline. Nothing is fetched.
    # hot_standby=off lifts the rule that settings like max_connections may not be lower than at the source.
    extra=(-c restore_command=/bin/false -c recovery_target_timeline=current -c hot_standby=off)
  write_conf
  conf_seen=$(config_now)
  [ "$PGOP_ROLE" != replica ] || replica_limits
  # A crashed server's pid file names a number that may be anybody's in this container. The lock is held by every
  # process of a server, so whoever wrote the file is gone.
  [ -z "$LOCKED" ] || rm -f "$DATA/postmaster.pid"
  # So does the lock file of its socket, in this pod's own directory: nobody else's server is there.
  rm -f "$RUN/.s.PGSQL.5432" "$RUN/.s.PGSQL.5432.lock"
  chmod 0700 "$DATA" # a volume plugin that re-applies fsGroup opens it, and the server then refuses to start
  postgres -D "$DATA" -c config_file="$RUN/postgresql.conf" -c hba_file="$CONFIG/pg_hba.conf" \
    -c ident_file="$CONFIG/pg_ident.conf" -c unix_socket_directories="$RUN" -c listen_addresses='*' -c port=5432 \
    -c cluster_name="$PGOP_INSTANCE" -c log_destination=stderr -c logging_collector=off \
    -c pgop.lineage="$(cat "$DATA/pgop.lineage")" ${extra[@]+"${extra[@]}"} &
  server=$!
  [ -z "$stopping" ] || kill -INT "$server"
  until accepts 1; do
    alive || leave
    nap 0.2
  done
  [ -n "$stopping" ] || phase running
}

alive() { kill -0 "$server" 2>/dev/null; }
accepts() { # 0: takes connections; 1: or is at least there (starting, replaying)
  local code=0
  pg_isready -q -h "$RUN" -p 5432 -t 3 || code=$?
  [ "$code" -le "${1:-0}" ]
}

stop_server() { # for a replica that clones itself again; not the end of the container
  phase preparing
  kill -INT "$server"
  while alive; do wait "$server"; done
  server=''
}

# The server is gone or going: wait for it and take its code for ours, unless it only lacks a limit.
leave() {
  local code=0
  while alive; do wait "$server"; done
  wait "$server" || code=$?
  if [ -n "$stopping" ]; then
    log "PostgreSQL has stopped (code $code)"
  elif [ "$PGOP_ROLE" = replica ] && lacks_limit; then
    phase preparing
    start_server
    return
  else
    last_words "PostgreSQL in $PLACE ended with code $code without having been asked to: see the last lines of this container's log"
    log "PostgreSQL ended with code $code without having been asked to"
  fi
  exit "$code"
}

echo "$$" >"$RUN/supervisor.pid" || fail "can't write to $RUN: it must be an emptyDir"
rm -f "$RUN/synced"
phase preparing
require_user
mkdir -p "$DIR" || fail "can't make $DIR on claim $PGOP_CLAIM: check the volume's permissions (fsGroup) and that it isn't full or read-only"
take_lock "$DIR/lock" 60 "directory $DIR on claim $PGOP_CLAIM"
take_owner "$DIR"
rmdir "$DATA" 2>/dev/null
if [ "$PGOP_ROLE" = replica ] && ! [ -e "$DATA" ] && [ -e "$DIR/.pgop-replaced" ]; then
  # Cut off between the two renames of a finished clone. Should the clone be gone after all, the old copy is better than none.
  mv "$DIR/data.clone" "$DATA" 2>/dev/null || mv "$DIR/.pgop-replaced" "$DATA"
fi
[ ! -e "$DATA" ] || rm -rf "$DIR/.pgop-replaced"
rm -rf "$DIR/data.init" "$DIR/data.clone" "$DIR/data.restore" # leftovers of a try that was cut off

[ ! -e "$DATA" ] || [ -e "$DATA/PG_VERSION" ] ||
  fail "$PLACE holds something that isn't a PostgreSQL database: move it away or use another claim"
[ ! -e "$DATA" ] || require_major "$DATA" "$PLACE"
"${PGOP_ROLE}_prepare"
start_server

tick=0
until accepts 0 || [ $((++tick)) -gt 50 ] || [ -n "$stopping" ] || ! alive; do nap 0.2; done
"${PGOP_ROLE}_tick"
while :; do
  nap 1
  if [ -n "$stopping" ] || ! alive; then leave; fi
  [ $((++tick % 5)) -eq 0 ] || continue # what is looked at costs a few forks, and a node may hold many servers
  now=$(config_now)
  if [ "$now" != "$conf_seen" ]; then
    log "configuration has changed: reloading"
    write_conf
    kill -HUP "$server"
    conf_seen=$now
  fi
  "${PGOP_ROLE}_tick"
done
