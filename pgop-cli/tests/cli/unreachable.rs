//! No cluster: exit code 3, one line that says what to do.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::harness::Test;

fn kubeconfig(server: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Config, current-context: here,
 contexts: [{{name: here, context: {{cluster: c, user: u, namespace: shop}}}}],
 clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}], users: [{{name: u, user: {{}}}}]}}"
    )
}

/// A server that gives every request one answer; it ends with the test's process.
fn server(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                head.push(byte[0]);
            }
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}

#[track_caller]
fn one_line(err: &str) {
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.starts_with("pgo: error: "), "{err}");
}

#[test]
fn without_any_kubeconfig() {
    let ran = Test::new("show database all")
        .run()
        .code(3)
        .out("")
        .err_has("or run `pgo sandbox start`");
    one_line(&ran.err);
}

#[test]
fn with_a_kubeconfig_that_is_not_there() {
    Test::new("show database all --kubeconfig nope")
        .run()
        .code(3)
        .err_has("nope");
    Test::new("show database all --context other")
        .file("k", &kubeconfig("http://127.0.0.1:1"))
        .env("KUBECONFIG", "k")
        .run()
        .code(3)
        .err_has("other");
}

#[test]
fn when_nobody_listens() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for line in [
        "show database all",
        "create database x",
        "delete cluster x",
        "psql x",
        "logs x",
        "show pvc x",
        "scale cluster x --replicas 1",
    ] {
        let ran = Test::new(line)
            .file("k", &kubeconfig(&format!("http://{address}")))
            .env("KUBECONFIG", "k")
            .run()
            .code(3)
            .out("");
        one_line(&ran.err);
        assert!(
            ran.err.contains(&format!("cluster http://{address} can't be reached")),
            "{line}: {}",
            ran.err
        );
    }
}

#[test]
fn several_names_need_one_complaint() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = Test::new("create database a b c")
        .file("k", &kubeconfig(&format!("http://{address}")))
        .env("KUBECONFIG", "k")
        .run()
        .code(3);
    one_line(&ran.err);
}

#[test]
fn when_it_says_no() {
    let body = r#"{"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403,
        "message": "pgdatabases.pgop.dev is forbidden: User \"ann\" cannot list resource"}"#;
    let ran = Test::new("show database all")
        .file("k", &kubeconfig(&server("403 Forbidden", body)))
        .env("KUBECONFIG", "k")
        .run()
        .code(3);
    one_line(&ran.err);
    assert!(
        ran.err.contains("not allowed to list pgdatabases in namespace shop"),
        "{}",
        ran.err
    );
}

#[test]
fn when_the_operator_was_never_installed() {
    let body = "404 page not found\n";
    let ran = Test::new("show database all")
        .file("k", &kubeconfig(&server("404 Not Found", body)))
        .env("KUBECONFIG", "k")
        .run()
        .code(3);
    one_line(&ran.err);
    assert!(ran.err.contains("`pgo install`"), "{}", ran.err);
}

#[test]
fn the_file_of_the_configuration_comes_after_the_variable() {
    let test = |line: &str| {
        Test::new(line)
            .file("of-file", &kubeconfig("http://127.0.0.1:1/of-file"))
            .file("of-env", &kubeconfig("http://127.0.0.1:1/of-env"))
            .file("of-flag", &kubeconfig("http://127.0.0.1:1/of-flag"))
            .file(".pgo.yaml", "KUBECONFIG: of-file\n")
    };
    test("show database all")
        .run()
        .code(3)
        .err_has("http://127.0.0.1:1/of-file");
    test("show database all")
        .env("KUBECONFIG", "of-env")
        .run()
        .code(3)
        .err_has("http://127.0.0.1:1/of-env");
    test("show database all --kubeconfig of-flag")
        .env("KUBECONFIG", "of-env")
        .run()
        .code(3)
        .err_has("http://127.0.0.1:1/of-flag");
}
