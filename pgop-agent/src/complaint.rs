//! What `PostgreSQL` says of settings that it does not take.
//!
//! `postgres -C shared_memory_size` reads a configuration file as a start would, tells all that is wrong with it, loads the libraries that it names
//! (from 15 on) and ends without having served (<https://www.postgresql.org/docs/current/app-postgres.html>). It wants a data directory that no
//! server runs on; one that holds nothing but `PG_VERSION` and `global/pg_control` of the real one will do, so a running server's next settings
//! can be tried.

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The setting, where it is named.
    pub setting: Option<String>,
    /// `PostgreSQL`'s words, with its hint.
    pub words: String,
}

/// Reads the standard error of a `postgres` that ran with `LC_ALL=C` and `-c log_line_prefix=`.
///
/// ```
/// use pgop_agent::complaint::complaints;
/// let text = "LOG:  unrecognized configuration parameter \"log_diconnections\" in file \"/pgop/run/next.conf\" line 7\n\
///             FATAL:  configuration file \"/pgop/run/next.conf\" contains errors\n";
/// let found = complaints(text);
/// assert_eq!(found.len(), 1);
/// assert_eq!(found[0].setting.as_deref(), Some("log_diconnections"));
/// ```
pub fn complaints(text: &str) -> Vec<Complaint> {
    let mut found: Vec<Complaint> = Vec::new();
    for line in text.lines() {
        let Some((level, words)) = line.split_once(":  ") else {
            continue;
        };
        match (level, found.last_mut()) {
            ("LOG" | "FATAL" | "ERROR" | "PANIC", _) if !is_chatter(words) => found.push(Complaint {
                setting: setting(words).map(str::to_owned),
                words: words.to_owned(),
            }),
            ("HINT" | "DETAIL", Some(last)) => last.words = format!("{} ({words})", last.words),
            _ => {}
        }
    }
    found
}

/// Lines that say nothing by themselves.
fn is_chatter(words: &str) -> bool {
    words.starts_with("skipping missing configuration file") || words.ends_with("\" contains errors")
}

fn setting(words: &str) -> Option<&str> {
    let (_, after) = words.split_once("parameter \"")?;
    after.split_once('"').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(Option<String>, String)> {
        let found = complaints(text).into_iter();
        found.map(|Complaint { setting, words }| (setting, words)).collect()
    }

    fn named(name: &str, words: &str) -> (Option<String>, String) {
        (Some(name.to_owned()), words.to_owned())
    }

    /// As `PostgreSQL` 15 said it.
    #[test]
    fn every_mistake_is_named() {
        let text = "\
LOG:  1 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)
LOG:  0 is outside the valid range for parameter \"max_connections\" (1 .. 262143)
LOG:  invalid value for parameter \"lc_monetary\": \"xx_XX\"
FATAL:  configuration file \"/pgop/run/next.conf\" contains errors
";
        assert_eq!(
            read(text),
            [
                named(
                    "work_mem",
                    "1 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)"
                ),
                named(
                    "max_connections",
                    "0 is outside the valid range for parameter \"max_connections\" (1 .. 262143)"
                ),
                named("lc_monetary", "invalid value for parameter \"lc_monetary\": \"xx_XX\""),
            ]
        );
    }

    #[test]
    fn a_hint_belongs_to_what_it_is_about() {
        let text = "\
LOG:  invalid value for parameter \"log_min_duration_statement\": \"5x\"
HINT:  Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".
FATAL:  configuration file \"/pgop/run/next.conf\" contains errors
";
        let words = "invalid value for parameter \"log_min_duration_statement\": \"5x\" (Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".)";
        assert_eq!(read(text), [named("log_min_duration_statement", words)]);
    }

    #[test]
    fn what_is_about_no_setting_is_told_too() {
        let text = "\
LOG:  skipping missing configuration file \"/pgop/run/shadow/postgresql.auto.conf\"
FATAL:  could not access file \"nope\": No such file or directory
";
        assert_eq!(
            read(text),
            [(
                None,
                "could not access file \"nope\": No such file or directory".to_owned()
            )]
        );
        assert_eq!(
            read("LOG:  syntax error in file \"/pgop/run/next.conf\" line 1, near token \"'\"\n"),
            [(
                None,
                "syntax error in file \"/pgop/run/next.conf\" line 1, near token \"'\"".to_owned()
            )]
        );
    }

    #[test]
    fn settings_that_are_taken_leave_no_complaint() {
        assert_eq!(read("LOG:  skipping missing configuration file \"a\"\n"), []);
        assert_eq!(read(""), []);
    }
}
