//! How far replicas are behind, measured in the primary at the moment of asking.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::{Cluster, ClusterError};
use crate::exec::{self, SOCKET};
use crate::output::bytes;
use crate::screen::one_line;

const TIMEOUT: Duration = Duration::from_secs(5);

/// One line a replica: its name, its state, how many bytes it has to replay.
const QUERY: &str = "select application_name, state, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), -1)::bigint \
                     from pg_stat_replication where application_name not like 'backup/%' order by 1";

/// State of the replicas that are connected, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lag(BTreeMap<String, (String, Option<u64>)>);

impl Lag {
    /// What is said of a replica.
    pub fn of(&self, pod: &str) -> String {
        match self.0.get(pod) {
            None => "does not stream".to_owned(),
            Some((state, Some(0))) if state == "streaming" => "no lag".to_owned(),
            Some((state, Some(count))) if state == "streaming" => format!("lag {}", bytes(*count)),
            Some((state, _)) => state.clone(),
        }
    }
}

/// Asks the primary.
pub async fn measure(cluster: &Cluster, primary: &str) -> Result<Lag, String> {
    let psql = [
        "psql", "-XAtw", "-F", "\t", "-h", SOCKET, "-p", "5432", "-U", "postgres", "-d", "postgres", "-c", QUERY,
    ];
    match exec::capture(cluster, primary, &psql, TIMEOUT).await {
        Ok(output) if output.code == 0 => Ok(parse(&output.stdout)),
        Ok(output) => Err(one_line(output.stderr.trim()).into_owned()),
        Err(ClusterError::Forbidden { .. }) => {
            Err("not allowed to run psql in its pod (get and create on pods/exec)".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn parse(text: &str) -> Lag {
    let line = |line: &str| {
        let mut words = line.split('\t');
        let (name, state, lag) = (words.next()?, words.next()?, words.next()?);
        Some((name.to_owned(), (state.to_owned(), lag.parse().ok())))
    };
    Lag(text.lines().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_replica_says_how_it_follows() {
        let lag =
            parse("hippo-replica-0\tstreaming\t0\nhippo-replica-1\tstreaming\t1400\nhippo-replica-2\tcatchup\t-1\n");
        assert_eq!(lag.of("hippo-replica-0"), "no lag");
        assert_eq!(lag.of("hippo-replica-1"), "lag 1.4 kB");
        assert_eq!(lag.of("hippo-replica-2"), "catchup");
        assert_eq!(lag.of("hippo-replica-3"), "does not stream");
    }
}
