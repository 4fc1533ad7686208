//! The program as a container runs it: arguments, exit codes, last words.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, and sees none in their helpers

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use pgop_agent::psql::END;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgop-agent");

/// A folder that every user may enter, with a file for last words.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("words"), "of somebody before").unwrap();
    fs::set_permissions(folder.path().join("words"), Permissions::from_mode(0o666)).unwrap();
    folder
}

struct Ran {
    code: Option<i32>,
    out: String,
    words: String,
}

/// Runs a program in the environment that a container has, and nothing else.
fn run(folder: &Path, program: &[&str], arguments: &[&str]) -> Ran {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args(arguments).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("PGOP_TERMINATION_LOG", folder.join("words"));
    command.env("PGOP_VOLUME", folder.join("volume"));
    let Output { status, stdout, .. } = command.output().unwrap();
    Ran {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        words: fs::read_to_string(folder.join("words")).unwrap(),
    }
}

#[test]
fn it_needs_no_environment_to_say_what_it_is() {
    let folder = folder();
    let ran = run(folder.path(), &[PROGRAM], &["--version"]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.out, concat!("pgop-agent ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(ran.words, "of somebody before");
    assert!(run(folder.path(), &[PROGRAM], &["help"]).out.contains("Exit codes:"));
}

#[test]
fn what_it_is_not_told_ends_it_with_the_words_for_it() {
    let folder = folder();
    let ran = run(folder.path(), &[PROGRAM], &["server"]);
    assert_eq!(
        (ran.code, ran.words.as_str()),
        (
            Some(2),
            "the variable PGOP_ROLE is not set: the agent runs in a pod that pgop made\n"
        )
    );
    let ran = run(folder.path(), &[PROGRAM], &["sever"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.words.starts_with("`sever` is no command\n"), "{}", ran.words);
    // Outside of a container there is no file for last words, and none is made.
    fs::remove_file(folder.path().join("words")).unwrap();
    let code = Command::new(PROGRAM)
        .env("PGOP_TERMINATION_LOG", folder.path().join("words"))
        .status()
        .unwrap();
    assert_eq!(code.code(), Some(2));
    assert!(!folder.path().join("words").exists());
}

#[test]
fn a_claim_that_it_can_not_write_to_is_named() {
    let folder = folder();
    fs::write(folder.path().join("volume"), "no directory").unwrap();
    let home = folder.path().join("home");
    fs::create_dir_all(home.join("run")).unwrap();
    let variables = format!(
        "env PGOP_HOME={} PGOP_ROLE=primary PGOP_OWNER=PgDatabase/shop/orders PGOP_INSTANCE=orders PGOP_CLAIM=orders-pvc",
        home.display()
    );
    let program: Vec<&str> = variables.split(' ').chain([PROGRAM]).collect();
    let ran = run(folder.path(), &program, &["server"]);
    let place = folder.path().join("volume/orders").display().to_string();
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.words,
        format!(
            "can't make {place} on claim orders-pvc: Not a directory (os error 20); check the volume's permissions (fsGroup)\n"
        )
    );
}

#[test]
fn what_it_installed_is_the_program_and_installs_itself_again() {
    let folder = folder();
    let into = folder.path().display().to_string();
    let installed = folder.path().join("pgop-agent").display().to_string();
    for program in [PROGRAM, &installed, &installed] {
        let ran = run(folder.path(), &[program], &["install", &into]);
        assert_eq!((ran.code, ran.words.as_str()), (Some(0), "of somebody before"));
    }
    assert_eq!(run(folder.path(), &[&installed], &["version"]).code, Some(0));
}

/// In a mount of its own, which is gone with it.
fn install_in(folder: &Path, options: &str) -> Ran {
    let script = "mount -t tmpfs -o \"$3\" none \"$1\" && exec \"$2\" install \"$1\"";
    let into = folder.join("bin");
    fs::create_dir(&into).unwrap();
    let shell = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"];
    run(folder, &shell, &[&into.display().to_string(), PROGRAM, options])
}

#[test]
fn a_volume_that_is_full_or_read_only_is_told_with_what_to_do() {
    for (options, words) in [
        ("size=64k", "the volume there is full: give it a larger sizeLimit"),
        ("ro", "mount the volume there without readOnly"),
    ] {
        let folder = folder();
        let ran = install_in(folder.path(), options);
        assert_eq!(ran.code, Some(1), "{options}: {}", ran.words);
        assert!(
            ran.words.starts_with("pgop-agent can't be installed (to ") && ran.words.contains(words),
            "{}",
            ran.words
        );
    }
    let folder = folder();
    assert_eq!(install_in(folder.path(), "size=1g").code, Some(0));
}

#[test]
fn a_claim_is_browsed_and_what_is_not_there_has_a_code_of_its_own() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("volume/orders-backups")).unwrap();
    let ran = run(folder.path(), &[PROGRAM], &["browse"]);
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.out
            .starts_with("{\"name\":\"orders-backups\",\"kind\":\"directory\","),
        "{}",
        ran.out
    );
    assert!(ran.out.ends_with("\n{\"entries\":1,\"left_out\":0}\n"), "{}", ran.out);
    for (path, code, words) in [
        (
            "absent",
            3,
            "there is no directory `absent` on the claim (links are not followed)\n",
        ),
        (
            "../x",
            2,
            "`../x` is no path below the claim's root: it must be relative, without `..`\n",
        ),
    ] {
        let ran = run(folder.path(), &[PROGRAM], &["browse", path]);
        assert_eq!(
            (ran.code, ran.words.as_str(), ran.out.as_str()),
            (Some(code), words, ""),
            "{path}"
        );
    }
}

#[test]
fn what_it_may_not_read_is_told() {
    let folder = folder();
    let into = folder.path().display().to_string();
    assert_eq!(run(folder.path(), &[PROGRAM], &["install", &into]).code, Some(0));
    let program = folder.path().join("pgop-agent").display().to_string();
    let volume = folder.path().join("volume");
    for (closed, mode) in [("closed", 0o000), ("listed", 0o444), ("half/closed", 0o000)] {
        fs::create_dir_all(volume.join(closed).join("inside")).unwrap();
        fs::set_permissions(volume.join(closed), Permissions::from_mode(mode)).unwrap();
    }
    // Root may read everything. The other user has no name: the agent does not ask for one.
    let is_root = fs::read_dir(volume.join("closed")).is_ok();
    let user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", &program];
    let user = if is_root { &user[..] } else { &user[4..] };
    for path in ["closed", "listed"] {
        let ran = run(folder.path(), user, &["browse", path]);
        let words = format!("could not read `{path}` on the claim: Permission denied (os error 13); the pod's user");
        assert!(ran.code == Some(1) && ran.words.starts_with(&words), "{}", ran.words);
    }
    let ran = run(folder.path(), user, &["browse"]);
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.out
            .contains("{\"name\":\"half\",\"kind\":\"directory\",\"bytes\":null,"),
        "{}",
        ran.out
    );
    for closed in ["closed", "listed", "half/closed"] {
        fs::set_permissions(volume.join(closed), Permissions::from_mode(0o755)).unwrap();
    }
}

/// `psql` of a program's own making, fed by the agent. Its input stays open until the test closes it.
fn psql(folder: &Path, script: &str) -> std::process::Child {
    let program = folder.join("psql");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let path = std::env::join_paths([folder.to_owned(), "/usr/bin".into(), "/bin".into()]).unwrap();
    let mut command = Command::new(PROGRAM);
    command
        .args(["psql", "-X"])
        .env_clear()
        .env("PATH", path)
        .env("PGOP_HOME", folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn psqls_input_ends_where_the_line_says() {
    let folder = folder();
    let mut child = psql(folder.path(), "echo \"$1 $PGAPPNAME\"; cat; exit 3");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"select 1;\n\\q no\n").unwrap();
    stdin.write_all(END).unwrap();
    // Never closed: only the line can end it.
    let said = child.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(3));
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.starts_with("-X pgo psql "), "{text}");
    assert!(text.ends_with("\nselect 1;\n\\q no\n"), "{text}");
    drop(stdin);
}

#[test]
fn half_a_statement_is_not_run_when_the_connection_breaks() {
    let folder = folder();
    // One that would act on what has come when its input ends, as psql does.
    let mut child = psql(folder.path(), "cat; echo it took that for all");
    child.stdin.take().unwrap().write_all(b"delete from animal\n").unwrap();
    let said = child.wait_with_output().unwrap();
    assert_eq!(said.status.signal(), Some(15));
    assert_eq!(String::from_utf8(said.stdout).unwrap(), "delete from animal\n");
}

#[test]
fn what_psql_runs_is_ended_when_the_connection_breaks_after_the_input() {
    let folder = folder();
    let mut child = psql(folder.path(), "exec sleep 1000");
    child.stdin.take().unwrap().write_all(END).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}
