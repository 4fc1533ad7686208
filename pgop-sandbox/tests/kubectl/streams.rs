//! Into pods: logs, exec, attach, cp, port-forward, proxy.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::kubectl::{Kubectl, LIMIT, until, with_each};

const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {terminationGracePeriodSeconds: 1, containers: [
  {name: main, image: x, stdin: true, command: [sh, -c, 'echo ready; while read line; do echo got $line; done']},
  {name: web, image: x, workingDir: /tmp, command: [sh, -c, 'echo it works > index.html; exec python3 -m http.server 8080']}]}}";

async fn pod(kubectl: &Kubectl) {
    kubectl.apply(POD).await;
    kubectl
        .ok(&["wait", "--for=condition=Ready", "pod/p", "--timeout=180s"])
        .await;
    let ready = [
        "exec",
        "p",
        "-c",
        "web",
        "--",
        "sh",
        "-c",
        "exec 3<>/dev/tcp/127.0.0.1/8080",
    ]
    .map(|word| if word == "sh" { "bash" } else { word });
    until("it listens", async || kubectl.run(&ready).await.code == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn commands_run_in_containers() {
    with_each(async |kubectl| {
        pod(&kubectl).await;
        let exec = ["exec", "p", "-c", "main"];
        let said = kubectl
            .run(&[&exec[..], &["--", "sh", "-c", "echo out; echo err >&2; exit 7"]].concat())
            .await;
        assert_eq!((said.code, said.out.as_str()), (7, "out\n"));
        assert!(
            said.err.contains("err\n") && said.err.contains("command terminated with exit code 7"),
            "{said:?}"
        );
        let said = kubectl
            .with_input(&[&exec[..], &["-i", "--", "cat"]].concat(), "hello\n")
            .await;
        assert_eq!((said.code, said.out.as_str()), (0, "hello\n"));
        kubectl
            .fails(
                &[&exec[..], &["--", "/no/such/program"]].concat(),
                &["no such file or directory"],
            )
            .await;
        kubectl
            .fails(
                &["exec", "p", "-c", "nope", "--", "true"],
                &["container nope is not valid for pod p"],
            )
            .await;
        kubectl
            .fails(&["exec", "nope", "--", "true"], &["pods \"nope\" not found"])
            .await;
        let large = kubectl
            .ok(&[&exec[..], &["--", "head", "-c", "20000000", "/dev/zero"]].concat())
            .await;
        assert_eq!(large.len(), 20_000_000);
        // The size follows once the terminal is there.
        let script = "until stty size | grep -q '33 101'; do :; done; tty; read answer; echo \"read $answer\"; exit 3";
        let said = kubectl
            .on_terminal(
                &[&exec[..], &["-it", "--", "sh", "-c", script]].concat(),
                (33, 101),
                "yes\n",
            )
            .await;
        assert_eq!(said.code, 3, "{said:?}");
        assert!(
            said.out.contains("/dev/pts/") && said.out.contains("read yes"),
            "{said:?}"
        );
        kubectl.ok(&["delete", "pod", "p"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn logs_are_read_and_followed() {
    with_each(async |kubectl| {
        pod(&kubectl).await;
        let last = ["logs", "p", "-c", "main", "--tail=1"];
        until("it has said that it is ready", async || {
            kubectl.ok(&last).await == "ready\n"
        })
        .await;
        assert_eq!(
            kubectl
                .ok(&["logs", "p", "-c", "main", "--since=1h", "--limit-bytes=3"])
                .await,
            "rea"
        );
        kubectl
            .fails(
                &["logs", "p", "-c", "main", "--previous"],
                &["previous terminated container main in pod p not found"],
            )
            .await;
        kubectl
            .ok(&[
                "run",
                "short",
                "--image=x",
                "--restart=Never",
                "--command",
                "--",
                "sh",
                "-c",
                "echo a; sleep 1; echo b",
            ])
            .await;
        // As long as it has no node its log is empty, and there is nothing to follow.
        until("it has a log", async || {
            kubectl.run(&["logs", "short"]).await.out.starts_with('a')
        })
        .await;
        assert_eq!(kubectl.ok(&["logs", "-f", "short"]).await, "a\nb\n");
        // What was said before somebody attached is not told to him: it waits for him to say something.
        let script = "read word; echo from $word; exit 3";
        let run = [
            "run",
            "one",
            "--image=x",
            "--restart=Never",
            "--attach",
            "--stdin",
            "--rm",
        ];
        let said = kubectl
            .with_input(&[&run[..], &["--command", "--", "sh", "-c", script]].concat(), "run\n")
            .await;
        assert!(said.out.contains("from run"), "{said:?}");
        assert_eq!(said.code, 3, "{said:?}");
        kubectl.ok(&["delete", "pod", "p", "short"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn a_container_is_attached_to() {
    with_each(async |kubectl| {
        pod(&kubectl).await;
        let mut attach = kubectl.command(&["attach", "-i", "p", "-c", "main"]);
        let mut attach = attach
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut keys = attach.stdin.take().unwrap();
        let mut lines = BufReader::new(attach.stdout.take().unwrap()).lines();
        keys.write_all(b"hello\n").await.unwrap();
        let told = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line == "got hello" {
                    return;
                }
            }
            panic!("it ended without an answer");
        };
        tokio::time::timeout(LIMIT, told).await.expect("an answer");
        attach.kill().await.unwrap();
        kubectl.ok(&["delete", "pod", "p"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn files_are_copied_both_ways() {
    with_each(async |kubectl| {
        pod(&kubectl).await;
        let folder = tempfile::tempdir().unwrap();
        let (from, back) = (folder.path().join("from"), folder.path().join("back"));
        let bytes: Vec<u8> = (0..3_000_000_u32)
            .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        std::fs::write(&from, &bytes).unwrap();
        kubectl
            .ok(&["cp", from.to_str().unwrap(), "p:/tmp/there", "-c", "web"])
            .await;
        kubectl
            .ok(&["cp", "p:/tmp/there", back.to_str().unwrap(), "-c", "web"])
            .await;
        assert!(
            std::fs::read(&back).unwrap() == bytes,
            "the copy of the copy is another one"
        );
        kubectl.ok(&["delete", "pod", "p"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn ports_are_forwarded_and_proxied() {
    with_each(async |kubectl| {
        pod(&kubectl).await;
        let mut forward = kubectl.command(&["port-forward", "pod/p", ":8080", "--address=127.0.0.1"]);
        let mut forward = forward.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(forward.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("where it listens");
        let port = line.split([':', ' ']).nth(3).and_then(|port| port.parse::<u16>().ok());
        let port = port.unwrap_or_else(|| panic!("no port: {line}"));
        for _ in 0..20 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("it works\n"), "{answer}");
        }
        forward.kill().await.unwrap();
        let path = format!("/api/v1/namespaces/{}/pods/p:8080/proxy/", kubectl.namespace);
        assert_eq!(kubectl.ok(&["get", "--raw", &path]).await, "it works\n");
        kubectl.ok(&["delete", "pod", "p"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn changes_are_watched() {
    with_each(async |kubectl| {
        kubectl
            .ok(&["run", "before", "--image=x", "--command", "--", "sleep", "1000"])
            .await;
        kubectl
            .ok(&["wait", "--for=condition=Ready", "pod/before", "--timeout=180s"])
            .await;
        let mut watch = kubectl.command(&["get", "pods", "-w", "--output-watch-events"]);
        let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        // It watches from here on: this one it has seen.
        let first = lines.next_line().await.unwrap().expect("what is there");
        assert!(first.contains("EVENT"), "{first}");
        let first = lines.next_line().await.unwrap().expect("what is there");
        assert!(first.contains("ADDED") && first.contains("before"), "{first}");
        kubectl
            .ok(&["run", "w", "--image=x", "--restart=Never", "--command", "--", "true"])
            .await;
        let told = async {
            let mut seen = Vec::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                seen.push(line);
                if seen
                    .last()
                    .is_some_and(|line: &String| line.contains(" w ") && line.contains("Completed"))
                {
                    break;
                }
            }
            seen.join("\n")
        };
        let told = tokio::time::timeout(LIMIT, told).await.expect("its end");
        assert!(told.contains("ADDED") && told.contains("MODIFIED"), "{told}");
        watch.kill().await.unwrap();
        kubectl
            .ok(&["wait", "--for=condition=Initialized", "pod/w", "--timeout=180s"])
            .await;
        kubectl
            .ok(&["delete", "pod", "before", "--grace-period=0", "--force"])
            .await;
    })
    .await;
}
