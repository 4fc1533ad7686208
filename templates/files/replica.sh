# shellcheck shell=bash disable=SC2015,SC2034,SC2154
# The replica's part of start.sh. Sourced.
SLOT=${PGOP_INSTANCE//-/_}
# What to advise when this replica's data is in the way. A claim shared with others must not be deleted for it.
ANEW="delete directory $VOLUME/$PGOP_INSTANCE on claim $PGOP_CLAIM and then this pod,"
[ "$PGOP_CLAIM" != "data-$PGOP_INSTANCE" ] || ANEW="delete claim $PGOP_CLAIM and then this pod,"
verified='' secrets_seen='' stuck_at='' stuck=0
primary_system='' primary_timeline='' primary_lineage=''

to_primary() { conninfo "$(tr -d ' \n' <"$CONFIG/primary-host")" "$(tr -d ' \n' <"$CONFIG/primary-port")" "$PGOP_INSTANCE"; }

# In a configuration file a string has its own escapes, on top of those of libpq.
conf_string() { local t=${1//\\/\\\\}; printf "'%s'" "${t//"'"/"''"}"; }
replica_conf() {
  # Until it is known that the primary has this data's history, the replica serves reads and follows nobody.
  [ -n "$verified" ] || { echo "primary_conninfo = ''"; return; }
  echo "primary_conninfo = $(conf_string "$(to_primary)")"
  echo "primary_slot_name = '$SLOT'"
}

# A replica whose limits are lower than those its WAL was written under doesn't start. When one is lowered, the replica goes on
# with the old one until it has replayed the change, and takes the new one at the start after that.
declare -A limits=() # that the server was started with
replica_limits() { # adds to the caller's `extra`
  local limit want has
  limits=()
  while read -r limit want; do
    has=$(postgres -D "$DATA" -c config_file="$RUN/postgresql.conf" -C "$limit" 2>/dev/null)
    [ -n "$has" ] || continue
    [ "$has" -ge "$want" ] || extra+=(-c "$limit=$want")
    limits[$limit]=$((has > want ? has : want))
  done < <(limits_of_wal)
}
limits_of_wal() { # NAME VALUE, as of the last record that was replayed
  local pair want control
  control=$(pg_controldata "$DATA")
  for pair in max_connections:max_connections max_worker_processes:max_worker_processes max_wal_senders:max_wal_senders \
    max_prepared_transactions:max_prepared_xacts max_locks_per_transaction:max_locks_per_xact; do
    want=$(sed -n "s/^${pair#*:} setting: *//p" <<<"$control")
    [ -z "$want" ] || echo "${pair%:*} $want"
  done
}

# A limit that was raised and lowered again is in the WAL that this replica still has to replay, and it was started with the lower one.
# PostgreSQL ends there, or pauses for ever and without an error, serving what is ever older. From that record on it is known.
lacks_limit() {
  local limit want
  while read -r limit want; do
    [ "${limits[$limit]:-$want}" -lt "$want" ] || continue
    log "the primary had $limit = $want at this point of its WAL, and this server was started with ${limits[$limit]}: starting again with that"
    return 0
  done < <(limits_of_wal)
  return 1
}

walsender() { PGCONNECT_TIMEOUT=5 psql -XqAtw -v ON_ERROR_STOP=1 -d "$(to_primary) replication=true" "$@"; }
primary_psql() { PGCONNECT_TIMEOUT=5 PGOPTIONS='-c statement_timeout=20s -c search_path=pg_catalog' \
  psql -XqAtw -v ON_ERROR_STOP=1 -d "$(to_primary) dbname=postgres" "$@"; }

ask_primary() { # sets primary_*; the reason of a failure is in $answer
  answer=$(write_passfile 2>&1 && walsender -c 'IDENTIFY_SYSTEM' -c 'SHOW pgop.lineage' 2>&1) || return 1
  IFS='|' read -r primary_system primary_timeline _ <<<"$answer"
  primary_lineage=${answer##*$'\n'}
}
wait_for_primary() {
  local from=$SECONDS next=$SECONDS
  until ask_primary; do
    if [ "$SECONDS" -ge "$next" ]; then
      log "waiting for the primary ($((SECONDS - from)) s): ${answer//$'\n'/ }"
      next=$((SECONDS + 30))
    fi
    nap 2
  done
}

# Same system, same lineage? Two restores of one snapshot share all but the lineage. A replica with another history is
# never wiped: its data may be the only copy.
check_history() {
  local system lineage
  system=$(system_id "$DATA") lineage=$(cat "$DATA/pgop.lineage" 2>/dev/null)
  [ "$system" != "$primary_system" ] || [ "$lineage" != "$primary_lineage" ] || return 0
  [ -z "$server" ] || stop_server
  fail "$PLACE has another history than the primary (system ${system:-?} lineage ${lineage:-none}; primary: system $primary_system lineage $primary_lineage): it is not wiped, as it may be the only copy; if it is of no use, $ANEW and the replica clones itself anew"
}

replica_prepare() {
  write_passfile || fail "the replication role's Secret can't be used: see this container's log; it needs the keys username and password"
  if [ ! -e "$DATA" ]; then
    clone
    verified=yes
  else
    [ -e "$DATA/standby.signal" ] ||
      fail "$PLACE has no standby.signal: this replica was promoted or is a primary's data; it isn't started as a replica; if it is of no use, $ANEW and the replica clones itself anew"
    ! [ -e "$DATA/recovery.signal" ] || fail "$PLACE holds a recovery.signal, which a replica never has: remove it, or $ANEW and the replica clones itself anew"
    unhook "$DATA"
    ! ask_primary || follow
  fi
  secrets_seen=$(secrets_now)
}

# The primary's ALTER SYSTEM settings come with a clone; those that say whom to follow must not.
unhook() {
  sed -E '/^[[:space:]]*(primary_conninfo|primary_slot_name|restore_command|recovery_[a-z_]*)[[:space:]=]/d' \
    "$1/postgresql.auto.conf" >"$1/postgresql.auto.conf.pgop" && mv -f "$1/postgresql.auto.conf.pgop" "$1/postgresql.auto.conf"
}

follow() {
  check_history
  make_slot || log "slot $SLOT could not be made on the primary: $answer"
  verified=yes
}

slot_status() { primary_psql -c "select coalesce(wal_status, 'unreserved') from pg_replication_slots where slot_name = '$SLOT'" 2>&1; }
# A slot of ours that can be used; one that has lost its WAL can't, and goes only when the caller says so. The primary
# makes the slots too, so "already exists" is success.
make_slot() { # [anew]
  answer=$(slot_status) || return 1
  if [ "$answer" = lost ] && [ "${1:-}" = anew ]; then
    answer=$(walsender -c "DROP_REPLICATION_SLOT $SLOT" 2>&1) || return 1
  fi
  [ -z "$answer" ] || return 0
  answer=$(walsender -c "CREATE_REPLICATION_SLOT $SLOT PHYSICAL RESERVE_WAL" 2>&1) || [[ $answer = *"already exists"* ]]
}

# A copy of the primary beside the old data, if any, which goes only when the copy is complete.
clone() {
  local into=$DIR/data.clone
  while :; do
    rm -rf "$into"
    wait_for_primary
    if make_slot anew; then
      log "copying the primary to $into"
      if step pg_basebackup -D "$into" -X stream -S "$SLOT" -c fast -w -d "$(to_primary)"; then
        [ "$(cat "$into/pgop.lineage")" != "$primary_lineage" ] || break
        log "the copy is of another history than the primary had a moment ago: copying again"
      else
        log "the copy failed (the reason is above; is claim $PGOP_CLAIM full?): trying again in 10 s"
      fi
    else
      log "slot $SLOT could not be made on the primary, trying again in 10 s: $answer"
    fi
    nap 10
  done
  rm -f "$into/recovery.signal"
  : >"$into/standby.signal"
  unhook "$into"
  persist "$into/standby.signal" "$into/postgresql.auto.conf" "$into"
  rm -rf "$DIR/.pgop-replaced"
  if [ -e "$DATA" ]; then mv "$DATA" "$DIR/.pgop-replaced" || fail "can't rename $DATA on claim $PGOP_CLAIM"; fi
  mv "$into" "$DATA" || fail "can't rename $into to $DATA on claim $PGOP_CLAIM"
  persist "$DIR"
  rm -rf "$DIR/.pgop-replaced"
  log "the copy is complete"
}

replica_tick() {
  local now
  now=$(secrets_now)
  if [ "$now" != "$secrets_seen" ] && write_passfile; then secrets_seen=$now; fi
  if [ -z "$verified" ]; then
    ask_primary || return 0
    follow
    write_conf
    kill -HUP "$server"
    return
  fi
  local state='' lsn='' paused=''
  if accepts 0; then
    IFS='|' read -r state lsn paused < <(local_psql -c "select coalesce((select status from pg_stat_wal_receiver), 'none'),
      greatest(pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn()), case when pg_is_in_recovery() then pg_is_wal_replay_paused() end")
  fi
  if [ "$paused" = t ] && lacks_limit; then
    stop_server
    start_server
    return
  fi
  # Not streaming and not moving for a while: is what it needs still there?
  if [ "$state" = streaming ] || [ "$paused" = t ] || [ "$lsn" != "$stuck_at" ]; then
    stuck=0 stuck_at=$lsn
  elif [ $((++stuck % 4)) -eq 0 ]; then
    mend_stream "$lsn"
  fi
}

# A slot that lost its WAL is of no use even when the WAL is still there, so it is made anew. A replica that the WAL
# has left behind copies the primary again, by itself: its data is an older state of the very same history.
mend_stream() { # LSN (empty: the server isn't consistent yet and can't say)
  local found slot need
  ask_primary || return 0
  check_history
  found=$(primary_psql -v slot="$SLOT" -v lsn="$1" 2>&1 <<'SQL'
with need as (select nullif(:'lsn', '')::pg_lsn as lsn),
     slot as (select wal_status, restart_lsn from pg_replication_slots where slot_name = :'slot')
select coalesce((select coalesce(wal_status, 'unreserved') from slot), 'missing'),
  case when lsn is null then 'unknown'
       when lsn > pg_current_wal_lsn() then 'ahead'
       when lsn = pg_current_wal_lsn() or lsn >= (select restart_lsn from slot) then 'there'
       when exists (select from pg_ls_waldir() where name = pg_walfile_name(lsn + 1)) then 'there'
       else 'gone' end
from need;
SQL
  ) || { log "can't ask the primary about this replica's WAL: ${found//$'\n'/ }"; return; }
  IFS='|' read -r slot need <<<"$found"
  if [ "$primary_timeline" != "$(timeline "$DATA")" ] && [ "$need" != there ]; then
    log "not streaming: timeline $(timeline "$DATA") here, $primary_timeline at the primary, slot $slot, WAL $need; not touched, as this data may not be an older state of the primary's"
  elif [ "$need" = ahead ]; then
    log "not streaming: this replica is at $1, ahead of the primary, which has lost data; not touched, as this may be the only copy"
  elif [ "$need" = gone ] || { [ "$need" = unknown ] && [ "$slot" = lost ]; }; then
    log "the WAL from ${1:-this replica\'s end} on is gone from the primary (slot $slot): cloning again; the old copy goes when the new one is complete"
    stop_server
    clone
    start_server
    stuck=0
  elif [ "$slot" = lost ] || [ "$slot" = missing ]; then
    log "slot $SLOT is $slot but the WAL from ${1:-here} on is there: making it anew"
    make_slot anew || log "slot $SLOT could not be made: $answer"
  fi
}
