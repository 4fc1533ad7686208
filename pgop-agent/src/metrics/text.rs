//! Prometheus' text format: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.
//!
//! Written here, as the names of `postgres_exporter` are those of this format: prometheus-client writes `OpenMetrics` only, in which a counter can't be
//! called `pg_stat_database_xact_commit`.

use std::fmt::Write as _;

/// What a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up, and starts at zero again.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A text that grows. The samples of a family follow its head.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a family. `name` and `help` are ours: one line each.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // A String takes whatever is written.
        let _ = writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {kind}", escape(help, false));
    }

    /// One sample of the family that was begun last.
    pub fn sample<'a>(&mut self, name: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>, value: f64) {
        self.0.push_str(name);
        let mut before = '{';
        for (label, value) in labels {
            let _ = write!(self.0, "{before}{label}=\"{}\"", escape(value, true));
            before = ',';
        }
        if before == ',' {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A family with one sample.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, [], value);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

fn escape(text: &str, is_quoted: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if is_quoted { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_samples_are_written_as_prometheus_reads_them() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "How often.");
        text.sample("a_total", [("datname", "it's \"mine\"\\\n"), ("mode", "")], 3.0);
        text.single("b", Kind::Gauge, "How many.", 0.25);
        assert_eq!(
            text.finish(),
            "# HELP a_total How often.\n# TYPE a_total counter\na_total{datname=\"it's \\\"mine\\\"\\\\\\n\",mode=\"\"} 3\n\
             # HELP b How many.\n# TYPE b gauge\nb 0.25\n"
        );
    }

    #[test]
    fn large_numbers_are_not_rounded() {
        let mut text = Text::default();
        text.single("bytes", Kind::Gauge, "Many.", 9_007_199_254_740_991.0);
        assert!(text.finish().ends_with("bytes 9007199254740991\n"));
    }
}
