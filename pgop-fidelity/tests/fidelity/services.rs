//! Services, endpoints and names. <https://kubernetes.io/docs/concepts/services-networking/service/>

use pgop_fidelity::{Patch, Space, Subject, pod, service, stateful_set, uid, version, with};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("services")
        .holds(a_service_gets_an_address_and_defaults)
        .holds(the_address_of_a_service_is_immutable)
        .holds(an_update_without_an_address_keeps_it)
        .holds(an_address_is_given_once)
        .holds(a_headless_service_has_no_address)
        .holds(a_node_port_is_allocated)
        .holds(an_external_name_has_no_address)
        .holds(several_ports_need_names)
        .since(
            36,
            "names of Services are DNS labels (relaxed validation)",
            the_name_of_a_service_may_begin_with_a_digit,
        )
        .holds(endpoints_follow_readiness)
        .holds(slices_tell_readiness)
        .holds(unready_addresses_are_published_on_demand)
        .holds(endpoints_go_with_their_service)
        .holds(a_service_without_a_selector_has_no_endpoints_of_its_own)
        .holds(a_named_port_is_the_containers)
        .holds(a_changed_selector_changes_the_endpoints)
        .holds(a_service_is_reached_by_name_and_address)
        .holds(a_pod_of_a_set_is_reached_by_its_own_name)
        .holds(services_are_in_the_environment_of_later_pods)
}

/// Answers each connection to port 8080 with its own name.
pub(crate) const SERVER: &str = r#"trap 'exit 0' TERM
perl -MIO::Socket::INET -e '$l = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die $!;
while ($c = $l->accept) { print $c "hello from $ENV{HOSTNAME}\n"; close $c }' & wait"#;

/// Asks a server, again and again until it answers.
fn client(address: &str) -> String {
    format!(
        "for i in {{1..100}}; do exec 3<>/dev/tcp/{address} && cat <&3 && exit 0; sleep 0.2; done 2>/dev/null; exit 1"
    )
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#type-clusterip>
async fn a_service_gets_an_address_and_defaults(s: Space) {
    let spec = s
        .post(
            "services",
            &with(service("a"), json!({"spec": {"ports": [{"port": 80}]}})),
        )
        .await
        .is(201)["spec"]
        .take();
    let address = spec["clusterIP"].as_str().unwrap();
    assert!(address.parse::<std::net::IpAddr>().is_ok(), "{address}");
    assert_eq!(spec["clusterIPs"], json!([address]));
    assert_eq!(
        (&spec["type"], &spec["sessionAffinity"]),
        (&json!("ClusterIP"), &json!("None"))
    );
    assert_eq!(
        spec["ports"],
        json!([{"protocol": "TCP", "port": 80, "targetPort": 80}])
    );
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#choosing-your-own-ip-address>
async fn the_address_of_a_service_is_immutable(s: Space) {
    s.post("services", &service("a")).await.ok();
    let change = json!({"spec": {"clusterIP": "10.96.3.3", "clusterIPs": ["10.96.3.3"]}});
    let words = ["spec.clusterIPs[0]", "may not change once set"];
    s.patch(Patch::Merge, "services/a", &change)
        .await
        .fails_with(422, "Invalid", &words);
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#choosing-your-own-ip-address>
async fn an_update_without_an_address_keeps_it(s: Space) {
    let made = s.post("services", &service("a")).await.ok();
    let without = with(service("a"), json!({"metadata": {"resourceVersion": version(&made)}}));
    let updated = s.put("services/a", &without).await.is(200);
    assert_eq!(updated["spec"]["clusterIP"], made["spec"]["clusterIP"]);
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#choosing-your-own-ip-address>
async fn an_address_is_given_once(s: Space) {
    let made = s.post("services", &service("a")).await.ok();
    let taken = with(service("b"), json!({"spec": {"clusterIP": made["spec"]["clusterIP"]}}));
    s.post("services", &taken)
        .await
        .fails_with(422, "Invalid", &["provided IP is already allocated"]);
    let outside = with(service("b"), json!({"spec": {"clusterIP": "203.0.113.1"}}));
    s.post("services", &outside).await.fails_with(
        422,
        "Invalid",
        &["failed to allocate IP 203.0.113.1: the provided network does not match the current range"],
    );
    s.delete("services/a").await.ok();
    s.post("services", &taken).await.is(201);
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#headless-services>
async fn a_headless_service_has_no_address(s: Space) {
    let made = s
        .post("services", &with(service("a"), json!({"spec": {"clusterIP": "None"}})))
        .await
        .is(201);
    assert_eq!(
        (&made["spec"]["clusterIP"], &made["spec"]["clusterIPs"]),
        (&json!("None"), &json!(["None"]))
    );
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport>
async fn a_node_port_is_allocated(s: Space) {
    let made = s
        .post("services", &with(service("a"), json!({"spec": {"type": "NodePort"}})))
        .await
        .is(201);
    let port = made["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30000..=32767).contains(&port), "{port}");
    assert_eq!(made["spec"]["externalTrafficPolicy"], "Cluster");
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#externalname>
async fn an_external_name_has_no_address(s: Space) {
    let body = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"type": "ExternalName", "externalName": "db.example.com"}});
    assert!(s.post("services", &body).await.is(201)["spec"]["clusterIP"].is_null());
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#multi-port-services>
async fn several_ports_need_names(s: Space) {
    let body = with(service("a"), json!({"spec": {"ports": [{"port": 80}, {"port": 81}]}}));
    let status = s.post("services", &body).await.fails(422, "Invalid");
    let message = "Service \"a\" is invalid: [spec.ports[0].name: Required value, spec.ports[1].name: Required value]";
    assert_eq!(status["message"], message);
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>
async fn the_name_of_a_service_may_begin_with_a_digit(s: Space) {
    s.post("services", &service("1a")).await.is(201);
    let status = s.post("services", &service("a.b")).await.fails(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.name");
}

/// A pod that is ready while `/tmp/ready` is there.
fn switched(name: &str) -> Value {
    let mut body = pod(name, crate::workloads::WAIT);
    body["spec"]["containers"][0]["readinessProbe"] =
        json!({"exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1, "timeoutSeconds": 10});
    body
}

async fn switch(s: &Space, pod: &str, command: &str) {
    s.until("it runs", &format!("pods/{pod}"), |p| p["status"]["phase"] == "Running")
        .await;
    assert_eq!(s.exec(pod, &[command, "/tmp/ready"], None).await.code(), 0);
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#endpoints>
async fn endpoints_follow_readiness(s: Space) {
    s.post("services", &service("a")).await.ok();
    let made = s.create_pod(&switched("a")).await;
    let waiting = s
        .until("it is known", "endpoints/a", |e| {
            e["subsets"][0]["notReadyAddresses"][0].is_object()
        })
        .await;
    assert!(waiting["subsets"][0]["addresses"].is_null(), "{waiting}");
    switch(&s, "a", "touch").await;
    let serving = s
        .until("it serves", "endpoints/a", |e| {
            e["subsets"][0]["addresses"][0].is_object()
        })
        .await;
    let address = &serving["subsets"][0]["addresses"][0];
    assert_eq!(address["ip"], s.get("pods/a").await.ok()["status"]["podIP"]);
    assert_eq!(
        (&address["targetRef"]["kind"], &address["targetRef"]["uid"]),
        (&json!("Pod"), &json!(uid(&made)))
    );
    assert_eq!(
        serving["subsets"][0]["ports"],
        json!([{"port": 8080, "protocol": "TCP"}])
    );
    switch(&s, "a", "rm").await;
    s.until("it serves no more", "endpoints/a", |e| {
        e["subsets"][0]["addresses"].is_null()
    })
    .await;
    s.delete("pods/a").await.ok();
    s.until("it is forgotten", "endpoints/a", |e| e["subsets"].is_null())
        .await;
}

/// <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>
async fn slices_tell_readiness(s: Space) {
    let path = "discovery.k8s.io/v1:endpointslices?labelSelector=kubernetes.io/service-name%3Da";
    s.post("services", &service("a")).await.ok();
    s.create_pod(&switched("a")).await;
    let ready = |l: &Value, is: bool| l["items"][0]["endpoints"][0]["conditions"]["ready"] == is;
    s.until("it is known", path, |l| ready(l, false)).await;
    switch(&s, "a", "touch").await;
    let list = s.until("it serves", path, |l| ready(l, true)).await;
    let slice = &list["items"][0];
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(
        slice["endpoints"][0]["addresses"],
        json!([s.get("pods/a").await.ok()["status"]["podIP"]])
    );
    assert_eq!(slice["ports"][0]["port"], 8080);
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/> (`publishNotReadyAddresses`)
async fn unready_addresses_are_published_on_demand(s: Space) {
    let body = with(
        service("a"),
        json!({"spec": {"clusterIP": "None", "publishNotReadyAddresses": true}}),
    );
    s.post("services", &body).await.ok();
    s.create_pod(&switched("a")).await;
    s.until("it is published", "endpoints/a", |e| {
        e["subsets"][0]["addresses"][0].is_object()
    })
    .await;
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#endpoints>
async fn endpoints_go_with_their_service(s: Space) {
    s.post("services", &service("a")).await.ok();
    s.until("they are there", "endpoints/a", |_| true).await;
    s.delete("services/a").await.ok();
    s.gone("endpoints/a").await;
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors>
async fn a_service_without_a_selector_has_no_endpoints_of_its_own(s: Space) {
    s.post("services", &with(service("a"), json!({"spec": {"selector": null}})))
        .await
        .ok();
    s.post("services", &service("b")).await.ok();
    s.until("the other has some", "endpoints/b", |_| true).await;
    s.get("endpoints/a").await.fails(404, "NotFound");
    let own = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "a"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 5432}]}]});
    s.post("endpoints", &own).await.is(201);
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#field-spec-ports>
async fn a_named_port_is_the_containers(s: Space) {
    let port = json!({"spec": {"ports": [{"name": "web", "port": 80, "targetPort": "http"}]}});
    s.post("services", &with(service("a"), port)).await.ok();
    let mut body = pod("a", crate::workloads::WAIT);
    body["spec"]["containers"][0]["ports"] = json!([{"name": "http", "containerPort": 8123}]);
    s.start(&body).await;
    let serving = s
        .until("it serves", "endpoints/a", |e| {
            e["subsets"][0]["addresses"][0].is_object()
        })
        .await;
    assert_eq!(
        serving["subsets"][0]["ports"],
        json!([{"name": "web", "port": 8123, "protocol": "TCP"}])
    );
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#endpoints>
async fn a_changed_selector_changes_the_endpoints(s: Space) {
    s.post(
        "services",
        &with(service("a"), json!({"spec": {"selector": {"role": "primary"}}})),
    )
    .await
    .ok();
    let labelled = json!({"metadata": {"labels": {"role": "replica"}}});
    s.start(&with(pod("a", crate::workloads::WAIT), labelled)).await;
    s.until("there are none", "endpoints/a", |e| e["subsets"].is_null())
        .await;
    s.patch(
        Patch::Merge,
        "pods/a",
        &json!({"metadata": {"labels": {"role": "primary"}}}),
    )
    .await
    .ok();
    s.until("the pod's new label counts", "endpoints/a", |e| {
        e["subsets"][0]["addresses"][0].is_object()
    })
    .await;
    s.patch(
        Patch::Merge,
        "services/a",
        &json!({"spec": {"selector": {"role": "replica"}}}),
    )
    .await
    .ok();
    s.until("the service's new selector counts", "endpoints/a", |e| {
        e["subsets"].is_null()
    })
    .await;
}

/// <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#services>
async fn a_service_is_reached_by_name_and_address(s: Space) {
    let made = s.post("services", &service("a")).await.ok();
    s.start(&pod("a", SERVER)).await;
    s.until("it serves", "endpoints/a", |e| {
        e["subsets"][0]["addresses"][0].is_object()
    })
    .await;
    let address = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let ns = s.name();
    for (i, host) in ["a", &format!("a.{ns}"), &format!("a.{ns}.svc.cluster.local"), &address]
        .iter()
        .enumerate()
    {
        let output = s
            .output(&pod(&format!("client{i}"), &client(&format!("{host}/80"))))
            .await;
        assert_eq!(output, "hello from a\n", "{host}");
    }
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#stable-network-id>
async fn a_pod_of_a_set_is_reached_by_its_own_name(s: Space) {
    s.post("services", &with(service("a"), json!({"spec": {"clusterIP": "None"}})))
        .await
        .ok();
    s.account().await;
    s.post("apps/v1:statefulsets", &stateful_set("a", 1, SERVER)).await.ok();
    s.ready("a-0").await;
    let serving = s
        .until("it serves", "endpoints/a", |e| {
            e["subsets"][0]["addresses"][0].is_object()
        })
        .await;
    assert_eq!(serving["subsets"][0]["addresses"][0]["hostname"], "a-0");
    assert_eq!(
        s.output(&pod("client", &client("a-0.a/8080"))).await,
        "hello from a-0\n"
    );
}

/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
async fn services_are_in_the_environment_of_later_pods(s: Space) {
    let made = s.post("services", &service("my-db")).await.ok();
    let output = s.output(&pod("a", "echo $MY_DB_SERVICE_HOST $MY_DB_SERVICE_PORT $MY_DB_PORT_80_TCP_PROTO; echo ${KUBERNETES_SERVICE_HOST:+api}")).await;
    assert_eq!(
        output,
        format!("{} 80 tcp\napi\n", made["spec"]["clusterIP"].as_str().unwrap())
    );
}
