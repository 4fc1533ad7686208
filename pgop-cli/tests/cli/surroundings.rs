//! What pipes, scripts, proxies and credential plugins make of it. Each is a public bug report of another tool of this kind.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use crate::api::{Answer, Api, kubeconfig};
use crate::harness::Test;

fn database(name: &str, policy: &str) -> serde_json::Value {
    json!({"apiVersion": "pgop.dev/v1alpha1", "kind": "PgDatabase", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"deletionPolicy": policy}})
}

fn list(items: &[serde_json::Value]) -> Answer {
    Answer::json(&json!({"apiVersion": "pgop.dev/v1alpha1", "kind": "PgDatabaseList", "metadata": {}, "items": items}))
}

#[test]
fn a_name_that_would_change_the_path_never_reaches_the_cluster() {
    let api = Api::start(|_| list(&[]));
    for line in [
        "delete database ../pgclusters/x --yes",
        "show database x?watch=true",
        "psql a/b",
        "logs ..",
        "scale cluster a/scale --replicas 1",
        "show pvc a%2fb",
        "show database x --namespace a/b",
    ] {
        Test::new(line)
            .file("k", &api.kubeconfig("", ""))
            .env("KUBECONFIG", "k")
            .run()
            .code(2)
            .out("")
            .err_has("can't exist: a name is made of");
    }
    let paths = api.asked().join("\n");
    assert!(
        !paths.contains("..") && !paths.contains("a/b") && !paths.contains("watch=true"),
        "{paths}"
    );
}

#[test]
fn an_empty_namespace_is_a_variable_that_was_not_set() {
    Test::new("delete database all --yes --namespace=")
        .run()
        .code(2)
        .err("pgo: error: --namespace is empty: name one, or leave it out\n");
}

#[test]
fn a_deletion_has_no_result_in_json() {
    Test::new("delete database x -o json")
        .run()
        .code(2)
        .out("")
        .err_has("use -o name, or leave -o out");
}

#[test]
fn one_resource_that_a_newer_version_stored_does_not_hide_the_others() {
    let api = Api::start(|_| list(&[database("good", "Retain"), database("newer", "Snapshot")]));
    Test::new("show database all -o name")
        .file("k", &api.kubeconfig("", ""))
        .env("KUBECONFIG", "k")
        .run()
        .code(1)
        .out("pgdatabase.pgop.dev/good\n")
        .err_has("PgDatabase newer can't be read by this version of pgo");
}

#[test]
fn a_log_that_nobody_reads_any_more_ends() {
    let (taken, whether) = std::sync::mpsc::channel();
    let (line, code) = first_line_of_a_followed_log(move || {
        Answer::Lines("one line of a log that is followed\n", 200_000, taken.clone())
    });
    assert_eq!(line, "one line of a log that is followed\n");
    assert_eq!(code, Some(0));
    assert!(
        !whether.recv().unwrap(),
        "it has read the whole of a log that goes on for ever"
    );
}

#[test]
fn a_reader_that_goes_while_the_log_is_idle_is_noticed() {
    let (line, code) = first_line_of_a_followed_log(|| Answer::Idle("the only line\n"));
    assert_eq!(line, "the only line\n");
    // Without the mend it waits for the next line, which never comes.
    assert_eq!(code, Some(0));
}

/// Reads one line of `pgo logs -f` and goes away: the line, and how pgo ends then.
fn first_line_of_a_followed_log(log: impl Fn() -> Answer + Send + Sync + 'static) -> (String, Option<i32>) {
    let pod =
        json!({"metadata": {"name": "hippo-0", "labels": {"pgop.dev/role": "primary"}}, "spec": {"containers": []}});
    let api = Api::start(move |line| match line {
        line if line.contains("/log?") => log(),
        line if line.contains("/pods?") => {
            Answer::json(&json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod.clone()]}))
        }
        line if line.contains("/pgdatabases/hippo") => Answer::json(&database("hippo", "Retain")),
        _ => Answer::not_found(),
    });
    let mut running = Test::new("logs -f hippo")
        .file("k", &api.kubeconfig("", ""))
        .env("KUBECONFIG", "k")
        .start(Stdio::piped(), Stdio::null());
    let mut line = String::new();
    BufReader::new(running.child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    // The reader is gone with the statement above.
    let code = running.child.wait().unwrap().code();
    (line, code)
}

#[test]
fn a_closed_standard_error_is_no_crash() {
    let api = Api::start(|_| list(&[]));
    let mut running = Test::new("show database all --debug")
        .file("k", &api.kubeconfig("", ""))
        .env("KUBECONFIG", "k")
        .start(Stdio::null(), Stdio::piped());
    drop(running.child.stderr.take());
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_proxy_of_the_environment_is_for_other_machines() {
    let proxy = Api::start(|_| Answer::Whole("502 Bad Gateway", String::new()));
    let api = Api::start(|_| list(&[]));
    let proxies = format!("http://{}", proxy.address());
    let test = |kubeconfig: &str| {
        Test::new("show database all -o name")
            .file("k", kubeconfig)
            .env("KUBECONFIG", "k")
            .env("HTTPS_PROXY", &proxies)
    };
    test(&api.kubeconfig("", "")).run().code(0);
    assert!(proxy.asked().is_empty());
    test(&kubeconfig("https://kubernetes.invalid:6443", "", ""))
        .run()
        .code(3);
    assert_eq!(proxy.asked()[0], "CONNECT kubernetes.invalid:6443 HTTP/1.1");
    let through = proxy.asked().len();
    for no_proxy in [".invalid", "other, kubernetes.invalid", "*"] {
        test(&kubeconfig("https://kubernetes.invalid:6443", "", ""))
            .env("NO_PROXY", no_proxy)
            .run()
            .code(3);
        assert_eq!(proxy.asked().len(), through, "{no_proxy}");
    }
    // What stands for the proxy itself says nothing of the server.
    test(&kubeconfig("https://kubernetes.invalid:6443", "", ""))
        .env("NO_PROXY", "127.0.0.1")
        .run()
        .code(3);
    assert!(proxy.asked().len() > through);
    // A proxy that the kubeconfig names is for whatever its cluster is: `ssh -D` to a cluster on its own machine.
    let named = format!(", proxy-url: \"{proxies}\"");
    Test::new("show database all")
        .file("k", &kubeconfig("https://127.0.0.1:6443", &named, ""))
        .env("KUBECONFIG", "k")
        .run()
        .code(3);
    assert_eq!(proxy.asked().last().unwrap(), "CONNECT 127.0.0.1:6443 HTTP/1.1");
}

#[test]
fn a_credential_plugin_leaves_standard_input_alone() {
    let api = Api::start(|line| {
        if line.starts_with("POST") {
            Answer::json(&database("orders", "Retain"))
        } else {
            Answer::not_found()
        }
    });
    let plugin = r#"cat >seen; echo "{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": {\"token\": \"t\"}}""#;
    let user = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: IfAvailable, command: sh, args: [-c, {}]}}",
        json!(plugin)
    );
    let ran = Test::new("create -f -")
        .file("k", &api.kubeconfig("", &user))
        .env("KUBECONFIG", "k")
        .env("PATH", &std::env::var("PATH").unwrap())
        .stdin("{apiVersion: pgop.dev/v1alpha1, kind: PgDatabase, metadata: {name: orders}, spec: {}}")
        .run_and_keep();
    ran.0.code(0).out_has("PgDatabase orders created");
    assert_eq!(std::fs::read_to_string(ran.1.path().join("seen")).unwrap(), "");
}

#[test]
fn kubeconfig_files_are_merged_and_the_first_one_wins() {
    let api = Api::start(|_| list(&[]));
    let context = "{apiVersion: v1, kind: Config, current-context: mine, contexts: [{name: mine, context: {cluster: c, user: u, namespace: mine}}]}";
    Test::new("show database all -o name")
        .file("context", context)
        .file("k", &api.kubeconfig("", ""))
        .env("KUBECONFIG", "context:gone:k")
        .run()
        .code(0);
    let first = api.asked();
    assert!(first[0].contains("/namespaces/mine/pgdatabases"), "{first:?}");
}
