//! The table in the docs: words, and nothing that is other on another machine.

use std::fmt::Write as _;
use std::path::Path;

use crate::ground::{Row, Told};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
const HEAD: &str = include_str!("head.md");

fn code(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        String::new()
    } else {
        format!("`{}`", text.replace('|', "\\|"))
    }
}

/// Lines are those of a test, and megabytes and huge pages those of a machine.
fn plain(message: &str) -> String {
    let mut words: Vec<String> = message.split(' ').map(str::to_owned).collect();
    for at in 0..words.len() {
        let digits = words[at].trim_end_matches(|c: char| !c.is_ascii_digit());
        let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
        let before = at.checked_sub(1).map_or("", |before| words[before].as_str()).to_owned();
        let after = words.get(at + 1).cloned().unwrap_or_default();
        let is_of_machine = after == "MB" || after == "huge" || before == "has";
        if is_number && (before == "line" || is_of_machine) {
            words[at] = words[at].replacen(digits, "N", 1);
        }
    }
    words.join(" ").replace('|', "\\|")
}

fn told(told: &Told) -> String {
    // The head of the page says it once.
    let message = told
        .message
        .strip_prefix("the server goes on with its former settings: ");
    format!("{}: {}", told.reason, plain(message.unwrap_or(&told.message)))
}

fn text(parameters: &[Row], mistakes: &[Row], major: &str) -> String {
    let mut text = HEAD.replace("MAJOR", major);
    text.push_str("\n## The 40 settings that are set most\n\n| setting | value | comes into force | mistake | what the pod's condition says |\n|---|---|---|---|---|\n");
    for row in parameters {
        let how = if row.restarts { "with a restart" } else { "at once" };
        let Row {
            title, right, wrong, ..
        } = row;
        writeln!(
            text,
            "| `{title}` | {} | {how} | {} | {} |",
            code(right),
            code(wrong),
            told(&row.told)
        )
        .unwrap();
    }
    text.push_str("\n## All kinds of mistakes\n\n| what is wrong | in the file | what the pod's condition says |\n|---|---|---|\n");
    for row in mistakes {
        let lines: Vec<String> = row.wrong.lines().map(code).collect();
        writeln!(text, "| {} | {} | {} |", row.title, lines.join("<br>"), told(&row.told)).unwrap();
    }
    text
}

/// Compares with the docs, or writes them.
pub fn check(parameters: &[Row], mistakes: &[Row], major: &str) {
    let text = text(parameters, mistakes, major);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(Path::new(PATH), text).unwrap();
        return;
    }
    let there = std::fs::read_to_string(PATH).unwrap_or_default();
    // Other versions have other words.
    if there.contains(&format!("PostgreSQL {major}, as the test")) {
        assert_eq!(
            there, text,
            "docs/settings.md is not what the test saw: UPDATE=1 writes it anew"
        );
    }
}
