//! The modules of this crate lie in layers: the list in the crate's documentation is the rule, and this holds them to it.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy.toml allows it in tests, and sees none in their helpers

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_module_uses_only_modules_of_lower_layers() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let root = fs::read_to_string(source.join("lib.rs")).unwrap();
    let modules = modules(&root);
    let layers = layers(&root, &modules);
    let missing: Vec<_> = modules.iter().filter(|name| !layers.contains_key(*name)).collect();
    assert!(missing.is_empty(), "the layers in lib.rs lack {missing:?}");
    let mut upward = BTreeSet::new();
    for file in files(&source) {
        let path: Vec<String> = path_of(file.strip_prefix(&source).unwrap());
        let Some(user) = path.first().filter(|name| modules.contains(*name)) else {
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        for used in uses(&text, path.len()) {
            assert!(
                modules.contains(&used),
                "{} uses crate::{used}: name its own module, not a re-export",
                file.display()
            );
            if &used != user && layers[&used] >= layers[user] {
                upward.insert(format!("{user} uses {used}"));
            }
        }
    }
    assert!(upward.is_empty(), "against the layers in lib.rs: {upward:#?}");
}

/// What the check above rests on: it sees each way to name another module, and leaves tests alone.
#[test]
fn a_use_is_seen_however_it_is_written() {
    let text = "
        //! See [`crate::not`].
        use crate::{alpha, beta::{Gamma, delta}};
        use super::epsilon; use super::super::zeta;
        #[error(\"{}\", crate::eta::theta(0))]
        fn iota() -> crate::kappa::Lambda { vec![format!(\"{}\", crate::mu::NU)] }
        fn omicron() { crate::pi::rho() }\n#[cfg(test)]\nmod tests { use crate::xi; }";
    let seen = |depth| uses(text, depth).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(seen(1), "alpha beta epsilon eta kappa mu pi");
    assert_eq!(seen(2), "alpha beta eta kappa mu pi zeta");
}

/// The modules that `lib.rs` declares with a file of their own.
fn modules(root: &str) -> BTreeSet<String> {
    let lines = root
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    lines
        .filter_map(|line| line.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// The line of each module in the list of layers.
fn layers(root: &str, modules: &BTreeSet<String>) -> BTreeMap<String, usize> {
    let list = root.lines().skip_while(|line| *line != "//! # Layers");
    let mut layers = BTreeMap::new();
    for (number, line) in list.enumerate() {
        let Some(line) = line.strip_prefix("//! ") else {
            continue;
        };
        for name in line.split_whitespace().take_while(|word| modules.contains(*word)) {
            assert_eq!(layers.insert(name.to_owned(), number), None, "{name} is in two layers");
        }
    }
    layers
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

/// The module path of a file: `runtime/apply.rs` is `runtime::apply`.
fn path_of(file: &Path) -> Vec<String> {
    let names = file.with_extension("");
    names.iter().map(|name| name.to_str().unwrap().to_owned()).collect()
}

/// The top-level modules that a module `depth` levels below the root names, as `crate::x` or with as many `super::` as lead there.
fn uses(text: &str, depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let code = code(text);
    for (at, _) in code.match_indices("crate::") {
        found.extend(names(&code[at + "crate::".len()..]));
    }
    let up = "super::".repeat(depth);
    for (at, _) in code.match_indices(&up) {
        let is_whole = !code[..at].ends_with("super::") && !code[at + up.len()..].starts_with("super::");
        found.extend(is_whole.then(|| names(&code[at + up.len()..])).into_iter().flatten());
    }
    found
}

/// Without comments and without tests, which stand at the end of a file or in a file of their own.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first names of what follows a path: one, or those of `{a, b::{c}}`.
fn names(rest: &str) -> Vec<String> {
    let name = |text: &str| {
        let end = |c: char| !c.is_alphanumeric() && c != '_';
        text.trim().split(end).next().unwrap_or_default().to_owned()
    };
    let Some(list) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let mut depth = 0;
    let mut names = vec![name(list)];
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&list[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}
