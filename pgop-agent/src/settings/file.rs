//! What a configuration file says, as far as names, values and lines go:
//! <https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-CONFIGURATION-FILE>. Whether it is right is for `PostgreSQL` to say.

use std::collections::BTreeMap;

/// A line that sets something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// In lower case: case does not matter.
    pub name: String,
    /// Without its quotes.
    pub value: String,
    /// From 1 on.
    pub line: usize,
}

/// All lines that set something, in their order: the last of a name counts.
pub fn entries(text: &str) -> Vec<Entry> {
    let lines = text.lines().zip(1..);
    lines.filter_map(|(text, line)| entry(text, line)).collect()
}

fn entry(text: &str, line: usize) -> Option<Entry> {
    let text = text.trim_start();
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '=' | '#'));
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    (!name.is_empty()).then(|| Entry {
        name: name.to_ascii_lowercase(),
        value: value(rest),
        line,
    })
}

fn value(text: &str) -> String {
    let Some(quoted) = text.strip_prefix('\'') else {
        let end = text.find(|c: char| c.is_whitespace() || c == '#');
        return text[..end.unwrap_or(text.len())].to_owned();
    };
    let (mut value, mut rest) = (String::new(), quoted.chars());
    while let Some(c) = rest.next() {
        match c {
            '\\' => value.extend(rest.next()),
            '\'' if rest.as_str().starts_with('\'') => value.extend(rest.next()),
            '\'' => break,
            _ => value.push(c),
        }
    }
    value
}

/// What counts of a name.
pub fn last<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    entries.iter().rfind(|entry| entry.name == name)
}

/// The text without some of its lines. The others stay where they are.
pub fn without(text: &str, lines: &[usize]) -> String {
    let kept = text.lines().zip(1..).map(|(text, line)| {
        let text = if lines.contains(&line) { "" } else { text };
        format!("{text}\n")
    });
    kept.collect()
}

/// Names of what one text sets otherwise than the other, or does not set.
pub fn differences(before: &str, after: &str) -> Vec<String> {
    let values = |text: &str| -> BTreeMap<String, String> {
        let entries = entries(text).into_iter();
        entries.map(|entry| (entry.name, entry.value)).collect()
    };
    let (before, after) = (values(before), values(after));
    let names = before
        .keys()
        .chain(after.keys().filter(|name| !before.contains_key(*name)));
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    let mut names: Vec<String> = names.filter(differs).cloned().collect();
    names.sort();
    names
}

/// Whether `PostgreSQL` takes it for `on`.
pub fn is_on(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    value == "1"
        || value == "on"
        || ["true", "yes"]
            .iter()
            .any(|word| !value.is_empty() && word.starts_with(&value))
}

/// Libraries that a value names, as `PostgreSQL` takes it apart: by commas, unless they are in double quotes.
pub fn libraries(value: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut is_quoted = false;
    for c in value.chars() {
        match (c, found.last_mut()) {
            ('"', _) => is_quoted = !is_quoted,
            (',', _) if !is_quoted => found.push(String::new()),
            (_, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    let trimmed = found.iter().map(|name| name.trim().to_owned());
    trimmed.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_postgresql_reads_them() {
        let text = "# work_mem = 1\n\nwork_mem=8MB # a\n Max_Connections 20\nsearch_path = 'it''s \\'x\\', # b'\njit\n";
        let found: Vec<_> = entries(text)
            .into_iter()
            .map(|Entry { name, value, line }| (name, value, line))
            .collect();
        let entry = |name: &str, value: &str, line| (name.to_owned(), value.to_owned(), line);
        assert_eq!(
            found,
            [
                entry("work_mem", "8MB", 3),
                entry("max_connections", "20", 4),
                entry("search_path", "it's 'x', # b", 5),
                entry("jit", "", 6),
            ]
        );
    }

    #[test]
    fn the_last_of_a_name_counts() {
        let text = "jit = on\nJIT = off\n";
        assert_eq!(last(&entries(text), "jit").unwrap().value, "off");
        assert_eq!(last(&entries(text), "work_mem"), None);
        assert_eq!(differences(text, "jit = 'off'"), Vec::<String>::new());
        assert_eq!(
            differences("a = 1\nb = 2\nc = 3", "c = 4\nb = 2\nd = 5\n"),
            ["a", "c", "d"]
        );
    }

    #[test]
    fn lines_that_are_left_out_move_no_other() {
        assert_eq!(without("a = 1\nb = 2\nc = 3", &[2]), "a = 1\n\nc = 3\n");
    }

    #[test]
    fn on_has_many_words() {
        assert!(["on", "TRUE", "t", "yes", "y", "1"].iter().all(|value| is_on(value)));
        assert!(["off", "", "o", "0", "no", "truely"].iter().all(|value| !is_on(value)));
    }

    #[test]
    fn libraries_are_told_apart() {
        assert_eq!(
            libraries("pg_stat_statements, \"a,b\" ,,auto_explain"),
            ["pg_stat_statements", "a,b", "auto_explain"]
        );
        assert!(libraries(" ").is_empty());
    }
}
