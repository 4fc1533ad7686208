//! Into pods: logs, exec, port-forward. <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>

use crate::workloads::WAIT;
use http::Method;
use pgop_fidelity::{Space, Subject, pod, with};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

pub(crate) fn subject() -> Subject {
    Subject::new("streams")
        .holds(a_log_has_both_streams)
        .holds(a_log_can_be_cut_by_lines_and_bytes)
        .holds(a_log_can_start_at_a_time)
        .holds(a_log_can_tell_the_times)
        .holds(a_followed_log_ends_with_its_container)
        .holds(a_log_of_several_containers_needs_a_name)
        .holds(a_log_of_an_unknown_container_is_a_bad_request)
        .holds(a_log_of_a_pod_that_waits_is_a_bad_request)
        .holds(exec_tells_streams_and_exit_code)
        .holds(exec_passes_input_on)
        .since(
            30,
            "websockets can close one direction (v5.channel.k8s.io)",
            exec_passes_the_end_of_input_on,
        )
        .holds(exec_of_a_missing_program_fails)
        .holds(exec_without_a_command_is_refused)
        .holds(exec_in_a_missing_pod_is_not_found)
        .holds(exec_sees_the_containers_world)
        .holds(a_forwarded_port_reaches_the_pod)
}

/// Each in its own order: they are two pipes, and whoever reads them decides what comes first of both
/// (<https://kubernetes.io/docs/concepts/cluster-administration/logging/#basic-logging-in-kubernetes>).
async fn a_log_has_both_streams(s: Space) {
    let output = s
        .output(&pod("a", "echo one; echo two >&2; echo three; echo -n 'no end'"))
        .await;
    assert!(output.contains("two\n"), "{output}");
    assert_eq!(output.replacen("two\n", "", 1), "one\nthree\nno end");
}

/// <https://kubernetes.io/docs/reference/generated/kubectl/kubectl-commands#logs>
async fn a_log_can_be_cut_by_lines_and_bytes(s: Space) {
    s.finish(&pod("a", "for i in 1 2 3 4 5; do echo line $i; done")).await;
    assert_eq!(s.logs("a", "tailLines=2").await, "line 4\nline 5\n");
    assert_eq!(s.logs("a", "tailLines=0").await, "");
    assert_eq!(s.logs("a", "tailLines=99").await.lines().count(), 5);
    assert_eq!(s.logs("a", "limitBytes=8").await, "line 1\nl");
    s.get("pods/a/log?tailLines=-1").await.fails(422, "Invalid");
}

/// <https://kubernetes.io/docs/reference/generated/kubectl/kubectl-commands#logs>
async fn a_log_can_start_at_a_time(s: Space) {
    s.finish(&pod("a", "echo early; sleep 4; echo late")).await;
    let lines = s.logs("a", "timestamps=true").await;
    let late = lines.lines().nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(
        s.logs("a", &format!("sinceTime={}", late.replace('+', "%2B"))).await,
        "late\n"
    );
    assert_eq!(s.logs("a", "sinceSeconds=3600").await, "early\nlate\n");
    s.get("pods/a/log?sinceSeconds=0").await.fails(422, "Invalid");
}

/// <https://kubernetes.io/docs/reference/generated/kubectl/kubectl-commands#logs>
async fn a_log_can_tell_the_times(s: Space) {
    s.finish(&pod("a", "echo hello")).await;
    let line = s.logs("a", "timestamps=true").await;
    let (time, text) = line.trim_end().split_once(' ').unwrap();
    assert_eq!(text, "hello");
    let fraction = time.split('.').nth(1).expect("parts of a second");
    assert!(time.as_bytes()[10] == b'T' && fraction.len() > 6, "{time}");
}

/// <https://kubernetes.io/docs/reference/generated/kubectl/kubectl-commands#logs>
async fn a_followed_log_ends_with_its_container(s: Space) {
    s.start(&pod(
        "a",
        "echo one; until test -f /tmp/go; do sleep 0.2; done; echo two",
    ))
    .await;
    let (log, _) = tokio::join!(s.logs("a", "follow=true"), s.exec("a", &["touch", "/tmp/go"], None));
    assert_eq!(log, "one\ntwo\n");
}

/// <https://kubernetes.io/docs/reference/generated/kubectl/kubectl-commands#logs>
async fn a_log_of_several_containers_needs_a_name(s: Space) {
    let mut body = pod("a", "echo from main");
    let second = with(
        body["spec"]["containers"][0].clone(),
        json!({"name": "second", "command": ["bash", "-c", "echo from second"]}),
    );
    body["spec"]["containers"].as_array_mut().unwrap().push(second);
    s.finish(&body).await;
    let words = ["a container name must be specified for pod a", "main", "second"];
    s.get("pods/a/log").await.fails_with(400, "BadRequest", &words);
    assert_eq!(s.logs("a", "container=second").await, "from second\n");
}

/// <https://kubernetes.io/docs/reference/generated/kubectl/kubectl-commands#logs>
async fn a_log_of_an_unknown_container_is_a_bad_request(s: Space) {
    s.create_pod(&with(pod("a", "true"), json!({"spec": {"schedulerName": "nobody"}})))
        .await;
    s.get("pods/a/log?container=nope")
        .await
        .fails_with(400, "BadRequest", &["container nope is not valid for pod a"]);
    s.get("pods/nope/log").await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/reference/generated/kubectl/kubectl-commands#logs>
async fn a_log_of_a_pod_that_waits_is_a_bad_request(s: Space) {
    let env = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nope", "key": "key"}}}]);
    let mut body = pod("a", "true");
    body["spec"]["containers"][0]["env"] = env;
    s.create_pod(&body).await;
    let waits = |p: &serde_json::Value| {
        p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    };
    s.until("it waits", "pods/a", waits).await;
    let words = ["container \"main\" in pod \"a\" is waiting to start: CreateContainerConfigError"];
    s.get("pods/a/log").await.fails_with(400, "BadRequest", &words);
}

/// <https://kubernetes.io/docs/tasks/debug/debug-application/get-shell-running-container/>
async fn exec_tells_streams_and_exit_code(s: Space) {
    s.start(&pod("a", WAIT)).await;
    let done = s
        .exec("a", &["bash", "-c", "echo out; echo err >&2; exit 7"], None)
        .await;
    assert_eq!(
        (done.out.as_str(), done.err.as_str(), done.code()),
        ("out\n", "err\n", 7)
    );
    assert_eq!(done.status["reason"], "NonZeroExitCode");
    let message = done.status["message"].as_str().unwrap();
    assert!(
        message.starts_with("command terminated with non-zero exit code"),
        "{message}"
    );
    let done = s.exec("a", &["true"], None).await;
    assert_eq!((done.code(), &done.status["status"]), (0, &json!("Success")));
}

/// <https://kubernetes.io/docs/tasks/debug/debug-application/get-shell-running-container/>
async fn exec_passes_input_on(s: Space) {
    s.start(&pod("a", WAIT)).await;
    let done = s.exec("a", &["head", "-n", "2"], Some("one\ntwo\nthree\n")).await;
    assert_eq!((done.out.as_str(), done.code()), ("one\ntwo\n", 0));
}

/// <https://kubernetes.io/blog/2024/08/20/websockets-transition/>
async fn exec_passes_the_end_of_input_on(s: Space) {
    s.start(&pod("a", WAIT)).await;
    let done = s.exec("a", &["cat"], Some("one\ntwo\n")).await;
    assert_eq!((done.out.as_str(), done.code()), ("one\ntwo\n", 0));
}

/// <https://kubernetes.io/docs/tasks/debug/debug-application/get-shell-running-container/>
async fn exec_of_a_missing_program_fails(s: Space) {
    s.start(&pod("a", WAIT)).await;
    let done = s.exec("a", &["/no/such/program"], None).await;
    assert_eq!(done.status["status"], "Failure", "{done:?}");
    assert!(
        done.status["message"]
            .as_str()
            .unwrap()
            .contains("no such file or directory"),
        "{done:?}"
    );
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>
async fn exec_without_a_command_is_refused(s: Space) {
    s.create_pod(&with(pod("a", "true"), json!({"spec": {"schedulerName": "nobody"}})))
        .await;
    let reply = s.ask(Method::POST, "pods/a/exec?stdout=true").send().await;
    assert_eq!(
        (reply.status, reply.json["kind"].as_str()),
        (400, Some("Status")),
        "{reply:?}"
    );
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>
async fn exec_in_a_missing_pod_is_not_found(s: Space) {
    s.ask(Method::POST, "pods/nope/exec?command=true&stdout=true")
        .send()
        .await
        .fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/tasks/debug/debug-application/get-shell-running-container/>
async fn exec_sees_the_containers_world(s: Space) {
    let mut body = pod("a", &format!("echo here > /tmp/file; {WAIT}"));
    body["spec"]["containers"][0]["env"] = json!([{"name": "WHO", "value": "me"}]);
    body["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 999});
    s.start(&body).await;
    s.eventually("the file is written", async || {
        s.exec("a", &["test", "-s", "/tmp/file"], None).await.code() == 0
    })
    .await;
    let done = s
        .exec("a", &["bash", "-c", "cat /tmp/file; echo $WHO $HOSTNAME; id -u"], None)
        .await;
    assert_eq!(done.out, "here\nme a\n999\n");
}

/// <https://kubernetes.io/docs/tasks/access-application-cluster/port-forward-access-application-cluster/>
async fn a_forwarded_port_reaches_the_pod(s: Space) {
    s.start(&pod("a", crate::services::SERVER)).await;
    s.eventually("it listens", async || {
        s.exec("a", &["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080"], None)
            .await
            .code()
            == 0
    })
    .await;
    let mut forward = s.forward("a", 8080).await;
    let mut text = String::new();
    forward
        .take_stream(8080)
        .expect("a stream")
        .read_to_string(&mut text)
        .await
        .expect("its answer");
    assert_eq!(text, "hello from a\n");
}
