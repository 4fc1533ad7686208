use super::*;
use serde_json::{Value, json};

fn service(change: impl FnOnce(&mut Value)) -> Service {
    let mut service = json!({
        "metadata": { "name": "db", "namespace": "shop", "uid": "svc-1" },
        "spec": {
            "clusterIP": "10.96.0.7", "selector": { "app": "db" },
            "ports": [{ "name": "postgres", "port": 5432, "targetPort": "postgres", "protocol": "TCP" }],
        },
    });
    change(&mut service);
    serde_json::from_value(service).unwrap()
}

fn pod(name: &str, ip: &str, ready: bool, change: impl FnOnce(&mut Value)) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": { "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": { "app": "db" } },
        "spec": {
            "nodeName": "sandbox", "hostname": name, "subdomain": "db",
            "containers": [{ "name": "db", "ports": [{ "name": "postgres", "containerPort": 5433, "protocol": "TCP" }] }],
        },
        "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
            "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
        },
    });
    change(&mut pod);
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn ips(addresses: Option<&Vec<EndpointAddress>>) -> Vec<&str> {
    addresses
        .into_iter()
        .flatten()
        .map(|address| address.ip.as_str())
        .collect()
}

#[test]
fn ready_and_not_ready_pods_are_told_apart() {
    let pods = [
        pod("db-1", "10.244.0.3", false, |_| {}),
        pod("db-0", "10.244.0.2", true, |_| {}),
    ];
    let subsets = subsets(&service(|_| {}), &pods);
    assert_eq!(subsets.len(), 1);
    assert_eq!(ips(subsets[0].addresses.as_ref()), ["10.244.0.2"]);
    assert_eq!(ips(subsets[0].not_ready_addresses.as_ref()), ["10.244.0.3"]);
    let ports = subsets[0].ports.as_ref().unwrap();
    assert_eq!((ports[0].name.as_deref(), ports[0].port), (Some("postgres"), 5433));
    let target = subsets[0].addresses.as_ref().unwrap()[0].target_ref.as_ref().unwrap();
    assert_eq!(
        (target.kind.as_deref(), target.name.as_deref()),
        (Some("Pod"), Some("db-0"))
    );
}

#[test]
fn all_addresses_are_published_when_asked_for() {
    let all = service(|service| service["spec"]["publishNotReadyAddresses"] = json!(true));
    let subsets = subsets(&all, &[pod("db-0", "10.244.0.2", false, |_| {})]);
    assert_eq!(ips(subsets[0].addresses.as_ref()), ["10.244.0.2"]);
    let contents = contents(&all, &[pod("db-0", "10.244.0.2", false, |_| {})]);
    let conditions = contents[0].endpoints[0].conditions.as_ref().unwrap();
    assert_eq!((conditions.ready, conditions.serving), (Some(true), Some(false)));
}

#[test]
fn a_pod_that_is_going_is_only_in_the_slices() {
    let going = pod("db-0", "10.244.0.2", true, |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z");
    });
    assert!(subsets(&service(|_| {}), std::slice::from_ref(&going)).is_empty());
    let contents = contents(&service(|_| {}), &[going]);
    let conditions = contents[0].endpoints[0].conditions.as_ref().unwrap();
    assert_eq!(
        (conditions.ready, conditions.serving, conditions.terminating),
        (Some(false), Some(true), Some(true))
    );
}

#[test]
fn pods_that_ended_or_have_no_address_are_left_out() {
    let ended = pod("db-0", "10.244.0.2", true, |pod| {
        pod["status"]["phase"] = json!("Succeeded");
    });
    let unborn = pod("db-1", "", false, |pod| pod["status"]["podIPs"] = Value::Null);
    assert!(subsets(&service(|_| {}), &[ended.clone(), unborn.clone()]).is_empty());
    let contents = contents(&service(|_| {}), &[ended, unborn]);
    assert_eq!(contents.len(), 1, "a slice without endpoints");
    assert!(contents[0].endpoints.is_empty());
}

#[test]
fn a_headless_service_names_its_pods() {
    let headless = service(|service| service["spec"]["clusterIP"] = json!("None"));
    let here = pod("db-0", "10.244.0.2", true, |_| {});
    let elsewhere = pod("db-1", "10.244.0.3", true, |pod| {
        pod["spec"]["subdomain"] = json!("other");
    });
    let subsets = subsets(&headless, &[here, elsewhere]);
    let names: Vec<_> = subsets[0]
        .addresses
        .as_ref()
        .unwrap()
        .iter()
        .map(|address| address.hostname.as_deref())
        .collect();
    assert_eq!(names, [Some("db-0"), None]);
}

#[test]
fn a_headless_service_may_have_no_ports() {
    let no_ports = service(|service| {
        service["spec"]["clusterIP"] = json!("None");
        service["spec"]["ports"] = Value::Null;
    });
    let subsets = subsets(&no_ports, &[pod("db-0", "10.244.0.2", true, |_| {})]);
    assert_eq!(ips(subsets[0].addresses.as_ref()), ["10.244.0.2"]);
    assert_eq!(subsets[0].ports, None);
}

#[test]
fn target_ports_by_number_by_name_and_by_default() {
    let with = |target: Value| service(move |service| service["spec"]["ports"][0]["targetPort"] = target);
    let pods = [pod("db-0", "10.244.0.2", true, |_| {})];
    let number = |service: &Service| contents(service, &pods)[0].ports.first().and_then(|port| port.port);
    assert_eq!(number(&with(json!(9000))), Some(9000));
    assert_eq!(number(&with(json!("postgres"))), Some(5433));
    assert_eq!(number(&with(Value::Null)), Some(5432));
    assert_eq!(number(&with(json!("absent"))), None);
}

#[test]
fn a_sidecars_port_counts_and_an_init_containers_does_not() {
    let with = |policy: Value| {
        pod("db-0", "10.244.0.2", true, move |pod| {
            pod["spec"]["containers"][0]["ports"] = Value::Null;
            pod["spec"]["initContainers"] = json!([{ "name": "proxy", "restartPolicy": policy, "ports": [{ "name": "postgres", "containerPort": 6432 }] }]);
        })
    };
    assert_eq!(
        contents(&service(|_| {}), &[with(json!("Always"))])[0].ports[0].port,
        Some(6432)
    );
    assert!(contents(&service(|_| {}), &[with(Value::Null)])[0].endpoints.is_empty());
}

#[test]
fn pods_with_different_numbers_for_a_name_are_different_groups() {
    let other = pod("db-1", "10.244.0.3", true, |pod| {
        pod["spec"]["containers"][0]["ports"][0]["containerPort"] = json!(6000);
    });
    let pods = [pod("db-0", "10.244.0.2", true, |_| {}), other];
    assert_eq!(subsets(&service(|_| {}), &pods).len(), 2);
    assert_eq!(contents(&service(|_| {}), &pods).len(), 2);
}

#[test]
fn services_without_selector_or_with_an_external_name_choose_no_pods() {
    assert!(selector(&service(|service| service["spec"]["selector"] = json!({}))).is_none());
    assert!(selector(&service(|service| service["spec"]["type"] = json!("ExternalName"))).is_none());
    assert!(selects(
        selector(&service(|_| {})).unwrap(),
        &pod("db-0", "", true, |_| {})
    ));
}

#[test]
fn endpoints_kept_by_hand_are_mirrored() {
    let endpoints: Endpoints = serde_json::from_value(json!({
        "metadata": { "name": "db", "namespace": "shop" },
        "subsets": [{
            "addresses": [{ "ip": "10.244.0.2", "targetRef": { "kind": "Pod", "name": "db-0" } }],
            "notReadyAddresses": [{ "ip": "10.244.0.3" }],
            "ports": [{ "name": "postgresql", "port": 5432, "protocol": "TCP" }],
        }],
    }))
    .unwrap();
    let contents = mirrored(&endpoints);
    assert_eq!(contents.len(), 1);
    let ready: Vec<_> = contents[0]
        .endpoints
        .iter()
        .map(|endpoint| endpoint.conditions.as_ref().unwrap().ready)
        .collect();
    assert_eq!(ready, [Some(true), Some(false)]);
    assert_eq!(contents[0].ports[0].port, Some(5432));
}
