//! Sets of completion indexes, written as Kubernetes does: `0,2-4`. Pure.

use std::{collections::BTreeSet, fmt};

/// The completed indexes of an Indexed Job.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Indexes(BTreeSet<i32>);

impl Indexes {
    /// Text that is no number or range is passed over: it was never written by a controller.
    pub(crate) fn parse(text: &str) -> Self {
        let mut indexes = BTreeSet::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(from), Ok(to)) = (from.parse::<i32>(), to.parse::<i32>()) {
                indexes.extend(from..=to);
            }
        }
        Self(indexes)
    }

    pub(crate) fn contains(&self, index: i32) -> bool {
        self.0.contains(&index)
    }

    pub(crate) fn insert(&mut self, index: i32) {
        self.0.insert(index);
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(i32, i32)> = Vec::new();
        for &index in &self.0 {
            match ranges.last_mut() {
                Some((_, to)) if *to + 1 == index => *to = index,
                _ => ranges.push((index, index)),
            }
        }
        let texts: Vec<_> = ranges
            .iter()
            .map(|(from, to)| match to - from {
                0 => from.to_string(),
                // Two neighbours are a list, three are a range.
                1 => format!("{from},{to}"),
                _ => format!("{from}-{to}"),
            })
            .collect();
        f.write_str(&texts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_and_read() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7", "0,1,3-5"] {
            assert_eq!(Indexes::parse(text).to_string(), text);
        }
        assert!(Indexes::parse("3-5").contains(4));
        assert!(!Indexes::parse("3-5").contains(6));
    }
}
