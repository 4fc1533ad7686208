//! What the pod wrote, read back.

use jiff::Timestamp;

/// Something on a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// It is a directory.
    pub is_directory: bool,
    /// It is a whole snapshot: a data directory with its manifest. A backup is renamed to its name only when it was verified.
    pub is_snapshot: bool,
    /// What it takes on the volume.
    pub bytes: Option<u64>,
    /// When it was last written.
    pub modified: Option<Timestamp>,
}

/// Reads a listing. One without its last line was cut off, and says nothing.
pub fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let mut lines: Vec<&str> = text.lines().collect();
    if lines.pop() != Some("end") {
        return Err("the listing was cut off; try again".to_owned());
    }
    let mut entries = lines
        .into_iter()
        .map(|line| entry(line).ok_or_else(|| format!("the listing has an odd line: {line}")))
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.splitn(5, ' ');
    let (kind, size, time, whole, name) = (
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
    );
    Some(Entry {
        name: name.to_owned(),
        is_directory: kind == "d",
        is_snapshot: whole == "s",
        bytes: size.parse::<u64>().ok().map(|kilobytes| kilobytes.saturating_mul(1024)),
        modified: time.parse().ok().and_then(|second| Timestamp::from_second(second).ok()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_become_entries_in_order() {
        let entries = parse("d 31720 1795370241 s b\nf 4 - - a name\nend\n").unwrap();
        assert_eq!(
            entries[0],
            Entry {
                name: "a name".into(),
                is_directory: false,
                is_snapshot: false,
                bytes: Some(4096),
                modified: None
            }
        );
        assert_eq!((entries[1].bytes, entries[1].is_snapshot), (Some(32_481_280), true));
        assert_eq!(parse("end\n").unwrap(), []);
    }

    #[test]
    fn half_a_listing_is_none() {
        assert!(parse("").is_err());
        assert!(parse("d 1 1 s a\n").is_err());
        assert!(parse("d 1\nend\n").is_err());
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in "[^\\x00-\\x1f\\x7f]{1,60}", kilobytes in 0..u64::MAX) {
            prop_assume!(name.lines().count() == 1);
            let entries = parse(&format!("d {kilobytes} 0 - {name}\nend\n")).unwrap();
            prop_assert_eq!(&entries[0].name, &name);
        }
    }
}
