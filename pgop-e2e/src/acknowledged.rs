//! What of the numbers of a [`writer`](crate::writer) a server has.

use crate::Space;

/// What is in the tables of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Numbers up to the one that was asked about.
    pub up_to: u64,
    /// All numbers.
    pub count: u64,
    /// The largest.
    pub largest: u64,
    /// Numbers whose proof does not fit.
    pub spoilt: u64,
    /// What `total` says.
    pub total: u64,
}

impl Found {
    /// Writes come one after the other, so any state of a server is all of them up to some number.
    pub fn is_whole(&self) -> bool {
        self.count == self.largest && self.count == self.total && self.spoilt == 0
    }
}

/// Asks one server.
pub fn ask(space: &Space, pod: &str, up_to: u64) -> Result<Found, String> {
    let query = format!(
        "select count(*) filter (where id <= {up_to}), count(*), coalesce(max(id), 0), count(*) filter (where proof <> md5(id::text)), \
         (select n from total) from acknowledged"
    );
    parse(&space.sql_in(pod, &query)?)
}

fn parse(answer: &str) -> Result<Found, String> {
    let numbers: Result<Vec<u64>, _> = answer.split('|').map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[up_to, count, largest, spoilt, total]) => Ok(Found {
            up_to,
            count,
            largest,
            spoilt,
            total,
        }),
        _ => Err(format!("the answer is `{answer}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_missing_spoilt_or_not_counted_is_seen() {
        assert!(parse("5|6|6|0|6").unwrap().is_whole());
        for answer in ["5|6|7|0|6", "5|6|6|1|6", "5|6|6|0|5", "5|5|6|0|5"] {
            assert!(!parse(answer).unwrap().is_whole(), "{answer}");
        }
        assert!(parse("5|6||0|6").is_err());
        assert!(parse("").is_err());
    }
}
