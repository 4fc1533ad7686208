#!/bin/bash
# The restore Job: a snapshot becomes the data directory of a server that doesn't run yet. Complete or not at all.
set -uo pipefail
# shellcheck source=lib.sh
. "${PGOP_HOME:-/pgop}/config/lib.sh"

BACKUP=${PGOP_BACKUP_VOLUME:-/backup}
DIR=$VOLUME/$PGOP_INSTANCE
DATA=$DIR/data
INTO=$DIR/data.restore
FROM="snapshot $PGOP_BACKUP_PATH on claim $PGOP_BACKUP_CLAIM"
SOURCE="${PGOP_OWNER_UID:--} $PGOP_BACKUP_CLAIM $PGOP_BACKUP_PATH"
child=''

give_up() { rm -rf "$INTO"; fail "$@"; }
on_stop() {
  stop_heard
  [ -z "$child" ] || { kill -TERM "$child" 2>/dev/null; wait "$child"; }
  let_hook_end
  give_up "restore of $FROM was stopped before it was complete; nothing of it is left"
}
trap on_stop TERM INT
step() { "$@" & child=$!; local code=0; wait "$child" || code=$?; child=''; return "$code"; }

require_user
case /$PGOP_BACKUP_PATH/ in
*/../* | *//* | *$'\n'*) fail "restore path \"$PGOP_BACKUP_PATH\" (claim $PGOP_BACKUP_CLAIM) must be a relative path without '..', like orders-backups/2026-11-22-17-57-21" ;;
esac
mkdir -p "$DIR" || fail "can't make $DIR on claim $PGOP_CLAIM: check the volume's permissions (fsGroup) and that it isn't full or read-only"
take_lock "$DIR/lock" 60 "directory $DIR on claim $PGOP_CLAIM"
take_owner "$DIR"

# $DIR/restored says whose data it is: "<lineage> <uid of the resource> <claim> <path>", written before the data gets its name.
# A resource that is made again under the same name has another uid: its data may have changed since, so it is not "restored".
if [ -e "$DATA" ]; then
  if [ "$(cat "$DIR/restored" 2>/dev/null)" = "$(cat "$DATA/pgop.lineage" 2>/dev/null) $SOURCE" ]; then
    log "$FROM has been restored already"
    exit 0
  fi
  fail "claim $PGOP_CLAIM already holds a database in $DATA, which a restore of $FROM doesn't replace: to serve that database, delete this resource and create it without a restore; to restore, give a new name or another claim, or delete that one"
fi

snapshot=$BACKUP/$PGOP_BACKUP_PATH
[ -d "$snapshot" ] || fail "no snapshot $PGOP_BACKUP_PATH on claim $PGOP_BACKUP_CLAIM (there: $(cd "$BACKUP" && find . -mindepth 2 -maxdepth 2 -type d ! -path '*/.*/*' ! -name '.*' | sort | tail -n 5 | cut -c3- | tr '\n' ' ' )): see pgo show pvc $PGOP_BACKUP_CLAIM"
for file in backup_manifest backup_label PG_VERSION global/pg_control; do
  [ -f "$snapshot/$file" ] || fail "$FROM is no complete snapshot: $file is missing; choose another one"
done
require_major "$snapshot" "$FROM"
[ -z "$(ls -A "$snapshot/pg_tblspc")" ] || fail "$FROM has tablespaces, which can't be restored to a claim; restore it by hand"

rm -rf "$INTO" "$DIR/restored"
errors=$(pg_verifybackup --skip-checksums --no-parse-wal --quiet "$snapshot" 2>&1) ||
  fail "$FROM is damaged ($(head -n 2 <<<"$errors" | tr '\n' ' ')): choose another one"
log "copying $FROM to $DATA on claim $PGOP_CLAIM"
step cp -R "$snapshot" "$INTO" || give_up "copying $FROM to claim $PGOP_CLAIM failed: is the claim large enough ($(du -sk "$snapshot" | cut -f1) kB are needed)?"
log "verifying the copy"
step pg_verifybackup --quiet "$INTO" 2>"$RUN/verify.log" ||
  give_up "$FROM is damaged ($(head -n 2 "$RUN/verify.log" | tr '\n' ' ')): choose another one"

# The new server is its own: it follows nobody, fetches nothing and has a lineage of its own. recovery.signal makes it
# go on with a new timeline; what is in it tells start.sh that it is ours.
lineage=$(new_lineage)
{
  chmod 0700 "$INTO" &&
    : >"$INTO/postgresql.auto.conf" &&
    rm -f "$INTO/standby.signal" "$INTO/postmaster.pid" "$INTO/postmaster.opts" &&
    printf '%s\n' "$lineage" >"$INTO/pgop.lineage" &&
    printf 'pgop restore %s\n' "$lineage" >"$INTO/recovery.signal" &&
    printf '%s\n' "$lineage $SOURCE" >"$DIR/restored" &&
    { step sync -f "$INTO" 2>/dev/null || step sync; } &&
    mv "$INTO" "$DATA" && persist "$DIR"
} || give_up "can't finish the restore of $FROM on claim $PGOP_CLAIM: is the volume full or read-only?"
log "restored $FROM to $DATA on claim $PGOP_CLAIM"
