//! Pods: what their containers get, how they end, and how they are watched over.
//! <https://kubernetes.io/docs/concepts/workloads/pods/>

use crate::workloads::WAIT;
use pgop_fidelity::{Patch, Space, Subject, config_map, image, pod, with};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("pods")
        .holds(defaults_of_a_pod_are_written)
        .holds(the_spec_of_a_pod_is_mostly_immutable)
        .holds(a_pod_without_containers_is_invalid)
        .holds(a_running_pod_tells_addresses_and_times)
        .holds(a_pod_that_ends_well_succeeds)
        .holds(a_pod_that_ends_badly_fails_with_its_code)
        .holds(a_signal_is_told_as_128_and_its_number)
        .holds(a_program_that_is_missing_is_told)
        .holds(a_container_is_restarted_on_failure)
        .holds(a_container_is_always_restarted)
        .holds(init_containers_run_one_after_the_other_and_first)
        .holds(a_failing_init_container_fails_the_pod)
        .holds(a_sidecar_starts_first_and_does_not_hold_the_end)
        .holds(a_termination_message_is_read_from_its_file)
        .holds(a_termination_message_falls_back_to_the_log)
        .holds(the_environment_comes_from_values_fields_maps_and_secrets)
        .holds(a_variable_refers_to_earlier_ones)
        .holds(a_missing_map_keeps_the_container_waiting)
        .holds(command_and_args_are_two_things)
        .holds(containers_of_a_pod_share_network_and_host_name)
        .holds(readiness_follows_its_probe)
        .holds(a_tcp_probe_connects)
        .holds(a_failing_liveness_probe_restarts_the_container)
        .holds(other_probes_wait_for_the_startup_probe)
        .holds(a_deleted_pod_is_told_first_and_then_ends)
        .holds(a_pod_that_does_not_end_in_its_grace_is_killed)
        .holds(a_pre_stop_hook_runs_before_the_signal)
        .holds(a_delete_without_grace_is_immediate)
        .holds(a_pod_has_a_deadline)
        .holds(a_container_runs_as_the_user_it_is_given)
        .holds(a_volume_belongs_to_the_group_it_is_given)
        .holds(a_read_only_root_cannot_be_written)
        .holds(a_container_that_must_not_be_root_is_not_started_as_root)
        .holds(the_quality_of_service_follows_the_requests)
}

async fn ended(s: &Space, body: &Value) -> (Value, Value) {
    let pod = s.finish(body).await;
    let state = pod["status"]["containerStatuses"][0]["state"]["terminated"].clone();
    (pod, state)
}

fn container(mut pod: Value, changes: Value) -> Value {
    pod["spec"]["containers"][0] = with(pod["spec"]["containers"][0].take(), changes);
    pod
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>
async fn defaults_of_a_pod_are_written(s: Space) {
    s.account().await;
    let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"schedulerName": "nobody",
        "containers": [{"name": "one", "image": "example.com/x:1"}, {"name": "two", "image": "example.com/x"}]}});
    let made = s.post("pods", &body).await.is(201);
    let spec = &made["spec"];
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("serviceAccountName", json!("default")),
        ("enableServiceLinks", json!(true)),
        ("securityContext", json!({})),
    ] {
        assert_eq!(spec[field], value, "{field}");
    }
    let one = &spec["containers"][0];
    assert_eq!(one["imagePullPolicy"], "IfNotPresent");
    assert_eq!(
        spec["containers"][1]["imagePullPolicy"], "Always",
        "an image without a tag is the latest"
    );
    assert_eq!(one["terminationMessagePath"], "/dev/termination-log");
    assert_eq!(one["terminationMessagePolicy"], "File");
    let mount = one["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(mount.expect("the account's token is mounted")["readOnly"], true);
    assert_eq!(
        (&made["status"]["phase"], &made["status"]["qosClass"]),
        (&json!("Pending"), &json!("BestEffort"))
    );
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/#pod-update-and-replacement>
async fn the_spec_of_a_pod_is_mostly_immutable(s: Space) {
    s.create_pod(&with(pod("a", "true"), json!({"spec": {"schedulerName": "nobody"}})))
        .await;
    let words = ["pod updates may not change fields other than"];
    s.patch(Patch::Merge, "pods/a", &json!({"spec": {"restartPolicy": "Always"}}))
        .await
        .fails_with(422, "Invalid", &words);
    let image = json!({"spec": {"containers": [{"name": "main", "image": "example.com/other:1"}]}});
    s.patch(Patch::Strategic, "pods/a", &image).await.is(200);
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>
async fn a_pod_without_containers_is_invalid(s: Space) {
    s.account().await;
    let body = with(pod("a", "true"), json!({"spec": {"containers": []}}));
    s.post("pods", &body)
        .await
        .fails_with(422, "Invalid", &["spec.containers: Required value"]);
    let mut twins = pod("a", "true");
    let twin = twins["spec"]["containers"][0].clone();
    twins["spec"]["containers"].as_array_mut().unwrap().push(twin);
    s.post("pods", &twins)
        .await
        .fails_with(422, "Invalid", &["spec.containers[1].name: Duplicate value: \"main\""]);
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>
async fn a_running_pod_tells_addresses_and_times(s: Space) {
    let running = s.start(&pod("a", WAIT)).await;
    let status = &running["status"];
    assert_eq!(status["phase"], "Running");
    assert!(running["spec"]["nodeName"].is_string());
    let ip = status["podIP"].as_str().expect("an address");
    assert_eq!(status["podIPs"][0]["ip"], ip);
    assert!(status["hostIP"].is_string() && status["startTime"].is_string());
    let container = &status["containerStatuses"][0];
    assert_eq!(
        (&container["ready"], &container["started"], &container["restartCount"]),
        (&json!(true), &json!(true), &json!(0))
    );
    assert!(container["state"]["running"]["startedAt"].is_string());
    assert!(
        container["containerID"].as_str().unwrap().contains("://"),
        "{container}"
    );
    for kind in ["PodScheduled", "Initialized", "ContainersReady", "Ready"] {
        let conditions = status["conditions"].as_array().unwrap();
        assert!(
            conditions.iter().any(|c| c["type"] == kind && c["status"] == "True"),
            "{kind}: {status}"
        );
    }
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>
async fn a_pod_that_ends_well_succeeds(s: Space) {
    let (pod, state) = ended(&s, &pod("a", "true")).await;
    assert_eq!(pod["status"]["phase"], "Succeeded");
    assert_eq!((&state["exitCode"], &state["reason"]), (&json!(0), &json!("Completed")));
    assert!(state["startedAt"].is_string() && state["finishedAt"].is_string());
    let ready = pod["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == "Ready")
        .unwrap();
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("False"), &json!("PodCompleted"))
    );
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>
async fn a_pod_that_ends_badly_fails_with_its_code(s: Space) {
    let (pod, state) = ended(&s, &pod("a", "exit 42")).await;
    assert_eq!(pod["status"]["phase"], "Failed");
    assert_eq!((&state["exitCode"], &state["reason"]), (&json!(42), &json!("Error")));
}

/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
async fn a_signal_is_told_as_128_and_its_number(s: Space) {
    // The first process of a container cannot kill itself with KILL: its child can, and bash ends as the child did.
    // ($$ would not do: Kubernetes makes it $ in a command.)
    let (_, state) = ended(&s, &pod("a", "bash -c 'kill -9 $BASHPID'; exit $?")).await;
    assert_eq!(state["exitCode"], 137);
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-states>
async fn a_program_that_is_missing_is_told(s: Space) {
    let (pod, state) = ended(&s, &container(pod("a", ""), json!({"command": ["/no/such/program"]}))).await;
    assert_eq!(pod["status"]["phase"], "Failed");
    let code = state["exitCode"].as_i64().unwrap();
    assert!(matches!(code, 127 | 128), "{state}");
    assert!(
        matches!(
            state["reason"].as_str(),
            Some("StartError" | "ContainerCannotRun" | "RunContainerError")
        ),
        "{state}"
    );
    assert!(
        state["message"].as_str().unwrap().contains("/no/such/program"),
        "{state}"
    );
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>
async fn a_container_is_restarted_on_failure(s: Space) {
    let script = "test -f /x/second || { touch /x/second; exit 5; }; until test -f /x/go; do sleep 0.2; done";
    let mut body = with(pod("a", script), json!({"spec": {"restartPolicy": "OnFailure"}}));
    body["spec"]["volumes"] = json!([{"name": "x", "emptyDir": {}}]);
    s.create_pod(&container(
        body,
        json!({"volumeMounts": [{"name": "x", "mountPath": "/x"}]}),
    ))
    .await;
    let again = |p: &Value| {
        let status = &p["status"]["containerStatuses"][0];
        status["restartCount"] == 1 && status["state"]["running"].is_object()
    };
    let running = s.until("it runs again", "pods/a", again).await;
    let last = &running["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(5), &json!("Error")));
    assert_eq!(s.exec("a", &["touch", "/x/go"], None).await.code(), 0);
    let done = s
        .until("it is done", "pods/a", |p| p["status"]["phase"] == "Succeeded")
        .await;
    assert_eq!(
        done["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        0
    );
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>
async fn a_container_is_always_restarted(s: Space) {
    s.create_pod(&with(
        pod("a", "echo once; exit 0"),
        json!({"spec": {"restartPolicy": "Always"}}),
    ))
    .await;
    let again = s
        .until("it is restarted", "pods/a", |p| {
            p["status"]["containerStatuses"][0]["restartCount"].as_u64() >= Some(1)
        })
        .await;
    let last = &again["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(0), &json!("Completed")));
    let waits = |p: &Value| p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff";
    s.until("restarts are held back", "pods/a", waits).await;
    assert_eq!(s.logs("a", "previous=true").await, "once\n");
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/init-containers/>
async fn init_containers_run_one_after_the_other_and_first(s: Space) {
    let mut body = container(
        pod("a", "echo main >> /x/log; cat /x/log"),
        json!({"volumeMounts": [{"name": "x", "mountPath": "/x"}]}),
    );
    let init = |name: &str, pause: &str| {
        json!({"name": name, "image": image(), "imagePullPolicy": "IfNotPresent", "volumeMounts": [{"name": "x", "mountPath": "/x"}],
            "command": ["bash", "-c", format!("sleep {pause}; echo {name} >> /x/log")]})
    };
    body["spec"]["initContainers"] = json!([init("first", "0.5"), init("second", "0")]);
    body["spec"]["volumes"] = json!([{"name": "x", "emptyDir": {}}]);
    assert_eq!(s.output(&body).await, "first\nsecond\nmain\n");
    let statuses = s.get("pods/a").await.ok()["status"]["initContainerStatuses"].take();
    let states: Vec<_> = statuses
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (&c["name"], &c["state"]["terminated"]["exitCode"]))
        .collect();
    assert_eq!(states, [(&json!("first"), &json!(0)), (&json!("second"), &json!(0))]);
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#detailed-behavior>
async fn a_failing_init_container_fails_the_pod(s: Space) {
    let mut body = pod("a", "true");
    body["spec"]["initContainers"] = json!([{"name": "first", "image": image(), "imagePullPolicy": "IfNotPresent", "command": ["bash", "-c", "exit 9"]}]);
    let failed = s.finish(&body).await;
    assert_eq!(failed["status"]["phase"], "Failed");
    assert_eq!(
        failed["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"],
        9
    );
    assert_eq!(
        failed["status"]["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing",
        "it never ran"
    );
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>
async fn a_sidecar_starts_first_and_does_not_hold_the_end(s: Space) {
    let mut body = container(
        pod("a", "cat /x/log"),
        json!({"volumeMounts": [{"name": "x", "mountPath": "/x"}]}),
    );
    body["spec"]["initContainers"] = json!([{"name": "side", "image": image(), "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always",
        "command": ["bash", "-c", format!("echo side > /x/log; {WAIT}")], "volumeMounts": [{"name": "x", "mountPath": "/x"}],
        "startupProbe": {"exec": {"command": ["test", "-f", "/x/log"]}, "periodSeconds": 1, "timeoutSeconds": 10}}]);
    body["spec"]["volumes"] = json!([{"name": "x", "emptyDir": {}}]);
    assert_eq!(s.output(&body).await, "side\n");
    assert_eq!(s.get("pods/a").await.ok()["status"]["phase"], "Succeeded");
}

/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/#writing-and-reading-a-termination-message>
async fn a_termination_message_is_read_from_its_file(s: Space) {
    let (_, state) = ended(
        &s,
        &pod("a", "echo noise; echo -n 'went wrong' > /dev/termination-log; exit 1"),
    )
    .await;
    assert_eq!(state["message"], "went wrong");
}

/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/#customizing-the-termination-message>
async fn a_termination_message_falls_back_to_the_log(s: Space) {
    let body = container(
        pod("a", "echo last words; exit 1"),
        json!({"terminationMessagePolicy": "FallbackToLogsOnError"}),
    );
    let (_, state) = ended(&s, &body).await;
    assert_eq!(state["message"], "last words\n");
}

/// <https://kubernetes.io/docs/tasks/inject-data-application/>
async fn the_environment_comes_from_values_fields_maps_and_secrets(s: Space) {
    s.post(
        "configmaps",
        &with(config_map("m"), json!({"data": {"key": "from map", "MORE": "x"}})),
    )
    .await
    .ok();
    s.post(
        "secrets",
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"word": "hush"}}),
    )
    .await
    .ok();
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let env = json!([
        {"name": "PLAIN", "value": "as it is"},
        field("NAME", "metadata.name"), field("SPACE", "metadata.namespace"), field("LABEL", "metadata.labels['app']"),
        field("NOTE", "metadata.annotations['example.com/note']"), field("ID", "metadata.uid"), field("IP", "status.podIP"),
        field("NODE", "spec.nodeName"), field("ACCOUNT", "spec.serviceAccountName"),
        {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "key"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "word"}}},
        {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "nope", "key": "key", "optional": true}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
    ]);
    let script = "for v in PLAIN NAME SPACE LABEL NOTE ID IP NODE ACCOUNT MAP SECRET NONE CPU P_MORE; do echo \"$v=${!v-unset}\"; done";
    let all = json!({"env": env, "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}], "resources": {"limits": {"cpu": "250m", "memory": "64Mi"}}});
    let body = with(
        container(pod("a", script), all),
        json!({"metadata": {"annotations": {"example.com/note": "noted"}}}),
    );
    let output = s.output(&body).await;
    let made = s.get("pods/a").await.ok();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let expected = format!(
        "PLAIN=as it is\nNAME=a\nSPACE={}\nLABEL=a\nNOTE=noted\nID={}\nIP={}\nNODE={}\nACCOUNT=default\nMAP=from map\nSECRET=hush\nNONE=unset\nCPU=250\nP_MORE=x\n",
        s.name(),
        text(&made["metadata"]["uid"]),
        text(&made["status"]["podIP"]),
        text(&made["spec"]["nodeName"])
    );
    assert_eq!(output, expected);
}

/// <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>
async fn a_variable_refers_to_earlier_ones(s: Space) {
    let env = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}, {"name": "C", "value": "$$(A)"}, {"name": "D", "value": "$(NOPE)"}]);
    let body = container(pod("a", "echo $B $C $D"), json!({ "env": env }));
    assert_eq!(s.output(&body).await, "12 $(A) $(NOPE)\n");
}

/// <https://kubernetes.io/docs/concepts/configuration/configmap/#configmaps-and-pods>
async fn a_missing_map_keeps_the_container_waiting(s: Space) {
    let env = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "key"}}}]);
    s.create_pod(&container(pod("a", "echo $A"), json!({ "env": env })))
        .await;
    let waits =
        |p: &Value| p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError";
    s.until("it tells what is wrong", "pods/a", waits).await;
    s.post("configmaps", &config_map("late")).await.ok();
    s.until("it goes on when the map is there", "pods/a", |p| {
        p["status"]["phase"] == "Succeeded"
    })
    .await;
}

/// <https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/>
async fn command_and_args_are_two_things(s: Space) {
    let parts = json!({"command": ["bash", "-c"], "args": ["echo \"$0 $1\" $(WHO) $PWD", "zero", "one"], "env": [{"name": "WHO", "value": "me"}], "workingDir": "/tmp"});
    assert_eq!(s.output(&container(pod("a", ""), parts)).await, "zero one me /tmp\n");
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking>
async fn containers_of_a_pod_share_network_and_host_name(s: Space) {
    let mut body = pod(
        "a",
        "for i in {1..50}; do exec 3<>/dev/tcp/127.0.0.1/8080 && cat <&3 && exit; sleep 0.2; done 2>/dev/null",
    );
    let mut server = pod("x", crate::services::SERVER)["spec"]["containers"][0].take();
    server["name"] = json!("server");
    body["spec"]["containers"].as_array_mut().unwrap().push(server);
    s.create_pod(&body).await;
    let done = |p: &Value| {
        let statuses = p["status"]["containerStatuses"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        statuses
            .iter()
            .any(|c| c["name"] == "main" && c["state"]["terminated"].is_object())
    };
    let pod = s.until("the client has ended", "pods/a", done).await;
    assert_eq!(s.logs("a", "container=main").await, "hello from a\n");
    assert_eq!(pod["status"]["phase"], "Running", "the other still runs");
}

fn probed(kind: &str, probe: Value) -> Value {
    container(
        pod("a", WAIT),
        json!({ kind: with(probe, json!({"periodSeconds": 1, "timeoutSeconds": 10})) }),
    )
}

fn is_ready(p: &Value) -> bool {
    p["status"]["containerStatuses"][0]["ready"] == true
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#types-of-probe>
async fn readiness_follows_its_probe(s: Space) {
    s.create_pod(&probed(
        "readinessProbe",
        json!({"exec": {"command": ["test", "-f", "/tmp/ready"]}, "failureThreshold": 1}),
    ))
    .await;
    let running = s
        .until("it runs", "pods/a", |p| p["status"]["phase"] == "Running")
        .await;
    assert!(!is_ready(&running));
    assert_eq!(s.exec("a", &["touch", "/tmp/ready"], None).await.code(), 0);
    s.ready("a").await;
    assert_eq!(s.exec("a", &["rm", "/tmp/ready"], None).await.code(), 0);
    let lost = s.until("it is unready", "pods/a", |p| !is_ready(p)).await;
    assert_eq!(lost["status"]["phase"], "Running");
    assert_eq!(lost["status"]["containerStatuses"][0]["restartCount"], 0);
    let condition = lost["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == "Ready")
        .unwrap();
    assert_eq!(condition["reason"], "ContainersNotReady");
}

/// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#define-a-tcp-liveness-probe>
async fn a_tcp_probe_connects(s: Space) {
    let late = format!("sleep 2; {}", crate::services::SERVER);
    let probe = json!({"readinessProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 1, "timeoutSeconds": 10}, "ports": [{"name": "web", "containerPort": 8080}]});
    s.create_pod(&container(pod("a", &late), probe)).await;
    let running = s
        .until("it runs", "pods/a", |p| p["status"]["phase"] == "Running")
        .await;
    assert!(!is_ready(&running));
    s.ready("a").await;
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#types-of-probe>
async fn a_failing_liveness_probe_restarts_the_container(s: Space) {
    let probe = json!({"exec": {"command": ["test", "!", "-f", "/tmp/dead"]}, "failureThreshold": 1});
    s.start(&with(
        probed("livenessProbe", probe),
        json!({"spec": {"restartPolicy": "Always"}}),
    ))
    .await;
    assert_eq!(s.exec("a", &["touch", "/tmp/dead"], None).await.code(), 0);
    let again = s
        .until("it is restarted", "pods/a", |p| {
            p["status"]["containerStatuses"][0]["restartCount"] == 1 && is_ready(p)
        })
        .await;
    assert!(
        again["status"]["containerStatuses"][0]["lastState"]["terminated"].is_object(),
        "{again}"
    );
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#types-of-probe>
async fn other_probes_wait_for_the_startup_probe(s: Space) {
    let startup = json!({"exec": {"command": ["test", "-f", "/tmp/started"]}, "failureThreshold": 100, "periodSeconds": 1, "timeoutSeconds": 10});
    let liveness = json!({"exec": {"command": ["test", "-f", "/tmp/started"]}, "failureThreshold": 1, "periodSeconds": 1, "timeoutSeconds": 10});
    s.create_pod(&container(
        pod("a", WAIT),
        json!({"startupProbe": startup, "livenessProbe": liveness}),
    ))
    .await;
    s.until("it runs", "pods/a", |p| p["status"]["phase"] == "Running")
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await; // several periods of the liveness probe
    let waiting = s.get("pods/a").await.ok();
    let status = &waiting["status"]["containerStatuses"][0];
    assert_eq!(
        (&status["started"], &status["ready"], &status["restartCount"]),
        (&json!(false), &json!(false), &json!(0))
    );
    assert_eq!(s.exec("a", &["touch", "/tmp/started"], None).await.code(), 0);
    s.ready("a").await;
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>
async fn a_deleted_pod_is_told_first_and_then_ends(s: Space) {
    let script = "trap 'echo told; sleep 1; echo bye; exit 0' TERM; echo up; sleep infinity & wait";
    let body = with(pod("a", script), json!({"spec": {"terminationGracePeriodSeconds": 20}}));
    s.start(&body).await;
    s.eventually("the trap is set", async || s.logs("a", "").await == "up\n")
        .await;
    let mut watch = s.watch_from_now("pods").await;
    let log = s.logs("a", "follow=true");
    let end = async {
        let dying = s.delete("pods/a").await.is(200);
        assert!(dying["metadata"]["deletionTimestamp"].is_string());
        assert_eq!(dying["metadata"]["deletionGracePeriodSeconds"], 20);
        let told = watch.until("it is told", |e| e.name() == "a").await;
        assert_eq!(told.kind, "MODIFIED");
        assert!(told.object["metadata"]["deletionTimestamp"].is_string());
        watch.until("it is gone", |e| e.kind == "DELETED").await
    };
    let (log, _) = tokio::join!(log, end);
    assert_eq!(log, "up\ntold\nbye\n");
    s.get("pods/a").await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>
async fn a_pod_that_does_not_end_in_its_grace_is_killed(s: Space) {
    let body = with(
        pod("a", "trap '' TERM; while true; do sleep 1; done"),
        json!({"spec": {"terminationGracePeriodSeconds": 2}}),
    );
    s.start(&body).await;
    let start = std::time::Instant::now();
    s.delete("pods/a").await.is(200);
    s.gone("pods/a").await;
    let took = start.elapsed().as_secs_f64();
    assert!((1.5..25.0).contains(&took), "{took}");
}

/// <https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/>
async fn a_pre_stop_hook_runs_before_the_signal(s: Space) {
    let script = "trap 'cat /tmp/hook; echo told; exit 0' TERM; echo up; while true; do sleep 0.1; done";
    let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["bash", "-c", "echo hook > /tmp/hook"]}}}});
    let body = with(
        container(pod("a", script), hook),
        json!({"spec": {"terminationGracePeriodSeconds": 10}}),
    );
    s.start(&body).await;
    s.eventually("the trap is set", async || s.logs("a", "").await == "up\n")
        .await;
    let (log, _) = tokio::join!(s.logs("a", "follow=true"), s.delete("pods/a"));
    assert_eq!(log, "up\nhook\ntold\n");
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination-forced>
async fn a_delete_without_grace_is_immediate(s: Space) {
    let body = with(
        pod("a", "trap '' TERM; while true; do sleep 1; done"),
        json!({"spec": {"terminationGracePeriodSeconds": 60}}),
    );
    s.start(&body).await;
    s.delete_with("pods/a", &json!({"gracePeriodSeconds": 0})).await.is(200);
    s.get("pods/a").await.fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#detailed-behavior> (`activeDeadlineSeconds`)
async fn a_pod_has_a_deadline(s: Space) {
    let late = s
        .finish(&with(pod("a", WAIT), json!({"spec": {"activeDeadlineSeconds": 2}})))
        .await;
    assert_eq!(
        (&late["status"]["phase"], &late["status"]["reason"]),
        (&json!("Failed"), &json!("DeadlineExceeded"))
    );
}

/// <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
async fn a_container_runs_as_the_user_it_is_given(s: Space) {
    let body = with(
        pod("a", "id -u; id -g; id -G"),
        json!({"spec": {"securityContext": {"runAsUser": 999, "runAsGroup": 998, "supplementalGroups": [4321]}}}),
    );
    let output = s.output(&body).await;
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[..2], ["999", "998"]);
    assert!(lines[2].split(' ').any(|g| g == "4321"), "{output}");
}

/// <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
async fn a_volume_belongs_to_the_group_it_is_given(s: Space) {
    let mut body = pod("a", "stat -c '%g %A' /x; touch /x/file && stat -c '%u %g' /x/file");
    body["spec"]["securityContext"] = json!({"runAsUser": 999, "runAsGroup": 998, "fsGroup": 2345});
    body["spec"]["volumes"] = json!([{"name": "x", "emptyDir": {}}]);
    let body = container(body, json!({"volumeMounts": [{"name": "x", "mountPath": "/x"}]}));
    assert_eq!(s.output(&body).await, "2345 drwxrwsrwx\n999 2345\n");
}

/// <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
async fn a_read_only_root_cannot_be_written(s: Space) {
    let mut body = pod(
        "a",
        "touch /x/file && echo volume; touch /etc/file 2>/dev/null || echo no root",
    );
    body["spec"]["volumes"] = json!([{"name": "x", "emptyDir": {}}]);
    let body = container(
        body,
        json!({"securityContext": {"readOnlyRootFilesystem": true}, "volumeMounts": [{"name": "x", "mountPath": "/x"}]}),
    );
    assert_eq!(s.output(&body).await, "volume\nno root\n");
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>
async fn a_container_that_must_not_be_root_is_not_started_as_root(s: Space) {
    s.create_pod(&with(
        pod("a", "true"),
        json!({"spec": {"securityContext": {"runAsNonRoot": true, "runAsUser": 0}}}),
    ))
    .await;
    let waits =
        |p: &Value| p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError";
    let pod = s.until("it tells what is wrong", "pods/a", waits).await;
    let message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
        .as_str()
        .unwrap();
    assert!(message.contains("non-root"), "{message}");
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
async fn the_quality_of_service_follows_the_requests(s: Space) {
    let never = json!({"spec": {"schedulerName": "nobody"}});
    for (name, resources, class) in [
        ("a", json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed"),
        ("b", json!({"requests": {"cpu": "1"}}), "Burstable"),
        ("c", json!({}), "BestEffort"),
    ] {
        let made = s
            .create_pod(&with(
                container(pod(name, "true"), json!({ "resources": resources })),
                never.clone(),
            ))
            .await;
        assert_eq!(made["status"]["qosClass"], class);
        if class == "Guaranteed" {
            let requests = &made["spec"]["containers"][0]["resources"]["requests"];
            assert_eq!(
                requests,
                &json!({"cpu": "1", "memory": "1Gi"}),
                "requests default to the limits"
            );
        }
    }
}
