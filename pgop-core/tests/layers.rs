//! The modules of this crate lie in layers: the list in the crate's documentation is the rule, and this holds them to it.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy.toml allows it in tests, and sees none in their helpers

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

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
        for used in uses(text.parse().unwrap(), path.len()) {
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
    let text = "use crate::{alpha, beta::{Gamma, delta}};
        use super::epsilon; use super::super::zeta;
        #[error(\"{}\", crate::eta::theta(0))]
        fn iota() -> crate::kappa::Lambda { vec![format!(\"{}\", crate::mu::NU)] }
        #[cfg(test)]
        mod tests { use crate::xi; }
        #[cfg(test)]
        mod apart;
        fn omicron() { crate::pi::rho() }";
    let seen = |depth| {
        uses(text.parse().unwrap(), depth)
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
    };
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
fn uses(tokens: TokenStream, depth: usize) -> BTreeSet<String> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_test(&tokens[at..]) {
            at = end_of_item(&tokens, at);
            continue;
        }
        if let TokenTree::Group(group) = &tokens[at] {
            found.extend(uses(group.stream(), depth));
        }
        let mut supers = 0;
        while is_path_to(&tokens[at..], "super") {
            supers += 1;
            at += 3;
        }
        let from_root = is_path_to(&tokens[at..], "crate");
        if from_root {
            at += 3;
        }
        if from_root || (supers > 0 && supers == depth) {
            found.extend(names(&tokens[at]));
        }
        at += 1;
    }
    found
}

/// `word ::`
fn is_path_to(tokens: &[TokenTree], word: &str) -> bool {
    let is = |i: usize, text: &str| tokens.get(i).is_some_and(|token| token.to_string() == text);
    is(0, word) && is(1, ":") && is(2, ":")
}

/// `#[cfg(test)]`
fn is_test(tokens: &[TokenTree]) -> bool {
    let is = |i: usize, text: &str| {
        tokens
            .get(i)
            .is_some_and(|t: &TokenTree| t.to_string().replace(' ', "") == text)
    };
    is(0, "#") && is(1, "[cfg(test)]")
}

/// Where the item that starts at `at` ends: after its braces or its semicolon.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == proc_macro2::Delimiter::Brace,
        other => other.to_string() == ";",
    };
    let length = tokens[at..]
        .iter()
        .position(is_end)
        .map_or(tokens.len() - at, |end| end + 1);
    at + length
}

/// The first names of what follows a path: one, or those of `{a, b::c}`.
fn names(token: &TokenTree) -> Vec<String> {
    match token {
        TokenTree::Ident(name) => vec![name.to_string()],
        TokenTree::Group(group) => {
            let mut first = true;
            let mut names = Vec::new();
            for token in group.stream() {
                match &token {
                    TokenTree::Ident(name) if first => names.push(name.to_string()),
                    TokenTree::Punct(punct) if punct.as_char() == ',' => {
                        first = true;
                        continue;
                    }
                    _ => {}
                }
                first = false;
            }
            names
        }
        _ => Vec::new(),
    }
}
