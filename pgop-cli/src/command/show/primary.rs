//! What the primary itself says at the moment of asking: how far replicas are behind, and which settings it could not take.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::{Cluster, ClusterError};
use crate::exec::{self, Place};
use crate::output::bytes;
use crate::screen::one_line;

const TIMEOUT: Duration = Duration::from_secs(5);

/// One line a replica: its name, its state, how many bytes it has to replay.
const REPLICAS: &str = "select 'replica', application_name, state, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), -1)::bigint \
                        from pg_stat_replication where application_name not like 'backup/%' order by 2";
/// One line a setting that stands in the files and is not in force: <https://www.postgresql.org/docs/current/view-pg-file-settings.html>.
/// What the server's command line sets is not in force by intent.
const REFUSED: &str = "select 'setting', coalesce(f.name, 'line ' || f.sourceline), coalesce(f.setting, ''), replace(f.error, E'\\n', ' ') \
                       from pg_file_settings f left join pg_settings s on s.name = lower(f.name) \
                       where f.error is not null and coalesce(s.source, '') <> 'command line' order by f.seqno";

/// What a primary said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Primary {
    /// State of the replicas that are connected, by name, and the bytes that they have to replay.
    pub replicas: BTreeMap<String, (String, Option<u64>)>,
    /// Settings that are not in force, and why.
    pub refused: Vec<Refused>,
}

/// A setting that the server could not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub name: String,
    /// The value that was asked for.
    pub value: String,
    /// The server's words.
    pub why: String,
}

impl Primary {
    /// What is said of a replica.
    pub fn lag_of(&self, pod: &str) -> String {
        match self.replicas.get(pod) {
            None => "does not stream".to_owned(),
            Some((state, Some(0))) if state == "streaming" => "no lag".to_owned(),
            Some((state, Some(count))) if state == "streaming" => format!("lag {}", bytes(*count)),
            Some((state, _)) => state.clone(),
        }
    }
}

/// Asks the primary.
pub async fn ask(cluster: &Cluster, primary: &str, place: &Place) -> Result<Primary, String> {
    let mut psql = place.psql().to_vec();
    psql.extend(["-XAtw", "-F", "\t", "-d", "postgres", "-c", REPLICAS, "-c", REFUSED]);
    match exec::capture(cluster, primary, &place.container, &psql, TIMEOUT).await {
        Ok(output) if output.code == 0 => Ok(parse(&output.stdout)),
        Ok(output) => Err(one_line(output.stderr.trim()).into_owned()),
        Err(ClusterError::Forbidden { .. }) => {
            Err("not allowed to run psql in its pod (get and create on pods/exec)".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn parse(text: &str) -> Primary {
    let mut primary = Primary::default();
    for line in text.lines() {
        match line.split('\t').collect::<Vec<_>>().as_slice() {
            ["replica", name, state, lag] => {
                primary
                    .replicas
                    .insert((*name).to_owned(), ((*state).to_owned(), lag.parse().ok()));
            }
            ["setting", name, value, why] => primary.refused.push(Refused {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
                why: (*why).to_owned(),
            }),
            _ => {}
        }
    }
    primary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_replica_says_how_it_follows() {
        let primary = parse(
            "replica\thippo-replica-0\tstreaming\t0\nreplica\thippo-replica-1\tstreaming\t1400\nreplica\thippo-replica-2\tcatchup\t-1\n",
        );
        assert_eq!(primary.lag_of("hippo-replica-0"), "no lag");
        assert_eq!(primary.lag_of("hippo-replica-1"), "lag 1.4 kB");
        assert_eq!(primary.lag_of("hippo-replica-2"), "catchup");
        assert_eq!(primary.lag_of("hippo-replica-3"), "does not stream");
        assert!(primary.refused.is_empty());
    }

    #[test]
    fn a_setting_that_is_not_in_force_comes_with_the_servers_words() {
        let primary = parse("setting\twork_mem\tbanana\tsetting could not be applied\n");
        let refused = Refused {
            name: "work_mem".into(),
            value: "banana".into(),
            why: "setting could not be applied".into(),
        };
        assert_eq!(primary.refused, [refused]);
    }
}
