//! Reading Prometheus text.

use std::collections::BTreeMap;

/// The samples of one scrape: name with labels, and value.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<(String, BTreeMap<String, String>, f64)>);

impl Samples {
    /// Reads the text format.
    ///
    /// ```
    /// use pgop_e2e::metrics::Samples;
    /// let samples = Samples::read("# TYPE a counter\na_total{verb=\"get\",x=\"1,2\"} 3\na_total{verb=\"patch\"} 4\nb 0.5 1700000000\n");
    /// assert_eq!(samples.sum("a_total", |labels| labels["verb"] == "get"), 3.0);
    /// assert_eq!(samples.sum("a_total", |_| true), 7.0);
    /// assert_eq!(samples.sum("b", |_| true), 0.5);
    /// ```
    pub fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(sample).collect())
    }

    /// Sum of the samples of that name whose labels are wanted.
    pub fn sum(&self, name: &str, wanted: impl Fn(&BTreeMap<String, String>) -> bool) -> f64 {
        self.0
            .iter()
            .filter(|(found, labels, _)| found == name && wanted(labels))
            .map(|(.., value)| value)
            .sum()
    }

    /// The labels and values of that name.
    pub fn of(&self, name: &str) -> impl Iterator<Item = (&BTreeMap<String, String>, f64)> {
        self.0
            .iter()
            .filter(move |(found, ..)| found == name)
            .map(|(_, labels, value)| (labels, *value))
    }
}

fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (name, labels, rest) = if let Some((name, rest)) = line.split_once('{') {
        let (labels, rest) = rest.rsplit_once('}')?;
        (name, labels, rest)
    } else {
        let (name, rest) = line.split_once(' ')?;
        (name, "", rest)
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    // A value may hold a comma, never `",`.
    let pairs = labels.trim_end_matches(',').split("\",").filter_map(|pair| {
        let (key, value) = pair.split_once("=\"")?;
        Some((key.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some((name.to_owned(), pairs.collect(), value))
}
