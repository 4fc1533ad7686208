//! The configuration file of a server.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::supervisor::Settings;

/// What the file is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// WAL that a slot may keep, where the resource says so: `1GB`, or `-1` for all of it.
    pub wal_keep: Option<&'a str>,
    /// `postgresql.conf` of the resource.
    pub settings: &'a str,
}

impl Wanted<'_> {
    /// The text: ours first, so that the resource's word is the last.
    pub fn text(&self) -> String {
        let mut text = String::from("# Written by pgop-agent; edit the resource instead.\n");
        if let Some(keep) = self.wal_keep {
            text.push_str(&line("max_slot_wal_keep_size", keep));
        }
        // The first segment of a backup has to be there when its stream begins, also when another backup's checkpoint comes in between.
        text.push_str(&line("wal_keep_size", "64MB"));
        text.push_str(self.settings);
        text
    }
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
        };
        let text = wanted.text();
        assert!(
            text.ends_with("max_slot_wal_keep_size = '1GB'\nwal_keep_size = '64MB'\nwork_mem = '8MB'\n"),
            "{text}"
        );
        assert_eq!(digest(&text), digest(&wanted.text()));
        assert_ne!(digest(&text), digest(&Wanted::default().text()));
    }
}
