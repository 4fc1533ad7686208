# shellcheck shell=bash disable=SC2015,SC2034,SC2154
# The primary's (and the single server's) part of start.sh. Sourced.
roles_seen='' roles_retry=0 slots_seen='' slots_retry=0

primary_prepare() {
  if [ ! -e "$DATA" ]; then
    [ "$(cat "$CONFIG/init")" = initdb ] ||
      fail "no database in $PLACE though there was one, or one was to be restored: bring the volume back, or restore a backup under a new name; an empty database isn't made in its place"
    init_database
  fi
  [ ! -e "$DATA/standby.signal" ] ||
    fail "$PLACE holds standby.signal, so it is a replica's: it isn't started as primary; if this data is to be the primary's, remove that file"
  # recovery.signal is fine only when restore.sh wrote it: then it says so, with this data's lineage.
  [ ! -e "$DATA/recovery.signal" ] || [ "$(cat "$DATA/recovery.signal")" = "pgop restore $(cat "$DATA/pgop.lineage")" ] ||
    fail "$PLACE holds a recovery.signal that no restore of ours wrote: it isn't started, as it would recover or wait instead of serving; remove that file, or restore through the resource"
  if [ ! -s "$DATA/pgop.lineage" ]; then
    new_lineage >"$DATA/pgop.lineage" && persist "$DATA/pgop.lineage" "$DATA" || fail "can't write to $PLACE"
  fi
}

init_database() {
  local into=$DIR/data.init locale='' args=()
  [ ! -e "$CONFIG/locale" ] || locale=$(cat "$CONFIG/locale")
  args=(-D "$into" -U postgres -E UTF8 --data-checksums --auth-local=peer --auth-host=reject
    --wal-segsize="$(tr -d ' \n' <"$CONFIG/wal-segment-size")")
  log "making a new database in $PLACE"
  if [ -n "$locale" ]; then
    step initdb "${args[@]}" --locale="$locale" || fail "initdb failed in $PLACE (locale $locale): see this container's log"
  else
    # C.UTF-8 sorts by code point like C and knows upper and lower case; not every image has it.
    step initdb "${args[@]}" --locale=C.UTF-8 || { rm -rf "$into" && step initdb "${args[@]}" --locale=C; } ||
      fail "initdb failed in $PLACE: see this container's log; is the volume full?"
  fi
  new_lineage >"$into/pgop.lineage"
  persist "$into/pgop.lineage" "$into"
  mv "$into" "$DATA" && persist "$DIR" || fail "can't rename $into to $DATA on claim $PGOP_CLAIM"
}

primary_tick() {
  accepts 0 || return 0
  local now
  now=$(secrets_now; contents "$CONFIG/database")
  if [ "$now" != "$roles_seen" ] && [ "$SECONDS" -ge "$roles_retry" ]; then
    if sync_roles; then
      log "roles and passwords are as the Secrets say"
      roles_seen=$now
      : >"$RUN/synced"
    else
      log "roles could not be set (the reason is above): trying again in 10 s"
      roles_retry=$((SECONDS + 10))
    fi
  fi
  [ ! -e "$CONFIG/slots" ] || sync_slots
}

# Names are user text: they reach SQL only as psql variables and format(%I). Passwords reach it not at all: \password
# sends a SCRAM verifier. It asks twice, and reads standard input when there is no terminal (hence local_psql's setsid).
# The session logs nothing, as even a verifier is worth stealing.
sync_roles() {
  local admin admin_pw repl repl_pw user user_pw
  admin=$(secret superuser username) && admin_pw=$(secret superuser password) &&
    repl=$(secret replication username) && repl_pw=$(secret replication password) &&
    user=$(secret user username) && user_pw=$(secret user password) || return 1
  cat >"$RUN/roles.sql" <<'SQL'
set log_statement = none;
set log_duration = off;
set log_min_duration_statement = -1;
set log_min_error_statement = panic;
set pg_stat_statements.track = none;
set pgaudit.log = none;
set password_encryption = 'scram-sha-256';
select format('create role %I superuser login', :'admin') where not exists (select from pg_roles where rolname = :'admin'::name) \gexec
select format('create role %I login replication', :'repl') where not exists (select from pg_roles where rolname = :'repl'::name) \gexec
select format('alter role %I login replication', rolname) from pg_roles where rolname = :'repl'::name and not (rolcanlogin and rolreplication) \gexec
select format('grant pg_monitor to %I', :'repl') where not pg_has_role(:'repl'::name, 'pg_monitor', 'usage') \gexec
select format('create role %I login', :'user') where not exists (select from pg_roles where rolname = :'user'::name) \gexec
select format('alter role %I login', rolname) from pg_roles where rolname = :'user'::name and not rolcanlogin \gexec
\password :"admin"
\password :"repl"
\password :"user"
select format('create database %I owner %I', :'db', :'user') where not exists (select from pg_database where datname = :'db'::name) \gexec
SQL
  printf '%s\n' "$admin_pw" "$admin_pw" "$repl_pw" "$repl_pw" "$user_pw" "$user_pw" |
    local_psql -v admin="$admin" -v repl="$repl" -v user="$user" \
      -v db="$(cat "$CONFIG/database")" -f "$RUN/roles.sql" 2>&1 >/dev/null |
    sed -E 's/Enter (new password( for user ".*")?|it again): //g; /^$/d' >&2 # the prompts have no line of their own
  [ "${PIPESTATUS[1]}" -eq 0 ]
}

# The slots named in the list exist; ours that are in it no more (a replica was scaled away) go once nobody uses them,
# as a forgotten slot keeps WAL until the limit.
sync_slots() {
  local wanted done=''
  wanted=$(tr -s ' "\n' ' ' <"$CONFIG/slots")
  [ "$wanted" != "$slots_seen" ] || [ "$SECONDS" -ge "$slots_retry" ] || return 0
  slots_retry=$((SECONDS + 15))
  done=$(local_psql -v wanted="$wanted" -v prefix="${PGOP_INSTANCE//-/_}_replica_" 2>&1 <<'SQL'
select 'made slot ' || (pg_create_physical_replication_slot(s, true)).slot_name
from unnest(string_to_array(trim(:'wanted'), ' ')) s
where s <> '' and not exists (select from pg_replication_slots where slot_name = s);
with gone as materialized (
  select slot_name from pg_replication_slots
  where slot_type = 'physical' and not active and left(slot_name, length(:'prefix')) = :'prefix'
    and substr(slot_name, length(:'prefix') + 1) ~ '^[0-9]+$'
    and not slot_name::text = any (string_to_array(trim(:'wanted'), ' ')))
select 'dropped slot ' || slot_name || pg_drop_replication_slot(slot_name)::text from gone;
SQL
  ) && slots_seen=$wanted
  [ -z "$done" ] || log "slots: ${done//$'\n'/; }"
}
