//! The load: an application in a pod of its own, which writes numbers one after the other through the Service, each in a transaction,
//! and knows which ones were acknowledged. After a lost connection it sends the same number again: no number is left out.

use crate::{Space, api, application, patiently};

/// `acknowledged` has the numbers and what proves that each is whole; `total` counts them in the same transaction.
const SCRIPT: &str = r#"
set -u
trap '' PIPE
trap 'exit 0' TERM
id=1 longest=0 last=${EPOCHREALTIME/[.,]/}
mkfifo /tmp/in /tmp/out
tell() { printf '%s %s\n' $((id - 1)) "$longest" >/tmp/acknowledged.new && mv /tmp/acknowledged.new /tmp/acknowledged; }
tell
begin="set client_min_messages = error;
create table if not exists acknowledged (id bigint primary key, proof text not null);
create table if not exists total (one bool primary key, n bigint not null);
insert into total values (true, 0) on conflict do nothing;"
while :; do
  psql -XAtq -v ON_ERROR_STOP=1 </tmp/in >/tmp/out 2>/tmp/errors &
  psql=$!
  exec 3>/tmp/in 4</tmp/out
  printf '%s\n' "$begin" >&3
  while printf "with new as (insert into acknowledged values (%s, md5('%s')) on conflict do nothing returning 1), more as (update total set n = n + (select count(*) from new) returning 1) select %s from more;\n" "$id" "$id" "$id" >&3 2>/dev/null &&
    read -r -t 30 answer <&4 && [ "$answer" = "$id" ]; do
    now=${EPOCHREALTIME/[.,]/}
    [ $((now - last)) -le "$longest" ] || longest=$((now - last))
    last=$now id=$((id + 1))
    tell
    sleep "$PAUSE" & wait $!
  done
  exec 3>&- 4<&-
  kill -9 "$psql" 2>/dev/null
  wait "$psql" 2>/dev/null
  sleep 0.5 & wait $!
done
"#;

/// The writer of one server.
#[derive(Clone, Debug)]
pub struct Writer {
    /// Its server.
    pub server: &'static str,
    pod: String,
}

impl Writer {
    /// Starts it. The server has to exist.
    pub fn start(space: &Space, server: &'static str, per_second: f64) -> Result<Self, String> {
        let pod = format!("writer-{server}");
        let pause = format!("{:.3}", 1.0 / per_second);
        let object = application::pod(&pod, server, SCRIPT, &[("PAUSE", &pause)]);
        api::create(space.name(), object)?;
        let writer = Self { server, pod };
        patiently(&format!("the first write to {server}"), || {
            match writer.progress(space)? {
                progress if progress.acknowledged > 0 => Ok(()),
                _ => Err(writer.complaint(space)),
            }
        })?;
        Ok(writer)
    }

    /// How far it has come.
    pub fn progress(&self, space: &Space) -> Result<Progress, String> {
        let text = api::exec(space.name(), &self.pod, &["cat", "/tmp/acknowledged"])?;
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(acknowledged)), Some(Ok(micros))) => Ok(Progress {
                acknowledged,
                longest_ms: micros / 1000,
            }),
            _ => Err(format!("{} says `{}`", self.pod, text.trim())),
        }
    }

    /// Waits until it has written something more. Returns how far it has come then.
    pub fn goes_on(&self, space: &Space) -> Result<Progress, String> {
        let before = patiently(&format!("{} to answer", self.pod), || self.progress(space))?;
        patiently(
            &format!("a write to {} that is acknowledged", self.server),
            || match self.progress(space)? {
                now if now.acknowledged > before.acknowledged => Ok(now),
                _ => Err(self.complaint(space)),
            },
        )
    }

    fn complaint(&self, space: &Space) -> String {
        api::exec(space.name(), &self.pod, &["cat", "/tmp/errors"]).unwrap_or_else(|error| error)
    }
}

/// How far a writer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// All numbers from 1 to this one were acknowledged. The next one may have been written, too.
    pub acknowledged: u64,
    /// Longest time between two acknowledgements.
    pub longest_ms: u64,
}
