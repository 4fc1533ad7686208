//! Command lines that make no sense: exit code 2, a reason on standard error, nothing on standard output.

use crate::harness::Test;

#[track_caller]
fn refused(line: &str, reason: &str) {
    Test::new(line).run().code(2).out("").err_has(reason);
}

#[test]
fn typos() {
    refused("shwo database all", "unrecognized subcommand 'shwo'");
    refused("create databse x", "unrecognized subcommand 'databse'");
    refused("show database x --nope", "unexpected argument '--nope'");
    refused("scale cluster x", "--replicas");
    refused("scale database x --replicas 1", "invalid value 'database'");
    refused("upgrade cluster x", "invalid value 'cluster'");
    refused("upgrade servers x --all", "cannot be used with");
}

#[test]
fn names_are_needed() {
    for line in ["create database", "show cluster", "delete backup", "show pvc"] {
        refused(line, "<NAME>...");
    }
    refused("upgrade servers", "<NAME|--all>");
}

#[test]
fn each_restore_flag_demands_the_other() {
    for object in ["database", "cluster"] {
        refused(&format!("create {object} x --backup-pvc=claim"), "--backup-path");
        refused(&format!("create {object} x -x a-backups/1"), "--backup-pvc");
    }
}

#[test]
fn values_are_checked_before_anything_is_asked() {
    refused("create database x --port 0", "--port");
    refused(
        "create database x --dry-run --cpu lots",
        "--cpu lots: give a quantity such as 500m or 2Gi",
    );
    refused("create database x --dry-run --memory 1GB", "--memory 1GB");
    refused("create database x --dry-run --access-mode RWX", "--access-mode RWX");
    refused(
        "create database x --dry-run -p claim -x /etc",
        "--backup-path /etc: it is absolute",
    );
    refused(
        "create database x --dry-run --parameter a=1 --parameter a=2",
        "--parameter a is given twice",
    );
    refused("create database x --parameter work_mem", "give it as key=value");
    refused("create cluster x --replicas 51", "--replicas");
    refused(
        "create database x --timeout soon",
        "give a time such as 90s, 10m or 1h30m",
    );
    refused("create backup a b --name one", "--name is for one source");
}

#[test]
fn all_is_a_word_and_no_name() {
    refused("create database all --dry-run", "`all` can't be the name of a resource");
    refused(
        "delete database all",
        "deleting `all` without a terminal to ask on needs --yes",
    );
    refused("delete cluster all db1 --yes", "`all` stands alone");
    refused(
        "delete database x -l team=a",
        "deleting by --selector without a terminal to ask on needs --yes",
    );
    refused("delete database x -A", "works in one namespace");
    refused("upgrade servers all x", "`all` stands alone");
    refused("upgrade servers x -l team=a", "-A and --selector choose among --all");
    refused("uninstall", "without a terminal to ask on needs --yes");
}
