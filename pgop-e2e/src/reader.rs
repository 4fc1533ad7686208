//! One who reads through the read-only Service all the time, ten times a second, each time over a connection of its own.

use crate::{Space, api, application, patiently};

const SCRIPT: &str = r#"
set -u
trap 'exit 0' TERM
reads=0 failed=0 longest=0
: >/tmp/failures
while :; do
  began=${EPOCHREALTIME/[.,]/}
  if answer=$(psql -XAtqw -h "$SERVICE" -v ON_ERROR_STOP=1 -c "$QUERY" 2>&1) && [ "$answer" = t ]; then
    reads=$((reads + 1))
  else
    failed=$((failed + 1))
    printf '%(%T)T %s\n' -1 "$answer" >>/tmp/failures
  fi
  took=$((${EPOCHREALTIME/[.,]/} - began))
  [ "$took" -le "$longest" ] || longest=$took
  printf '%s %s %s\n' "$reads" "$failed" "$longest" >/tmp/reads.new && mv /tmp/reads.new /tmp/reads
  sleep 0.1 & wait $!
done
"#;

/// The reader of one cluster.
#[derive(Clone, Debug)]
pub struct Reader {
    pod: String,
}

impl Reader {
    /// Starts it, and waits for its first read. The answer to `query` has to be true.
    pub fn start(space: &Space, cluster: &str, query: &str) -> Result<Self, String> {
        let pod = format!("reader-{cluster}");
        let service = format!("{cluster}-replica");
        let more = [("SERVICE", service.as_str()), ("QUERY", query)];
        api::create(space.name(), application::pod(&pod, cluster, SCRIPT, &more))?;
        let reader = Self { pod };
        patiently(&format!("the first read from {service}"), || {
            match reader.reads(space)? {
                reads if reads.done > 0 => Ok(()),
                reads => Err(format!("{reads:?}")),
            }
        })?;
        Ok(reader)
    }

    /// What it has read so far.
    pub fn reads(&self, space: &Space) -> Result<Reads, String> {
        let text = api::exec(
            space.name(),
            &self.pod,
            &["tail", "-n", "5", "/tmp/reads", "/tmp/failures"],
        )?;
        let mut lines = text.lines().skip(1);
        let numbers = lines.next().unwrap_or_default().split_whitespace();
        match numbers.map(str::parse).collect::<Result<Vec<u64>, _>>().as_deref() {
            Ok([done, failed, micros]) => Ok(Reads {
                done: *done,
                failed: *failed,
                longest_ms: micros / 1000,
                last_failures: lines.skip(2).map(str::to_owned).collect(),
            }),
            _ => Err(format!("{} says `{}`", self.pod, text.trim())),
        }
    }

    /// Ends it.
    pub fn end(self, space: &Space) {
        api::delete(space.name(), &api::kind("v1", "Pod"), &self.pod, true);
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reads {
    /// So many had the right answer.
    pub done: u64,
    /// So many had another, or none.
    pub failed: u64,
    /// The longest took so long.
    pub longest_ms: u64,
    /// When, and what was answered.
    pub last_failures: Vec<String>,
}
