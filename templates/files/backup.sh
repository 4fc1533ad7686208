#!/bin/bash
# The backup Job: one base backup under a hidden name, verified, then renamed. Complete or absent.
set -uo pipefail
# shellcheck source=lib.sh
. "${PGOP_HOME:-/pgop}/config/lib.sh"

BACKUP=${PGOP_BACKUP_VOLUME:-/backup}
TARGET=$BACKUP/$PGOP_BACKUP_PATH
SHELF=$(dirname "$TARGET")
PARTIAL=$SHELF/.partial-$PGOP_BACKUP_UID # holds data/ and lock
LABEL="pgop $PGOP_BACKUP_UID" # and the server's version: a snapshot says whose it is
SOURCE="$PGOP_SOURCE_HOST:$PGOP_SOURCE_PORT"
child=''

give_up() { rm -rf "$PARTIAL"; fail "$@"; }
on_stop() {
  stop_heard
  [ -z "$child" ] || { kill -TERM "$child" 2>/dev/null; wait "$child"; }
  let_hook_end
  give_up "backup of $SOURCE to $PGOP_BACKUP_PATH on claim $PGOP_CLAIM was stopped before it was complete; nothing of it is left"
}
trap on_stop TERM INT
step() { "$@" & child=$!; local code=0; wait "$child" || code=$?; child=''; return "$code"; }

# The shelf's lock makes "look, then take" one step among backups to the same claim: for stale partials and for the name.
with_shelf() {
  if command -v flock >/dev/null; then
    exec 8>>"$SHELF/.lock"
    flock 8
    "$@"
    exec 8>&-
  else
    "$@"
  fi
}
sweep_and_begin() {
  local old
  for old in "$SHELF"/.partial-*; do
    [ -d "$old" ] || continue
    # Somebody else's is stale when nobody holds its lock; without flock one can't know, so it stays.
    if [ "$old" = "$PARTIAL" ] || { command -v flock >/dev/null && flock -n "$old/lock" true; }; then
      log "removing the unfinished backup $old"
      rm -rf "$old"
    fi
  done
  mkdir "$PARTIAL" && take_lock "$PARTIAL/lock" 0 "$PARTIAL on claim $PGOP_CLAIM"
}
publish() { [ ! -e "$TARGET" ] && mv "$PARTIAL/data" "$TARGET" && persist "$SHELF"; }

# The Job's result, as JSON for the operator. All of it can be read from the snapshot.
report() { # SNAPSHOT
  local bytes wal words
  bytes=$(du -sb "$1" 2>/dev/null | cut -f1)
  [ -n "$bytes" ] || bytes=$(($(du -sk "$1" | cut -f1) * 1024)) # busybox
  wal=$(tr -d ' \n' <"$1/backup_manifest" | sed -E 's/.*"WAL-Ranges":\[\{([^}]*)\}.*/\1/')
  words=$(printf '{"path":"%s","bytes":%s,"startLsn":"%s","stopLsn":"%s","timeline":%s,"serverVersion":"%s"}' "$PGOP_BACKUP_PATH" \
    "$bytes" "$(field Start-LSN)" "$(field End-LSN)" "$(field Timeline)" "$(sed -n "s/^LABEL: $LABEL //p" "$1/backup_label")")
  last_words "$words"
  log "finished: $words"
}
field() { printf '%s' "$wal" | sed -E "s/.*\"$1\":\"?([^\",]*)\"?.*/\1/"; }

require_user
case /$PGOP_BACKUP_PATH/ in
*/../* | *//* | */.* | *$'\n'*) fail "backup path \"$PGOP_BACKUP_PATH\" must be a relative path without '..' and hidden names" ;;
esac
# The Job's pod may have been replaced (a drained node). Its predecessor may still be ending, or may have finished.
until ! [ -d "$PARTIAL" ] || ! command -v flock >/dev/null || flock -n "$PARTIAL/lock" true 2>/dev/null; do
  [ "$SECONDS" -lt 90 ] || fail "another pod of this backup is still writing to $PARTIAL on claim $PGOP_CLAIM: delete it"
  nap 1
done
if [ -e "$TARGET" ]; then
  grep -qF "LABEL: $LABEL " "$TARGET/backup_label" 2>/dev/null ||
    fail "$PGOP_BACKUP_PATH exists already on claim $PGOP_CLAIM and isn't overwritten"
  rm -rf "$PARTIAL"
  report "$TARGET"
  exit 0
fi
write_passfile || fail "the replication role's Secret of $PGOP_SOURCE_HOST can't be used: it needs the keys username and password"
from=$(conninfo "$PGOP_SOURCE_HOST" "$PGOP_SOURCE_PORT" "backup/$PGOP_BACKUP_PATH")

version=$(psql -XqAtw -d "$from replication=true" -c 'SHOW server_version' 2>&1) ||
  fail "can't connect to $SOURCE for the backup: ${version//$'\n'/ }"
[ "${version%%[!0-9]*}" = "$(server_major)" ] ||
  fail "$SOURCE runs PostgreSQL $version but this Job's image has $(server_major): they must be of one major version"
mkdir -p "$SHELF" || fail "can't make $SHELF on claim $PGOP_CLAIM: check the volume's permissions (fsGroup) and that it isn't full or read-only"
with_shelf sweep_and_begin || give_up "can't write to $SHELF on claim $PGOP_CLAIM: is the volume full or read-only?"

args=(-D "$PARTIAL/data" -F plain -X stream -c "$PGOP_CHECKPOINT" --manifest-checksums=SHA256 --label="$LABEL ${version%% *}" -w)
[ -z "$PGOP_MAX_RATE" ] || args+=(--max-rate="$PGOP_MAX_RATE")
log "copying $SOURCE"
if ! step pg_basebackup "${args[@]}" -d "$from" 2>"$PARTIAL/errors"; then
  cat "$PARTIAL/errors" >&2
  # Its own words are worth repeating: "no space left", "server closed the connection".
  give_up "backup of $SOURCE to claim $PGOP_CLAIM failed and nothing of it is left: $(grep -v 'removing ' "$PARTIAL/errors" | tail -n 2 | tr '\n' ' ')"
fi
log "verifying the copy"
step pg_verifybackup --quiet "$PARTIAL/data" 2>"$PARTIAL/errors" ||
  give_up "backup of $SOURCE to claim $PGOP_CLAIM is not what the server sent, and was removed: $(head -n 2 "$PARTIAL/errors" | tr '\n' ' ')"
chmod 0700 "$PARTIAL/data"
step sync -f "$PARTIAL/data" 2>/dev/null || step sync
trap '' TERM INT # the rename and what is said of it are one
with_shelf publish || give_up "$PGOP_BACKUP_PATH exists already on claim $PGOP_CLAIM, or can't be made there: the backup was removed"
rm -rf "$PARTIAL"
report "$TARGET"
