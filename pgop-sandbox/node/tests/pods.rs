//! Pods that really run in bubblewrap.
#![allow(clippy::disallowed_methods)] // a test sees a panic of its own tasks

mod cluster;

use cluster::{Cluster, at, phase};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{Patch, PatchParams};
use pgop_sandbox_kubelet::{Kubelet, KubeletError, LogOptions, Streams};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_prints_and_ends() {
    let cluster = Cluster::start().await;
    cluster
        .script(
            "hello",
            "echo hello; echo oh >&2; echo bye > /dev/termination-log; exit 0",
        )
        .await;
    let pod = cluster.phase("hello", "Succeeded").await;
    assert_eq!(at(&pod, "/containerStatuses/0/state/terminated/reason"), "Completed");
    assert_eq!(at(&pod, "/containerStatuses/0/state/terminated/message"), "bye\n");
    let log = cluster.logs("hello", LogOptions::default()).await;
    assert!(log.contains("hello\n") && log.contains("oh\n"), "{log}");
    cluster.script("broken", "exit 3").await;
    let pod = cluster.phase("broken", "Failed").await;
    assert_eq!(at(&pod, "/containerStatuses/0/state/terminated/exitCode"), 3);
    assert_eq!(at(&pod, "/containerStatuses/0/state/terminated/reason"), "Error");
    cluster.script("killed", "kill -KILL $$; sleep 5").await; // the first process of a namespace can't be killed from inside
    for reason in ["Pulled", "Created", "Started"] {
        cluster.event("hello", reason).await;
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_start_says_why() {
    let cluster = Cluster::start().await;
    let one = |name: &'static str, container: serde_json::Value| {
        let mut container = container;
        container["name"] = json!("main");
        container["image"] = json!("x");
        (name, json!({"restartPolicy": "Never", "containers": [container]}))
    };
    let waiting = |reason: &'static str| {
        move |pod: Option<&Pod>| pod.is_some_and(|p| at(p, "/containerStatuses/0/state/waiting/reason") == reason)
    };
    let (name, spec) = one("no-command", json!({}));
    cluster.pod(name, spec).await;
    let pod = cluster.wait(name, "refused", waiting("CreateContainerError")).await;
    assert!(
        at(&pod, "/containerStatuses/0/state/waiting/message")
            .as_str()
            .unwrap()
            .starts_with("no command specified")
    );

    let (name, spec) = one(
        "no-map",
        json!({"command": ["true"], "envFrom": [{"configMapRef": {"name": "later"}}]}),
    );
    cluster.pod(name, spec).await;
    let pod = cluster
        .wait(name, "waiting", waiting("CreateContainerConfigError"))
        .await;
    assert_eq!(
        at(&pod, "/containerStatuses/0/state/waiting/message"),
        "configmap \"later\" not found"
    );
    cluster
        .create::<ConfigMap>(json!({"metadata": {"name": "later"}, "data": {"a": "b"}}))
        .await;
    cluster.phase(name, "Succeeded").await;

    let (name, spec) = one(
        "root",
        json!({"command": ["true"], "securityContext": {"runAsNonRoot": true}}),
    );
    cluster.pod(name, spec).await;
    cluster
        .wait(name, "refused", waiting("CreateContainerConfigError"))
        .await;

    let (name, spec) = one("no-program", json!({"command": ["/no/such/program"]}));
    cluster.pod(name, spec).await;
    let pod = cluster.phase(name, "Failed").await;
    assert_eq!(at(&pod, "/containerStatuses/0/state/terminated/reason"), "StartError");
    assert_eq!(at(&pod, "/containerStatuses/0/state/terminated/exitCode"), 128);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_inside_with_their_exit_codes() {
    let cluster = Cluster::start().await;
    cluster
        .pod(
            "box",
            json!({
                "securityContext": {"runAsUser": 999, "runAsGroup": 998},
                "containers": [{"name": "main", "image": "docker.io/library/postgres:15", "command": ["sleep", "1000"], "workingDir": "/srv",
                    "env": [{"name": "COLOUR", "value": "red"}]}],
            }),
        )
        .await;
    cluster.ready("box").await;
    let (code, out, err) = cluster
        .exec(
            "box",
            &[
                "sh",
                "-c",
                "echo $COLOUR $(id -u) $(id -un) $(id -g) $(pwd) $(hostname); echo e >&2; exit 42",
            ],
        )
        .await;
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (42, "red 999 postgres 998 /srv box\n", "e\n")
    );
    assert_eq!(cluster.exec_with("box", &["cat"], "through").await.1, "through");
    assert_eq!(cluster.exec("box", &["sh", "-c", "kill -TERM $$"]).await.0, 128 + 15);
    let (_, out, _) = cluster
        .exec(
            "box",
            &["sh", "-c", "grep -E 'Cap(Prm|Eff|Bnd)|NoNew' /proc/self/status"],
        )
        .await;
    assert_eq!(out.matches("0000000000000000").count(), 3, "{out}");
    assert!(out.contains("NoNewPrivs:\t1"), "{out}");
    let (_, out, _) = cluster
        .exec(
            "box",
            &[
                "sh",
                "-c",
                "echo $$ > /tmp/x; ps ax | wc -l; cat /etc/hosts /etc/resolv.conf; touch /usr/x",
            ],
        )
        .await;
    assert!(
        out.contains("\tbox\n") && out.contains("nameserver 10.96.0.10"),
        "{out}"
    );

    let streams = Streams {
        stdout: true,
        ..Streams::default()
    };
    let missing = cluster
        .node
        .exec(&cluster.target("box", "main").await, vec!["/no/such".into()], streams)
        .await;
    assert!(
        matches!(missing, Err(KubeletError::Start { source, .. }) if source.kind() == std::io::ErrorKind::NotFound)
    );

    // A terminal: its name is known inside, sizes arrive, output and errors are one.
    let streams = Streams {
        stdin: true,
        stdout: true,
        stderr: true,
        tty: true,
    };
    let session = cluster
        .node
        .exec(&cluster.target("box", "main").await, vec!["sh".into()], streams)
        .await
        .unwrap();
    session.resize.unwrap().send((111, 33)).await.unwrap();
    let (mut stdin, mut stdout) = (session.stdin.unwrap(), session.stdout.unwrap());
    stdin
        .write_all(b"tty; until stty size | grep '33 111'; do :; done; exit 5\n")
        .await
        .unwrap();
    let mut text = String::new();
    stdout.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("/dev/pts/") && text.contains("33 111"), "{text}");
    assert_eq!(session.exit.await.unwrap(), 5);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_decide_on_readiness_and_restarts() {
    let cluster = Cluster::start().await;
    cluster
        .pod(
            "probed",
            json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": "x", "command": ["sh", "-c", "sleep 1000"],
                "startupProbe": {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1, "failureThreshold": 1000, "timeoutSeconds": 100},
                "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 100},
                "livenessProbe": {"exec": {"command": ["test", "!", "-e", "/tmp/sick"]}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 100}}]}),
        )
        .await;
    let pod = cluster.phase("probed", "Running").await;
    assert_eq!(at(&pod, "/containerStatuses/0/started"), false);
    cluster.exec("probed", &["touch", "/tmp/up"]).await;
    let started = |pod: Option<&Pod>| pod.is_some_and(|p| at(p, "/containerStatuses/0/started") == true);
    let pod = cluster.wait("probed", "started", started).await;
    assert_eq!(at(&pod, "/containerStatuses/0/ready"), false);
    cluster.exec("probed", &["touch", "/tmp/ready"]).await;
    cluster.ready("probed").await;
    cluster.exec("probed", &["rm", "/tmp/ready"]).await;
    cluster
        .wait("probed", "unready", |pod: Option<&Pod>| {
            !pod.is_some_and(cluster::is_ready)
        })
        .await;
    cluster.exec("probed", &["touch", "/tmp/sick"]).await;
    let again = |pod: Option<&Pod>| pod.is_some_and(|p| at(p, "/containerStatuses/0/restartCount") == 1);
    let pod = cluster.wait("probed", "restarted", again).await;
    assert_eq!(
        at(&pod, "/containerStatuses/0/lastState/terminated/exitCode"),
        137,
        "sleep as first process does not hear TERM"
    );
    assert!(cluster.event("probed", "Unhealthy").await.contains("probe failed"));
    assert_eq!(
        cluster.event("probed", "Killing").await,
        "Container main failed liveness probe, will be restarted"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_reach_each_other_by_service_and_name() {
    let cluster = Cluster::start().await;
    let serve = "cd /tmp && echo it works > index.html && exec python3 -m http.server 8080";
    cluster
        .labelled(
            "web-0",
            json!({"app": "web"}),
            json!({"hostname": "web-0", "subdomain": "webs", "containers": [{"name": "main", "image": "x", "command": ["sh", "-c", serve],
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 1, "failureThreshold": 1000, "timeoutSeconds": 100}}]}),
        )
        .await;
    let address = at(&cluster.ready("web-0").await, "/podIP");
    for (name, ip) in [("web", json!(null)), ("webs", json!("None"))] {
        cluster
            .create::<Service>(
                json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}),
            )
            .await;
        cluster.create::<EndpointSlice>(json!({"metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "hostname": "web-0", "conditions": {"ready": true}}]})).await;
    }
    cluster
        .pod(
            "client",
            json!({"containers": [{"name": "main", "image": "x", "command": ["sleep", "1000"]}]}),
        )
        .await;
    cluster.ready("client").await;
    for url in [
        "http://web/",
        "http://web.default.svc.cluster.local/",
        "http://web-0.webs:8080/",
        &format!("http://{}:8080/", address.as_str().unwrap()),
    ] {
        let script =
            format!("import urllib.request; print(urllib.request.urlopen('{url}', timeout=100).read().decode())");
        let (code, out, err) = cluster.exec("client", &["python3", "-c", &script]).await;
        assert_eq!((code, out.trim()), (0, "it works"), "{url}: {err}");
    }
    let (code, _, err) = cluster
        .exec(
            "client",
            &[
                "python3",
                "-c",
                "import socket; socket.create_connection(('web', 81), 100)",
            ],
        )
        .await;
    assert!(code != 0 && err.contains("refused"), "{err}");
    // From outside, as port-forward does.
    let mut stream = cluster
        .node
        .connect(&cluster.target("web-0", "main").await, 8080)
        .await
        .unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("it works"), "{text}");
    assert!(
        cluster
            .node
            .connect(&cluster.target("web-0", "main").await, 81)
            .await
            .is_err()
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_follow_their_objects() {
    let cluster = Cluster::start().await;
    cluster
        .create::<ConfigMap>(json!({"metadata": {"name": "settings"}, "data": {"a": "1", "b": "2"}}))
        .await;
    let spec = json!({
        "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
        "containers": [{"name": "main", "image": "x", "command": ["sleep", "1000"], "volumeMounts": [
            {"name": "config", "mountPath": "/config"}, {"name": "secret", "mountPath": "/usr/share/new/secret"},
            {"name": "config", "mountPath": "/one/file", "subPath": "a"}, {"name": "memory", "mountPath": "/dev/shm"},
            {"name": "me", "mountPath": "/me"}]}],
        "volumes": [{"name": "config", "configMap": {"name": "settings", "defaultMode": 292}},
            {"name": "secret", "secret": {"secretName": "login", "defaultMode": 288}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
            {"name": "me", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}],
    });
    cluster.pod("vols", spec).await;
    assert!(
        cluster
            .event("vols", "FailedMount")
            .await
            .contains("secret \"login\" not found")
    );
    cluster
        .create::<Secret>(json!({"metadata": {"name": "login"}, "stringData": {"password": "hunter2"}}))
        .await;
    cluster.ready("vols").await;
    let script = "cat /config/a /config/b /usr/share/new/secret/password /one/file /me/name; stat -Lc ' %a' /config/a; touch /dev/shm/x && ls /usr/share | wc -l";
    let (code, out, err) = cluster.exec("vols", &["sh", "-c", script]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("12hunter21vols 444\n"), "{out}");
    assert_ne!(
        cluster.exec("vols", &["touch", "/config/x"]).await.0,
        0,
        "files of objects can't be written"
    );
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "default");
    maps.patch(
        "settings",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"a": "changed"}})),
    )
    .await
    .unwrap();
    cluster.exec_until("vols", &["cat", "/config/a"], "changed").await;
    cluster.delete("vols", 0).await;
    cluster.gone("vols").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_sidecars_and_orderly_ends() {
    let cluster = Cluster::start().await;
    let wait = "trap 'echo asked; exit 0' TERM; while :; do sleep 0.1; done";
    let mount = json!([{"name": "work", "mountPath": "/work"}]);
    cluster
        .pod(
            "order",
            json!({"volumes": [{"name": "work", "emptyDir": {}}],
                "initContainers": [
                    {"name": "first", "image": "x", "command": ["sh", "-c", "echo first >> /work/log"], "volumeMounts": mount},
                    {"name": "side", "image": "x", "restartPolicy": "Always", "command": ["sh", "-c", format!("echo side >> /work/log; {wait}")], "volumeMounts": mount},
                    {"name": "second", "image": "x", "command": ["sh", "-c", "until grep -q side /work/log; do sleep 0.1; done; echo second >> /work/log"], "volumeMounts": mount}],
                "containers": [{"name": "main", "image": "x", "command": ["sh", "-c", format!("echo main >> /work/log; {wait}")], "volumeMounts": mount,
                    "lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "echo hook >> /work/log"]}}, "preStop": {"sleep": {"seconds": 1}}}}]}),
        )
        .await;
    let pod = cluster.ready("order").await;
    assert_eq!(
        at(&pod, "/initContainerStatuses/0/state/terminated/reason"),
        "Completed"
    );
    assert_eq!(at(&pod, "/initContainerStatuses/1/ready"), true);
    let (_, out, _) = cluster
        .exec("order", &["sh", "-c", "head -3 /work/log; tail -n +4 /work/log | sort"])
        .await;
    assert_eq!(
        out,
        "first\nside\nsecond\nhook\nmain\n",
        "{:?}",
        cluster.events("order").await
    );
    let following = tokio::spawn({
        let (node, target) = (cluster.node.clone(), cluster.target("order", "main").await);
        async move {
            use futures::TryStreamExt;
            let stream = node
                .logs(
                    &target,
                    LogOptions {
                        follow: true,
                        ..LogOptions::default()
                    },
                )
                .await
                .unwrap();
            let pieces: Vec<_> = stream.try_collect().await.unwrap();
            String::from_utf8(pieces.concat()).unwrap()
        }
    });
    let begin = std::time::Instant::now();
    cluster.delete("order", 30).await;
    cluster.gone("order").await;
    assert!(begin.elapsed() > Duration::from_secs(1), "the hook takes a second");
    assert_eq!(following.await.unwrap(), "asked\n");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_fails_is_started_again_with_a_growing_wait() {
    let cluster = Cluster::start().await;
    cluster
        .pod(
            "crash",
            json!({"containers": [{"name": "main", "image": "x", "command": ["sh", "-c", "echo run; exit 1"]}]}),
        )
        .await;
    let waits = |pod: Option<&Pod>| {
        pod.is_some_and(|p| at(p, "/containerStatuses/0/state/waiting/reason") == "CrashLoopBackOff")
    };
    let pod = cluster.wait("crash", "waiting", waits).await;
    assert_eq!(at(&pod, "/containerStatuses/0/restartCount"), 1);
    assert_eq!(at(&pod, "/containerStatuses/0/lastState/terminated/exitCode"), 1);
    assert_eq!(phase(Some(&pod)), Some("Running"));
    let message = at(&pod, "/containerStatuses/0/state/waiting/message");
    assert!(
        message
            .as_str()
            .unwrap()
            .starts_with("back-off 10s restarting failed container=main pod=crash_default("),
        "{message}"
    );
    assert_eq!(
        cluster
            .logs(
                "crash",
                LogOptions {
                    previous: true,
                    ..LogOptions::default()
                }
            )
            .await,
        "run\n"
    );
    cluster.delete("crash", 30).await;
    cluster.gone("crash").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_a_container_can_be_held() {
    let cluster = Cluster::start().await;
    let container = json!({"name": "main", "image": "x", "stdin": true, "stdinOnce": true, "command": ["sh", "-c", "cat; echo over >&2; exit 4"]});
    cluster
        .pod("cat", json!({"restartPolicy": "Never", "containers": [container]}))
        .await;
    cluster.ready("cat").await;
    let streams = Streams {
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
    };
    let session = cluster
        .node
        .attach(&cluster.target("cat", "main").await, streams)
        .await
        .unwrap();
    let (mut stdin, mut stdout, mut stderr) =
        (session.stdin.unwrap(), session.stdout.unwrap(), session.stderr.unwrap());
    stdin.write_all(b"through\n").await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    stdout.read_to_string(&mut out).await.unwrap();
    stderr.read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("through\n", "over\n"));
    assert_eq!(session.exit.await.unwrap(), 4);
    cluster.phase("cat", "Failed").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_a_deadline() {
    let cluster = Cluster::start().await;
    cluster
        .pod(
            "late",
            json!({"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 1, "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "x", "command": ["sleep", "1000"]}]}),
        )
        .await;
    let pod = cluster.phase("late", "Failed").await;
    assert_eq!(at(&pod, "/reason"), "DeadlineExceeded");
    cluster.end().await;
}

/// Entries of neighbours live on when pods come and go: what they say has to stay true.
#[tokio::test(flavor = "multi_thread")]
async fn hardware_addresses_follow_from_ip_addresses() {
    let cluster = Cluster::start().await;
    cluster.script("web", "sleep infinity").await;
    cluster.script("client", "sleep infinity").await;
    let web = cluster.ready("web").await;
    cluster.ready("client").await;
    for ip in ["10.244.0.1", at(&web, "/podIP").as_str().unwrap()] {
        let look = format!("(exec 3<>/dev/tcp/{ip}/9) 2>/dev/null; grep '^{ip} ' /proc/net/arp");
        let (_, seen, _) = cluster.exec("client", &["bash", "-c", &look]).await;
        let [a, b, c, d] = ip.parse::<std::net::Ipv4Addr>().unwrap().octets();
        let hardware = format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
        assert!(seen.contains(&hardware), "{hardware} for {ip}: {seen}");
    }
    cluster.end().await;
}
