//! What `PostgreSQL` says of settings that it does not take, and where a person finds them.

use crate::settings::file::{Entry, entries};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The setting, where it is named as such.
    pub setting: Option<String>,
    /// The line of the file, where it is told.
    pub line: Option<usize>,
    /// `PostgreSQL`'s words, with its hint, and without the name of the file that only it has read.
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
/// assert_eq!(found[0].line, Some(7));
/// ```
pub fn complaints(text: &str) -> Vec<Complaint> {
    let mut found: Vec<Complaint> = Vec::new();
    for line in text.lines() {
        // What it says before it has a log.
        let early = line.strip_prefix("postgres: ").map(|words| ("FATAL", words));
        let Some((level, words)) = early.or_else(|| line.split_once(":  ")) else {
            continue;
        };
        match (level, found.last_mut()) {
            ("LOG" | "FATAL" | "ERROR" | "PANIC", _) if !is_chatter(words) => found.push(complaint(words)),
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

fn complaint(words: &str) -> Complaint {
    let position = position(words);
    Complaint {
        setting: setting(words).map(str::to_owned),
        line: position.map(|(_, line, _)| line),
        words: position.map_or_else(|| words.to_owned(), |(before, _, after)| format!("{before}{after}")),
    }
}

fn setting(words: &str) -> Option<&str> {
    let (_, after) = words.split_once("parameter \"")?;
    after.split_once('"').map(|(name, _)| name)
}

/// The line, and what stands before and behind ` in file "…" line 7`.
fn position(words: &str) -> Option<(&str, usize, &str)> {
    let (before, after) = words.split_once(" in file \"")?;
    let (_, after) = after.split_once("\" line ")?;
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    Some((before, after[..end].parse().ok()?, &after[end..]))
}

impl Complaint {
    /// Of a failure for which `PostgreSQL` has no words.
    pub fn without_words(words: String) -> Self {
        Self {
            setting: None,
            line: None,
            words,
        }
    }

    /// The lines of the text that it was said of to which it belongs: where it names none, those that set what it names.
    pub fn lines(&self, text: &str) -> Vec<usize> {
        if let Some(line) = self.line {
            return vec![line];
        }
        let is_about = |entry: &Entry| match &self.setting {
            Some(name) => name.eq_ignore_ascii_case(&entry.name),
            None => names(&self.words, &entry.name),
        };
        let about = entries(text).into_iter().filter(is_about);
        about.map(|entry| entry.line).collect()
    }

    /// What a person reads. `text` is the file of which it was said, whose first `own` lines nobody but the agent has seen.
    pub fn told(&self, text: &str, own: usize) -> String {
        let entries = entries(text);
        let lines = self.lines(text);
        let about = entries.iter().rfind(|entry| lines.contains(&entry.line));
        let place = lines.last().map_or_else(String::new, |line| place(*line, own));
        match about {
            // The value may hold a password, and is in the words.
            Some(Entry { name, .. }) if is_secret(name) => format!("PostgreSQL does not take {name}{place}"),
            Some(Entry { name, .. }) if !names(&self.words, name) => format!("{name}: {}{place}", self.words),
            _ => format!("{}{place}", self.words),
        }
    }
}

/// Where a person finds a line, if it is no line of the agent's own, which are the first.
pub fn place(line: usize, own: usize) -> String {
    if line > own {
        format!(" (postgresql.conf line {})", line - own)
    } else {
        String::new()
    }
}

/// Whether words name a setting.
pub fn names(words: &str, setting: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let mut parts = words.split(|c| !is_of_name(c));
    parts.any(|part| part.eq_ignore_ascii_case(setting))
}

/// Settings whose values may hold a password.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["_command", "conninfo", "passphrase", "passfile"]
        .iter()
        .any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(Option<String>, String)> {
        let found = complaints(text).into_iter();
        found.map(|Complaint { setting, words, .. }| (setting, words)).collect()
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
            [(None, "syntax error, near token \"'\"".to_owned())]
        );
    }

    #[test]
    fn settings_that_are_taken_leave_no_complaint() {
        assert_eq!(read("LOG:  skipping missing configuration file \"a\"\n"), []);
        assert_eq!(read(""), []);
    }

    #[test]
    fn what_it_says_before_it_has_a_log_is_heard() {
        let words = "superuser_reserved_connections (3) must be less than max_connections (3)";
        assert_eq!(read(&format!("postgres: {words}\n")), [(None, words.to_owned())]);
    }

    #[test]
    fn the_line_is_that_of_the_file_that_a_person_wrote() {
        let text = "# ours\nwal_keep_size = 1\nlog_diconnections = on\nwork_mem = banana\nmax_connections = 3\nwork_mem = pear\n";
        let told = |said: &str| complaints(said)[0].told(text, 2);
        assert_eq!(
            told("LOG:  unrecognized configuration parameter \"log_diconnections\" in file \"/x y\" line 3\n"),
            "unrecognized configuration parameter \"log_diconnections\" (postgresql.conf line 1)"
        );
        assert_eq!(
            told("LOG:  invalid value for parameter \"work_mem\": \"pear\"\n"),
            "invalid value for parameter \"work_mem\": \"pear\" (postgresql.conf line 4)"
        );
        assert_eq!(
            told("postgres: superuser_reserved_connections (3) must be less than max_connections (3)\n"),
            "superuser_reserved_connections (3) must be less than max_connections (3) (postgresql.conf line 3)"
        );
        assert_eq!(
            told("LOG:  wal_keep_size is wrong\n"),
            "wal_keep_size is wrong",
            "it is ours"
        );
        let both = &complaints("LOG:  invalid value for parameter \"WORK_MEM\": \"pear\"\n")[0];
        assert_eq!(both.lines(text), [4, 6]);
    }

    #[test]
    fn a_value_that_may_hold_a_password_is_not_told() {
        let text = "work_mem = 1\narchive_command = 'curl -u me:hunter2\n";
        let said = "LOG:  syntax error in file \"/x\" line 2, near token \"hunter2\"\n";
        assert_eq!(
            complaints(said)[0].told(text, 0),
            "PostgreSQL does not take archive_command (postgresql.conf line 2)"
        );
    }
}
