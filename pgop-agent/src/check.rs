//! Has `PostgreSQL` read settings before they are put in force, beside the server that runs.
//!
//! `postgres -C shared_memory_size` reads a configuration file as a start would, tells what is wrong with it, loads the libraries that it names
//! (from 15 on) and ends without having served (<https://www.postgresql.org/docs/current/app-postgres.html>). It wants a data directory that no
//! server runs on; one that holds nothing but `PG_VERSION` and `global/pg_control` of the real one will do.
//!
//! It ends at the first kind of mistake: a name that it does not know hides a wrong value, and both hide a library that is missing. So what it
//! complains of is left out and it is asked again, until all is told.

use std::io;
use std::path::{Path, PathBuf};

use crate::complaint::{Complaint, complaints, place};
use crate::data::{self, AUTO_CONF};
use crate::memory;
use crate::postgres;
use crate::settings::file::{Entry, entries, last, libraries, without};
use crate::supervisor::Verdict;

/// More mistakes than anybody reads.
const MOST: usize = 20;
/// Settings that name libraries. One that is missing keeps a server from starting, or every session.
const LIBRARIES: [&str; 3] = [
    "shared_preload_libraries",
    "session_preload_libraries",
    "local_preload_libraries",
];
/// What shared memory is made of, as far as settings say.
const MEMORY: [&str; 10] = [
    "shared_buffers",
    "wal_buffers",
    "max_connections",
    "max_locks_per_transaction",
    "max_pred_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
    "min_dynamic_shared_memory",
    "track_activity_query_size",
];

/// Settings to be read.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The text of the file.
    pub text: String,
    /// So many of its first lines are the agent's.
    pub own: usize,
    /// The server's data.
    pub data: PathBuf,
    /// Where files of the agent are.
    pub run: PathBuf,
    /// Major version of `PostgreSQL`.
    pub major: u32,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// Of the settings.
    pub verdict: Verdict,
    /// Why a server would not come up with what ALTER SYSTEM has left, where it would not.
    pub overrides: Option<String>,
}

/// What one `postgres -C` has said.
struct Said {
    complaints: Vec<Complaint>,
    out: String,
}

impl Candidate {
    /// Has them read. Errors: what is needed for that can't be written, or `postgres` can't be run.
    pub async fn check(&self) -> io::Result<Findings> {
        make_shadow(&self.data, &self.shadow())?;
        let (mut told, mut text, mut megabytes) = self.values().await?;
        if self.major >= 15 {
            let missing = self.libraries(&text).await?;
            if !missing.is_empty() {
                let named = entries(&text)
                    .into_iter()
                    .filter(|entry| LIBRARIES.contains(&&*entry.name));
                text = without(&text, &named.map(|entry| entry.line).collect::<Vec<_>>());
            }
            told.extend(missing);
            told.extend(self.shared_memory(&text, &mut megabytes).await?);
            told.extend(self.huge_pages(&text).await?);
        }
        Ok(Findings {
            verdict: if told.is_empty() {
                Verdict::Good
            } else {
                Verdict::Bad(told.join("; "))
            },
            overrides: self.overrides(&text).await?,
        })
    }

    fn shadow(&self) -> PathBuf {
        self.run.join("shadow")
    }

    async fn ask(&self, text: &str, asked: &str, more: &[(&str, &str)]) -> io::Result<Said> {
        let file = self.run.join("next.conf");
        std::fs::write(&file, text)?;
        let done = postgres::read_settings(&self.shadow(), &file, asked, more).await?;
        let mut found = Vec::new();
        if !done.status.success() {
            found = complaints(&String::from_utf8_lossy(&done.stderr));
            // It says nothing of the settings.
            if let Some(full) = found.iter().find(|it| it.words.ends_with("No space left on device")) {
                return Err(io::Error::new(io::ErrorKind::StorageFull, full.words.clone()));
            }
            if found.is_empty() {
                found.push(Complaint::without_words(format!(
                    "postgres -C ended with {}",
                    done.status
                )));
            }
        }
        Ok(Said {
            complaints: found,
            out: String::from_utf8_lossy(&done.stdout).trim().to_owned(),
        })
    }

    /// Names and values: what is wrong, the text without it, and the megabytes of shared memory that it takes.
    async fn values(&self) -> io::Result<(Vec<String>, String, Option<u64>)> {
        // Up to 14 nothing makes it load the libraries, nor tell how much memory it takes.
        let asked = if self.major < 15 {
            "work_mem"
        } else {
            "shared_memory_size"
        };
        let (mut told, mut text) = (Vec::new(), self.text.clone());
        while told.len() < MOST {
            let said = self.ask(&text, asked, &[("shared_preload_libraries", "")]).await?;
            if said.complaints.is_empty() {
                return Ok((told, text, said.out.parse().ok().filter(|_| self.major >= 15)));
            }
            let lines: Vec<usize> = said
                .complaints
                .iter()
                .flat_map(|complaint| complaint.lines(&text))
                .collect();
            if lines.is_empty() {
                let Some(theirs) = self.unnamed(&text, asked, &said.complaints[0]).await? else {
                    told.extend(said.complaints.iter().map(|complaint| complaint.told(&text, self.own)));
                    break;
                };
                told.push(about(&theirs.name, &said.complaints[0].words, theirs.line, self.own));
                text = without(&text, &[theirs.line]);
            } else {
                told.extend(said.complaints.iter().map(|complaint| complaint.told(&text, self.own)));
                text = without(&text, &lines);
            }
        }
        Ok((told, text, None))
    }

    /// The setting without which a complaint that names none is not made: among many, half of them are asked for at a time.
    async fn unnamed(&self, text: &str, asked: &str, complaint: &Complaint) -> io::Result<Option<Entry>> {
        let mut entries = entries(text);
        entries.retain(|entry| entry.line > self.own);
        while !entries.is_empty() {
            let others = entries.split_off(entries.len().div_ceil(2));
            let lines: Vec<usize> = entries.iter().map(|entry| entry.line).collect();
            let rest = without(text, &lines);
            let said = self.ask(&rest, asked, &[("shared_preload_libraries", "")]).await?;
            if said.complaints.contains(complaint) {
                entries = others;
            } else if entries.len() == 1 {
                return Ok(entries.pop());
            }
        }
        Ok(None)
    }

    /// Libraries that do not load, each with the setting that names it. Those of sessions are loaded as the server's are, which no start would do.
    async fn libraries(&self, text: &str) -> io::Result<Vec<String>> {
        let entries = entries(text);
        let named: Vec<(&Entry, Vec<String>)> = LIBRARIES
            .iter()
            .filter_map(|name| last(&entries, name))
            .map(|entry| (entry, loaded(entry)))
            .collect();
        let all: Vec<&String> = named.iter().flat_map(|(_, names)| names).collect();
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let whole = self.load(text, &all).await?;
        if whole.is_empty() {
            return Ok(Vec::new());
        }
        let mut told = Vec::new();
        for (entry, names) in &named {
            for name in names {
                let words = self.load(text, &[name]).await?;
                told.extend(
                    words
                        .iter()
                        .map(|said| about(&entry.name, &said.words, entry.line, self.own)),
                );
            }
        }
        if told.is_empty() {
            // Each by itself loads, and not all together.
            let (entry, _) = named[0];
            told.extend(
                whole
                    .iter()
                    .map(|said| about(&entry.name, &said.words, entry.line, self.own)),
            );
        }
        Ok(told)
    }

    async fn load(&self, text: &str, names: &[&String]) -> io::Result<Vec<Complaint>> {
        let quoted: Vec<String> = names
            .iter()
            .map(|name| format!("\"{}\"", name.replace('"', "\"\"")))
            .collect();
        let libraries = quoted.join(",");
        let said = self
            .ask(text, "shared_memory_size", &[("shared_preload_libraries", &libraries)])
            .await?;
        Ok(said.complaints)
    }

    /// More than there is would be taken, and the server killed for it.
    async fn shared_memory(&self, text: &str, known: &mut Option<u64>) -> io::Result<Option<String>> {
        if known.is_none() {
            *known = self.ask(text, "shared_memory_size", &[]).await?.out.parse().ok();
        }
        let (Some(megabytes), Some(limit)) = (*known, memory::limit().map(|bytes| bytes >> 20)) else {
            return Ok(None);
        };
        if megabytes <= limit {
            return Ok(None);
        }
        let entries = entries(text);
        let parts: Vec<&Entry> = MEMORY.iter().filter_map(|name| last(&entries, name)).collect();
        let mut theirs = Vec::new();
        for part in &parts {
            let lines = entries
                .iter()
                .filter(|entry| entry.name == part.name)
                .map(|entry| entry.line);
            let without = without(text, &lines.collect::<Vec<_>>());
            let rest = self.ask(&without, "shared_memory_size", &[]).await?.out.parse();
            if rest.is_ok_and(|rest: u64| rest <= limit) {
                theirs.push(*part);
            }
        }
        // It may take several of them to fill it.
        let theirs = if theirs.is_empty() { parts } else { theirs };
        Ok(Some(too_much(&theirs, megabytes, limit, self.own)))
    }

    /// `huge_pages = on` takes no others.
    async fn huge_pages(&self, text: &str) -> io::Result<Option<String>> {
        let entries = entries(text);
        let Some(entry) = last(&entries, "huge_pages") else {
            return Ok(None);
        };
        if self.ask(text, "huge_pages", &[]).await?.out != "on" {
            return Ok(None);
        }
        let needed = self.ask(text, "shared_memory_size_in_huge_pages", &[]).await?.out;
        let kilobytes: u64 = self.ask(text, "huge_page_size", &[]).await?.out.parse().unwrap_or(0);
        let there = memory::huge_pages(kilobytes << 10);
        let is_lacking = needed.parse().is_ok_and(|needed: u64| needed > there);
        let words = format!("huge_pages = on needs {needed} huge pages, and the machine has {there}");
        Ok(is_lacking.then(|| words + &place(entry.line, self.own)))
    }

    /// Why a server that takes the text does not with what ALTER SYSTEM has left.
    async fn overrides(&self, text: &str) -> io::Result<Option<String>> {
        let left = std::fs::read_to_string(self.data.join(AUTO_CONF)).unwrap_or_default();
        if data::names(&left).is_empty() || self.major < 15 {
            return Ok(None);
        }
        let copy = self.shadow().join(AUTO_CONF);
        std::fs::write(&copy, left)?;
        let said = self.ask(text, "shared_memory_size", &[]).await;
        std::fs::remove_file(copy)?;
        let said = said?;
        let (megabytes, limit) = (said.out.parse::<u64>().ok(), memory::limit().map(|bytes| bytes >> 20));
        Ok(match (said.complaints.is_empty(), megabytes.zip(limit)) {
            (false, _) => {
                let words: Vec<String> = said.complaints.into_iter().map(|complaint| complaint.words).collect();
                Some(words.join("; "))
            }
            (true, Some((megabytes, limit))) if megabytes > limit => Some(too_much(&[], megabytes, limit, 0)),
            (true, _) => None,
        })
    }
}

/// As `PostgreSQL` looks for them.
fn loaded(entry: &Entry) -> Vec<String> {
    let is_local = entry.name == "local_preload_libraries";
    let path = |name: String| {
        if is_local && !name.contains('/') {
            format!("$libdir/plugins/{name}")
        } else {
            name
        }
    };
    libraries(&entry.value).into_iter().map(path).collect()
}

fn about(name: &str, words: &str, line: usize, own: usize) -> String {
    format!("{name}: {words}{}", place(line, own))
}

fn too_much(parts: &[&Entry], megabytes: u64, limit: u64, own: usize) -> String {
    let named = parts
        .iter()
        .map(|part| format!("{} = {}{}", part.name, part.value, place(part.line, own)));
    let named = named.collect::<Vec<_>>().join(", ");
    let who = if named.is_empty() {
        "the settings".to_owned()
    } else {
        named
    };
    format!("{who}: {megabytes} MB of shared memory would be needed, and {limit} MB are all that there is")
}

fn make_shadow(data: &Path, shadow: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(shadow.join("global"))?;
    for name in ["PG_VERSION", "global/pg_control"] {
        std::fs::copy(data.join(name), shadow.join(name))?;
    }
    // Of a check that was cut off.
    match std::fs::remove_file(shadow.join(AUTO_CONF)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, value: &str, line: usize) -> Entry {
        Entry {
            name: name.to_owned(),
            value: value.to_owned(),
            line,
        }
    }

    #[test]
    fn libraries_of_sessions_are_looked_for_where_postgresql_does() {
        assert_eq!(loaded(&entry("session_preload_libraries", "a, b", 1)), ["a", "b"]);
        assert_eq!(
            loaded(&entry("local_preload_libraries", "a,/b/c", 1)),
            ["$libdir/plugins/a", "/b/c"]
        );
    }

    #[test]
    fn too_much_memory_is_told_with_whose_it_is() {
        let part = entry("shared_buffers", "900GB", 7);
        assert_eq!(
            too_much(&[&part], 938_634, 24_105, 4),
            "shared_buffers = 900GB (postgresql.conf line 3): 938634 MB of shared memory would be needed, and 24105 MB are all that there is"
        );
        assert!(too_much(&[], 2, 1, 0).starts_with("the settings: 2 MB"));
    }
}
