//! The configuration file of a server.

pub mod file;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::supervisor::Settings;

/// What the file is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// `postgresql.conf` of the data, as initdb wrote it; nothing reads it but for what initdb has chosen.
    pub initdb: &'a str,
    /// Bytes of a WAL segment; 0 where there is no data yet.
    pub segment: u64,
    /// WAL that a slot may keep, where the resource says so: `1GB`, or `-1` for all of it.
    pub wal_keep: Option<&'a str>,
    /// `postgresql.conf` of the resource.
    pub settings: &'a str,
}

impl Wanted<'_> {
    /// The text: ours first, so that the resource's word is the last.
    pub fn text(&self) -> String {
        let mut text = String::from("# Written by pgop-agent; edit the resource instead.\n");
        text.push_str(&chosen(self.initdb));
        if self.segment > USUAL_SEGMENT {
            // What is usual is too little for larger segments, and the server would not start.
            let of = |segments: u64| format!("{}MB", (segments * self.segment) >> 20);
            text.push_str(&line("min_wal_size", &of(5)));
            text.push_str(&line("max_wal_size", &of(10)));
        }
        if let Some(keep) = self.wal_keep {
            text.push_str(&line("max_slot_wal_keep_size", keep));
        }
        // The first segment of a backup has to be there when its stream begins, also when another backup's checkpoint comes in between.
        text.push_str(&line("wal_keep_size", "64MB"));
        text.push_str(RESOURCE);
        text.push_str(self.settings);
        text
    }
}

/// The last line that is not the resource's.
const RESOURCE: &str = "# From here on postgresql.conf of the resource.\n";

/// How many of a text's first lines are not the resource's.
pub fn own_lines(text: &str) -> usize {
    let before = text.split_once(RESOURCE).map(|(before, _)| before.lines().count() + 1);
    before.unwrap_or(0)
}

const USUAL_SEGMENT: u64 = 16 << 20;

/// Lines of what initdb has chosen for the locale that it was given: <https://www.postgresql.org/docs/current/locale.html>.
fn chosen(initdb: &str) -> String {
    const NAMES: [&str; 4] = ["lc_monetary", "lc_numeric", "lc_time", "default_text_search_config"];
    let is_chosen = |line: &&str| NAMES.iter().any(|name| line.split([' ', '=']).next() == Some(name));
    let lines = initdb.split_inclusive('\n');
    lines.filter(|line| is_chosen(&line.trim_end())).collect()
}

/// One setting.
pub fn line(name: &str, value: &str) -> String {
    format!("{name} = {}\n", quoted(value))
}

/// A value as a configuration file has it: <https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-CONFIGURATION-FILE>.
///
/// ```
/// assert_eq!(pgop_agent::settings::quoted(r"it's C:\"), r"'it''s C:\\'");
/// ```
pub fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', "''"))
}

/// The same text has the same digest, as long as the agent runs.
pub fn digest(text: &str) -> Settings {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Settings(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resources_word_is_the_last() {
        let wanted = Wanted {
            wal_keep: Some("1GB"),
            settings: "work_mem = '8MB'\n",
            ..Wanted::default()
        };
        let text = wanted.text();
        assert!(
            text.contains("max_slot_wal_keep_size = '1GB'\nwal_keep_size = '64MB'\n")
                && text.ends_with("work_mem = '8MB'\n"),
            "{text}"
        );
        let own = own_lines(&text);
        assert_eq!(text.lines().nth(own), Some("work_mem = '8MB'"));
        assert_eq!(own_lines("work_mem = '8MB'\n"), 0, "of an agent of before");
        assert_eq!(digest(&text), digest(&wanted.text()));
        assert_ne!(digest(&text), digest(&Wanted::default().text()));
    }

    #[test]
    fn what_initdb_chose_for_a_locale_is_kept_and_nothing_else_of_its_file() {
        let initdb = "#work_mem = 4MB\nport = 1\nlc_messages = 'de_DE.utf8'\t# for errors\nlc_numeric = 'de_DE.utf8'\t# numbers\n\
            default_text_search_config = 'pg_catalog.german'\n";
        assert_eq!(
            chosen(initdb),
            "lc_numeric = 'de_DE.utf8'\t# numbers\ndefault_text_search_config = 'pg_catalog.german'\n"
        );
    }

    #[test]
    fn large_segments_have_room() {
        let text = |segment| {
            Wanted {
                segment,
                ..Wanted::default()
            }
            .text()
        };
        assert!(!text(16 << 20).contains("max_wal_size"));
        assert!(text(64 << 20).contains("min_wal_size = '320MB'\nmax_wal_size = '640MB'\n"));
    }
}
