//! What is asked of a server, and under which names it is told. The names are those of `postgres_exporter` where it has one, so that dashboards and
//! rules made for it show something here.

mod table;

use std::ops::Range;
use std::time::Duration;

pub use self::table::QUERIES;
use super::text::Kind;

/// A question, and the families that its answer is.
#[derive(Debug)]
pub struct Query {
    /// Its name, in `pg_scrape_collector_success`. Those of one name are the same question to different versions.
    pub name: &'static str,
    /// The `server_version_num` of servers that it is for.
    pub versions: Range<u32>,
    /// How long an answer is good for, beyond what answers are kept anyway.
    pub keep: Duration,
    /// What the names of its families begin with.
    pub prefix: &'static str,
    /// Its first columns. No two rows have the same.
    pub labels: &'static [&'static str],
    /// The columns after these: numbers, or null for no sample.
    pub values: &'static [Value],
    /// With names of `pg_catalog` only.
    pub sql: &'static str,
}

/// A column that is a family.
#[derive(Debug)]
pub struct Value {
    /// What its name ends with.
    pub name: &'static str,
    /// What it means.
    pub kind: Kind,
    /// For people.
    pub help: &'static str,
}

/// Those for a server of this version.
pub fn queries(version: u32) -> impl Iterator<Item = &'static Query> {
    QUERIES.iter().filter(move |query| query.versions.contains(&version))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(version: u32) -> Vec<&'static str> {
        queries(version).map(|query| query.name).collect()
    }

    fn asked(version: u32, name: &str) -> &'static str {
        queries(version).find(|query| query.name == name).unwrap().sql
    }

    #[test]
    fn checkpoints_are_where_the_version_has_them() {
        for version in [140_000, 150_018, 160_011] {
            assert!(!names(version).contains(&"stat_checkpointer"));
            assert!(asked(version, "stat_bgwriter").contains("checkpoints_timed"));
        }
        for version in [170_000, 180_002] {
            assert!(asked(version, "stat_checkpointer").contains("num_timed"));
            let text = asked(version, "stat_bgwriter");
            assert!(!text.contains("checkpoint") && !text.contains("backend"), "{text}");
        }
    }

    #[test]
    fn every_version_is_asked_everything_once() {
        for version in [140_000, 150_000, 160_000, 170_000, 180_000] {
            let names = names(version);
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
            let all: BTreeSet<_> = QUERIES.iter().map(|query| query.name).collect();
            let missing: Vec<_> = all.iter().filter(|name| !names.contains(name)).collect();
            let expected: &[&&str] = if version < 170_000 {
                &[&"stat_checkpointer"]
            } else {
                &[]
            };
            assert_eq!(missing, expected);
        }
    }

    #[test]
    fn no_family_is_told_twice() {
        for version in [150_000, 180_000] {
            let mut families = BTreeSet::new();
            for query in queries(version) {
                for value in query.values {
                    let family = format!("{}_{}", query.prefix, value.name);
                    assert!(families.insert(family.clone()), "{family}");
                }
            }
        }
    }
}
