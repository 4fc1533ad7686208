//! `.pgo.yaml`, the environment, and `pgo config`.

use crate::harness::Test;

const V1: &str = include_str!("fixture/v1.pgo.yaml");

#[test]
fn every_value_says_where_it_comes_from() {
    let ran = Test::new("config")
        .file(".pgo.yaml", V1)
        .env("PGO_DB_PORT", "6000")
        .run()
        .code(0)
        .quiet();
    let row = |key: &str| {
        ran.out
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    assert_eq!(row("DB.PORT"), ["DB.PORT", "6000", "environment", "PGO_DB_PORT"]);
    assert_eq!(row("DB.PG_USER")[..2], ["DB.PG_USER", "testuser"]);
    assert!(row("DB.PG_USER")[2].ends_with("/.pgo.yaml:12"), "{ran:#?}");
    assert_eq!(row("BACKUP.STRATEGY"), ["BACKUP.STRATEGY", "basebackup", "default"]);
    assert!(
        row("DB.CCP_IMAGE_TAG")
            .join(" ")
            .contains("no longer used: set DB.IMAGE"),
        "{ran:#?}"
    );
}

#[test]
fn passwords_are_never_printed() {
    for format in ["", "-o wide", "-o json", "-o yaml", "--debug"] {
        let ran = Test::new(&format!("config {format}"))
            .file(".pgo.yaml", V1)
            .run()
            .code(0)
            .out_has("(set)");
        assert!(!ran.out.contains("wombat") && !ran.err.contains("wombat"), "{ran:#?}");
    }
    let ran = Test::new("create database x --dry-run -o yaml --claim c")
        .file(".pgo.yaml", V1)
        .run()
        .code(0);
    assert!(!ran.out.contains("wombat") && !ran.err.contains("wombat"), "{ran:#?}");
}

#[test]
fn the_working_directory_comes_before_home() {
    let ran = Test::new("config")
        .file(".pgo.toml", "[DB]\nPORT = 7000\n")
        .run()
        .code(0);
    assert!(ran.out.contains(".pgo.toml:2"), "{ran:#?}");
}

#[test]
fn a_named_file_is_read_and_no_other() {
    let test = Test::new("config --config mine.json")
        .file(".pgo.yaml", "DB: {PORT: 1}")
        .file("mine.json", r#"{"db": {"port": 2}}"#);
    let ran = test.run().code(0).out_has("mine.json");
    assert!(!ran.out.contains(".pgo.yaml:"), "{ran:#?}");
    Test::new("config --config nope.yaml")
        .run()
        .code(2)
        .out("")
        .err_has("nope.yaml can't be read");
}

#[test]
fn a_broken_file_stops_every_verb() {
    for line in ["config", "show database all", "create database x --dry-run"] {
        let ran = Test::new(line)
            .file(".pgo.yaml", "DB:\n  PROT: 5432\n")
            .run()
            .code(2)
            .out("");
        assert!(
            ran.err
                .ends_with(".pgo.yaml, line 2: there is no key DB.PROT; did you mean DB.PORT?\n"),
            "{ran:#?}"
        );
        Test::new(line)
            .file(".pgo.yaml", "DB: [")
            .run()
            .code(2)
            .out("")
            .err_has(".pgo.yaml, line ");
    }
    // Help and completion go on: they are what one needs then.
    Test::new("completion bash")
        .file(".pgo.yaml", "DB: [")
        .run()
        .code(0)
        .quiet();
}

#[test]
fn a_wrong_value_names_its_key_and_place() {
    Test::new("config")
        .env("PGO_CLUSTER_REPLICAS", "many")
        .run()
        .code(2)
        .err("pgo: error: CLUSTER.REPLICAS is \"many\" (environment PGO_CLUSTER_REPLICAS), and it must be a number from 0 to 50\n");
}

#[test]
fn a_variable_that_is_no_key_is_told() {
    Test::new("config")
        .env("PGO_DB_PROT", "1")
        .run()
        .code(0)
        .err_has("PGO_DB_PROT is no key of pgo");
}
