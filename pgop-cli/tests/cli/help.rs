//! What works without cluster and configuration.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::harness::Test;

#[test]
fn help_tells_exit_codes_and_rights() {
    Test::new("--help")
        .run()
        .code(0)
        .quiet()
        .out_has("Exit codes:\n  0    everything");
    for verb in [
        "create",
        "show",
        "delete",
        "scale",
        "upgrade",
        "psql",
        "logs",
        "install",
        "uninstall",
    ] {
        Test::new(&format!("{verb} --help"))
            .run()
            .code(0)
            .quiet()
            .out_has("RBAC it needs");
    }
}

#[test]
fn as_a_plugin_it_is_called_kubectl_pgo() {
    Test::new("show --help")
        .called("kubectl-pgo")
        .run()
        .code(0)
        .out_has("Usage: kubectl pgo show");
    Test::new("show --help").run().code(0).out_has("Usage: pgo show");
}

#[test]
fn nothing_is_help_and_a_usage_error() {
    Test::new("").run().code(2).out("").err_has("Usage: pgo");
}

#[test]
fn completion_scripts_are_for_their_shell() {
    Test::new("completion bash")
        .run()
        .code(0)
        .quiet()
        .out_has("complete -F _pgo");
    Test::new("completion zsh")
        .run()
        .code(0)
        .quiet()
        .out_has("#compdef pgo");
    Test::new("completion fish")
        .run()
        .code(0)
        .quiet()
        .out_has("complete -c pgo");
}

#[test]
fn the_version_needs_no_cluster() {
    let version = format!("pgo {}\n", env!("CARGO_PKG_VERSION"));
    Test::new("version --client").run().code(0).quiet().out(&version);
    Test::new("version")
        .run()
        .code(0)
        .out(&version)
        .err_has("the operator's version is unknown: no cluster to talk to");
    Test::new("version --client -o json")
        .run()
        .code(0)
        .out_has("\"pgo\": \"");
}

#[test]
fn strategies_are_listed_with_their_parameters() {
    Test::new("strategies -o name")
        .run()
        .code(0)
        .quiet()
        .out_has("database/standalone\n")
        .out_has("cluster/streaming\n");
    Test::new("strategies")
        .run()
        .code(0)
        .out_has("backup : basebackup (also 1): ");
}

#[test]
fn an_installation_can_be_read_before_it_is_made() {
    let ran = Test::new("install --dry-run -n ops --image img:1 -o yaml")
        .run()
        .code(0)
        .quiet();
    for kind in [
        "CustomResourceDefinition",
        "Namespace",
        "ServiceAccount",
        "ClusterRole",
        "Deployment",
    ] {
        assert!(ran.out.contains(&format!("kind: {kind}\n")), "no {kind}");
    }
    assert!(
        ran.out.contains("image: img:1") || ran.out.contains("image: \"img:1\""),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("namespace: ops\n"));
}

#[test]
fn colour_is_for_those_who_ask() {
    Test::new("show database x --color always")
        .run()
        .code(3)
        .err_has("\u{1b}[31mpgo: error:\u{1b}[0m");
    let ran = Test::new("show database x").run().code(3);
    assert!(!ran.err.contains('\u{1b}'), "{ran:#?}");
}

#[test]
fn every_command_of_the_documentation_exists() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages: Vec<PathBuf> = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "templates/README.md",
    ]
    .map(|page| root.join(page))
    .into();
    for folder in ["docs", "docs/resources"] {
        let files = fs::read_dir(root.join(folder))
            .unwrap()
            .map(|file| file.unwrap().path());
        pages.extend(files.filter(|file| file.extension().is_some_and(|e| e == "md")));
    }
    let all: BTreeSet<Vec<String>> = pages
        .iter()
        .flat_map(|page| commands(&fs::read_to_string(page).unwrap()))
        .collect();
    assert!(all.len() > 20, "{all:?}");
    for words in all {
        Test::new(&format!("{} --help", words.join(" "))).run().code(0);
    }
}

/// The first words of each `pgo …` in code: a verb, and what it is for.
fn commands(text: &str) -> Vec<Vec<String>> {
    let is_code = |before: &str| {
        let line = before.rsplit('\n').next().unwrap_or_default();
        before.ends_with('`') || line.trim_start().trim_start_matches("$ ").is_empty()
    };
    let is_letter = |c: char| c.is_ascii_lowercase() || c == '-';
    let found = text.match_indices("pgo ").filter(|(at, _)| is_code(&text[..*at]));
    let words = found.map(|(at, pgo)| {
        let mut words = Vec::new();
        for word in text[at + pgo.len()..].split([' ', '\n']).take(2) {
            let name = word.trim_end_matches(|c| !is_letter(c));
            if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_letter) {
                break;
            }
            words.push(name.to_owned());
            if name != word {
                break;
            }
        }
        words
    });
    words.filter(|words| !words.is_empty()).collect()
}
