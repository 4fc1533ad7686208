# shellcheck shell=bash disable=SC2015,SC2034
# What every script here shares. Sourced, never run. Needs bash, coreutils (busybox's will do) and PostgreSQL's own programs.

HOME_DIR=${PGOP_HOME:-/pgop}
CONFIG=$HOME_DIR/config            # the ConfigMap
SECRETS=$HOME_DIR/secrets          # one directory a Secret
RUN=$HOME_DIR/run                  # lives as long as the pod: socket, phase, passfile
VOLUME=${PGOP_VOLUME:-/pgdata}
DEATH_NOTE=${PGOP_TERMINATION_LOG:-/dev/termination-log}
export LC_ALL=${LC_ALL:-C}
umask 077

log() { printf '%s pgop: %s\n' "$(date -u '+%Y-%m-%d %H:%M:%S UTC')" "$*" >&2; }

# The last words: one line that names what, where and what to do. Kubernetes shows it as the container's message.
last_words() { [ ! -w "$DEATH_NOTE" ] || printf '%s\n' "$*" >"$DEATH_NOTE"; }
fail() {
  local line=${*//$'\n'/ }
  log "$line"
  last_words "$line"
  exit 1
}

# The first thing that a handler of TERM does: stop.sh repeats the signal until then.
stop_heard() { : >"$RUN/stop-heard"; }
# The last: a hook that the end of its container cuts off is reported as failed.
let_hook_end() { sleep 0.3; }

# A sleep that a trapped signal ends at once (bash runs traps only after a foreground command).
nap() { sleep "$1" & wait "$!" || true; }

# Only the holder of a directory's lock may write below it. Every child inherits descriptor 9, the server and all its
# processes too, so the lock is free only when nobody is left who could write.
LOCKED=
take_lock() { # FILE SECONDS WHAT
  if ! command -v flock >/dev/null; then
    log "this image has no flock: only Kubernetes' promise of one pod a name guards $3"
    return
  fi
  exec 9>>"$1" || fail "can't write $1: check the volume's permissions (fsGroup) and that it isn't full or read-only"
  local until=$((SECONDS + $2)) told=
  until flock -n 9; do
    [ "$SECONDS" -lt "$until" ] || fail "$3 is in use by another pod (lock $1 is held): two servers must never share a data directory; stop the other one first"
    [ -n "$told" ] || { log "waiting for another pod to let go of $3"; told=yes; }
    nap 1
  done
  LOCKED=yes
}

# The directory belongs to one resource; another one that is given the same claim must not adopt its data.
take_owner() { # DIRECTORY
  local owner=
  [ ! -s "$1/owner" ] || owner=$(cat "$1/owner")
  if [ -z "$owner" ]; then
    printf '%s\n' "$PGOP_OWNER" >"$1/owner.new" && persist "$1/owner.new" && mv -f "$1/owner.new" "$1/owner" && persist "$1" ||
      fail "can't write $1/owner on claim $PGOP_CLAIM: is the volume full or read-only?"
  elif [ "$owner" != "$PGOP_OWNER" ]; then
    fail "directory $1 on claim $PGOP_CLAIM belongs to $owner, not to $PGOP_OWNER: use another claim, or remove that directory if its data is of no use"
  fi
}

persist() { sync "$@" 2>/dev/null || sync; } # fsync of files and directories; of everything where sync takes no names

no_user() { ! id -un >/dev/null 2>&1; }
require_user() {
  no_user || return 0
  fail "image has no user with id $(id -u) in /etc/passwd, which PostgreSQL's programs ask for: set securityContext.runAsUser to the image's postgres user (70 in Alpine-based images)"
}

server_major() { postgres --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/'; }
new_lineage() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }
system_id() { pg_controldata "$1" | sed -n 's/^Database system identifier: *//p'; }
timeline() { pg_controldata "$1" | sed -n "s/^Latest checkpoint's TimeLineID: *//p"; }
require_major() { # DIRECTORY WHERE
  local has want
  has=$(cat "$1/PG_VERSION") want=$(server_major)
  [ "$has" = "$want" ] ||
    fail "$2 was written by PostgreSQL $has but the image has $want: use an image of PostgreSQL $has (a major upgrade needs dump and restore or pg_upgrade)"
}

# Text of a Secret's key; a newline at its end (echo | base64) is no part of it.
secret() { # superuser|replication|user KEY
  local text
  text=$(cat "$SECRETS/$1/$2" 2>/dev/null) || { log "Secret for the $1 role lacks the key $2"; return 1; }
  case $text in
  '') log "Secret for the $1 role has an empty $2"; return 1 ;;
  *$'\n'*) log "Secret for the $1 role has a line break in $2"; return 1 ;;
  esac
  printf '%s' "$text"
}

# libpq reads the password from this file only: not from arguments, the environment or a configuration file.
write_passfile() {
  local user password
  user=$(secret replication username) && password=$(secret replication password) || return 1
  printf '*:*:*:%s:%s\n' "$(pass_field "$user")" "$(pass_field "$password")" >"$RUN/pgpass.new" &&
    mv -f "$RUN/pgpass.new" "$RUN/pgpass"
}
pass_field() { local t=${1//\\/\\\\}; printf '%s' "${t//:/\\:}"; }

conn_value() { local t=${1//\\/\\\\}; printf "'%s'" "${t//"'"/"\\'"}"; }
# Keepalives and tcp_user_timeout: a peer that vanished (node lost, packets dropped) is noticed within half a minute.
conninfo() { # HOST PORT APPLICATION
  printf 'host=%s port=%s user=%s application_name=%s passfile=%s' "$(conn_value "$1")" "$2" \
    "$(conn_value "$(secret replication username)")" "$(conn_value "$3")" "$(conn_value "$RUN/pgpass")"
  printf ' connect_timeout=10 keepalives=1 keepalives_idle=10 keepalives_interval=5 keepalives_count=4 tcp_user_timeout=30000'
}

# The superuser over the local socket. search_path and timeouts are ours whatever ALTER ROLE says, so that nobody's
# function is called by accident, a commit never waits for a synchronous replica that isn't there, and log_statement=all
# shows the user's statements, not ours.
local_psql() {
  local detach=()
  ! command -v setsid >/dev/null || detach=(setsid)
  PGOPTIONS='-c search_path=pg_catalog -c synchronous_commit=local -c statement_timeout=20s -c client_min_messages=warning -c log_statement=none' \
    PGAPPNAME=pgop PGCONNECT_TIMEOUT=5 ${detach[@]+"${detach[@]}"} psql -XqAtw -v ON_ERROR_STOP=1 -h "$RUN" -p 5432 -U postgres -d postgres "$@"
}
