//! What `spec.pod` and `spec.service` make of the objects of the built-in strategies.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy.toml allows it in tests, and sees none in their helpers

use pgop_core::Managed;
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase};
use pgop_core::manifest::Kind;
use pgop_core::observed::{ClaimFacts, Observed, SourceFacts};
use pgop_core::plan::plan;
use serde_json::{Value, json};

fn resource<R: Managed + serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &str) -> R {
    let text = format!(
        "apiVersion: pgop.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: zoo, uid: u}}\nspec: {spec}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

/// An object that a new resource of the default strategy becomes.
fn made<R: Managed + serde::de::DeserializeOwned>(
    resource: &R,
    strategy: &str,
    source: Option<SourceFacts>,
    kind: Kind,
    name: &str,
) -> Value {
    let registry = pgop_strategies::builtin().unwrap();
    let strategy = R::family(&registry).get(strategy).unwrap();
    let observed = Observed {
        source,
        claims: [("vault".to_owned(), Some(ClaimFacts::default()))].into(),
        ..Observed::default()
    };
    let validated = resource.validate(&observed, strategy.description()).unwrap();
    let plan = plan::<R>(&**strategy, &validated, &observed).unwrap();
    let found = (plan.apply.iter()).find(|a| a.manifest.kind() == kind && a.manifest.name() == name);
    found
        .unwrap_or_else(|| panic!("no {kind} {name}"))
        .manifest
        .value()
        .clone()
}

fn of_cluster(spec: &str, kind: Kind, name: &str) -> Value {
    made::<PgCluster>(&resource("PgCluster", "hippo", spec), "streaming", None, kind, name)
}

fn pod_of_cluster(spec: &str, name: &str) -> Value {
    of_cluster(spec, Kind::StatefulSet, name)["spec"]["template"]["spec"].take()
}

fn pod_of_database(spec: &str) -> Value {
    let database = resource::<PgDatabase>("PgDatabase", "hippo", spec);
    made(&database, "standalone", None, Kind::StatefulSet, "hippo")["spec"]["template"]["spec"].take()
}

fn pod_of_backup(spec: &str) -> Value {
    // One that serves: a backup waits for that.
    let serves =
        "{}\nstatus: {accepted: {image: 'postgres:17'}, members: [{name: hippo-0, role: primary, ready: true}]}";
    let source = SourceFacts::Database(Box::new(resource("PgDatabase", "hippo", serves)));
    let spec = format!("{{source: {{kind: PgDatabase, name: hippo}}, {spec}");
    let backup = resource::<PgBackup>("PgBackup", "copy", &spec);
    made(&backup, "basebackup", Some(source), Kind::Job, "copy")["spec"]["template"]["spec"].take()
}

#[test]
fn the_servers_of_a_cluster_are_on_different_nodes_where_that_is_possible() {
    let apart = json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": {
        "labelSelector": {"matchLabels": {"pgop.dev/cluster": "hippo"}}, "topologyKey": "kubernetes.io/hostname"}}]});
    for server in ["hippo", "hippo-replica"] {
        assert_eq!(
            pod_of_cluster("{}", server)["affinity"],
            json!({"podAntiAffinity": apart})
        );
    }
    let near = "{pod: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: Exists}]}]}}}}}";
    assert_eq!(pod_of_cluster(near, "hippo")["affinity"]["podAntiAffinity"], apart);
    assert!(pod_of_cluster(near, "hippo")["affinity"]["nodeAffinity"].is_object());
    // Whoever says something about it decides it.
    let off = "{pod: {affinity: {podAntiAffinity: {}}}}";
    assert_eq!(pod_of_cluster(off, "hippo")["affinity"], json!({"podAntiAffinity": {}}));
    // A single server has nobody to be apart from.
    assert_eq!(pod_of_database("{}")["affinity"], Value::Null);
}

#[test]
fn no_server_is_best_effort_unless_the_spec_asks_for_nothing() {
    let modest = json!({"requests": {"cpu": "50m", "memory": "256Mi"}});
    assert_eq!(
        pod_of_cluster("{}", "hippo-replica")["containers"][0]["resources"],
        modest
    );
    assert_eq!(pod_of_database("{}")["containers"][0]["resources"], modest);
    assert_eq!(pod_of_backup("}")["containers"][0]["resources"], modest);
    assert_eq!(
        pod_of_database("{resources: {}}")["containers"][0]["resources"],
        json!({})
    );
    let own = pod_of_database("{resources: {limits: {memory: 1Gi}}}");
    assert_eq!(own["containers"][0]["resources"], json!({"limits": {"memory": "1Gi"}}));
}

#[test]
fn what_a_pod_is_told_reaches_the_pods_of_servers_and_backups() {
    let settings = "pod: {priorityClassName: high, serviceAccountName: hippo, schedulerName: mine, runtimeClassName: gvisor,
        terminationGracePeriodSeconds: 600, env: [{name: TZ, value: UTC}], volumes: [{name: ca, secret: {secretName: ca}}],
        volumeMounts: [{name: ca, mountPath: /etc/ca, readOnly: true}]}";
    let server = format!("{{{settings}}}");
    for pod in [
        pod_of_cluster(&server, "hippo"),
        pod_of_database(&server),
        pod_of_backup(&format!("{settings}}}")),
    ] {
        for (field, value) in [
            ("priorityClassName", json!("high")),
            ("serviceAccountName", json!("hippo")),
            ("schedulerName", json!("mine")),
            ("runtimeClassName", json!("gvisor")),
            ("terminationGracePeriodSeconds", json!(600)),
            ("automountServiceAccountToken", json!(false)),
        ] {
            assert_eq!(pod[field], value, "{field}");
        }
        let last = |list: &Value| list.as_array().unwrap().last().unwrap().clone();
        let container = &pod["containers"][0];
        assert_eq!(last(&container["env"]), json!({"name": "TZ", "value": "UTC"}));
        assert_eq!(
            last(&container["volumeMounts"]),
            json!({"name": "ca", "mountPath": "/etc/ca", "readOnly": true})
        );
        assert_eq!(
            last(&pod["volumes"]),
            json!({"name": "ca", "secret": {"secretName": "ca"}})
        );
        assert!(container["env"].as_array().unwrap().len() > 1, "ours are still there");
    }
}

fn rules(pods: &[&str]) -> Value {
    json!([{"apiGroups": [""], "resources": ["pods/status"], "resourceNames": pods, "verbs": ["patch"]}])
}

#[test]
fn each_agent_may_tell_through_the_pods_of_its_own_resource_and_nothing_else() {
    let role = |spec: &str| of_cluster(spec, Kind::Role, "hippo-agent")["rules"].take();
    assert_eq!(
        role("{replicas: 2}"),
        rules(&["hippo-0", "hippo-replica-0", "hippo-replica-1"])
    );
    assert_eq!(role("{replicas: 0}"), rules(&["hippo-0"]));
    // One claim for all of them names their pods no other way.
    assert_eq!(
        role("{replicas: 1, storage: {claim: vault}}"),
        rules(&["hippo-0", "hippo-replica-0"])
    );
    let database = resource::<PgDatabase>("PgDatabase", "hippo", "{}");
    let of_database = |kind| made(&database, "standalone", None, kind, "hippo-agent");
    assert_eq!(of_database(Kind::Role)["rules"], rules(&["hippo-0"]));
    let of_one = json!([{"kind": "ServiceAccount", "name": "hippo-agent", "namespace": "zoo"}]);
    assert_eq!(of_database(Kind::RoleBinding)["subjects"], of_one);
    let account = of_database(Kind::ServiceAccount);
    assert_eq!(account["automountServiceAccountToken"], json!(false));
}

#[test]
fn only_the_servers_own_container_has_the_token() {
    let spec = "{pod: {containers: [{name: exporter, image: exporter:1}]}}";
    let pod = pod_of_cluster(spec, "hippo-replica");
    assert_eq!(pod["serviceAccountName"], "hippo-agent");
    assert_eq!(pod["automountServiceAccountToken"], json!(false));
    let volumes = pod["volumes"].as_array().unwrap();
    let account = volumes.iter().find(|volume| volume["name"] == "account").unwrap();
    let token = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}});
    assert_eq!(account["projected"]["sources"][0], token);
    let has_it = |container: &&Value| {
        let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
        mounts.any(|mount| mount["name"] == "account")
    };
    let all = ["containers", "initContainers"]
        .map(|list| pod[list].as_array().unwrap().clone())
        .concat();
    let names: Vec<&Value> = all.iter().filter(has_it).map(|container| &container["name"]).collect();
    assert_eq!(names, ["postgres"]);
}

#[test]
fn an_account_that_the_user_names_gets_the_right_and_none_is_made() {
    let spec = "{pod: {serviceAccountName: herd}, replicas: 1}";
    assert_eq!(pod_of_cluster(spec, "hippo")["serviceAccountName"], "herd");
    assert_eq!(pod_of_cluster(spec, "hippo-replica")["serviceAccountName"], "herd");
    let binding = of_cluster(spec, Kind::RoleBinding, "hippo-agent");
    assert_eq!(
        binding["subjects"],
        json!([{"kind": "ServiceAccount", "name": "herd", "namespace": "zoo"}])
    );
    assert_eq!(binding["roleRef"]["name"], "hippo-agent");
    let cluster: PgCluster = resource("PgCluster", "hippo", spec);
    let registry = pgop_strategies::builtin().unwrap();
    let strategy = registry.clusters.get("streaming").unwrap();
    let observed = Observed::default();
    let validated = cluster.validate(&observed, strategy.description()).unwrap();
    let manifests = strategy.manifests(&validated).unwrap();
    assert!(manifests.iter().all(|manifest| manifest.kind() != Kind::ServiceAccount));
}

#[test]
fn a_sidecar_runs_beside_a_server_and_keeps_within_the_restricted_standard() {
    let spec =
        "{pod: {containers: [{name: exporter, image: exporter:1, volumeMounts: [{name: run, mountPath: /run/pg}],
        securityContext: {capabilities: {add: [NET_BIND_SERVICE]}}}]}}";
    let pod = pod_of_cluster(spec, "hippo-replica");
    let containers = pod["containers"].as_array().unwrap();
    let names: Vec<&Value> = containers.iter().map(|container| &container["name"]).collect();
    assert_eq!(names, ["postgres", "exporter"]);
    let restricted =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}});
    assert_eq!(containers[1]["securityContext"], restricted);
    // Variables and mounts of pgop's containers are not its own.
    assert_eq!(containers[1]["env"], Value::Null);
}

#[test]
fn a_sidecar_of_a_backup_is_refused_because_the_backup_would_never_end() {
    let registry = pgop_strategies::builtin().unwrap();
    let strategy = registry.backups.get("basebackup").unwrap();
    let backup: PgBackup = resource(
        "PgBackup",
        "copy",
        "{source: {kind: PgDatabase, name: hippo}, pod: {containers: [{name: a, image: x}]}}",
    );
    let observed = Observed {
        source: Some(SourceFacts::Database(Box::new(resource("PgDatabase", "hippo", "{}")))),
        ..Observed::default()
    };
    let refused = backup.validate(&observed, strategy.description()).unwrap_err();
    assert_eq!(refused[0].field, "spec.pod.containers");
}

#[test]
fn a_spread_without_a_selector_counts_the_pods_of_its_own_resource() {
    let zone = "maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway";
    let spec = format!(
        "{{pod: {{topologySpreadConstraints: [{{{zone}}}, {{{zone}, labelSelector: {{matchLabels: {{a: b}}}}}}]}}}}"
    );
    let pod = pod_of_cluster(&spec, "hippo");
    let selectors = [0, 1].map(|i| pod["topologySpreadConstraints"][i]["labelSelector"]["matchLabels"].clone());
    assert_eq!(selectors, [json!({"pgop.dev/cluster": "hippo"}), json!({"a": "b"})]);
}

#[test]
fn a_service_is_of_the_type_that_the_spec_says() {
    let plain = of_cluster("{}", Kind::Service, "hippo");
    assert_eq!(plain["spec"]["type"], "ClusterIP");
    let spec = "{service: {type: LoadBalancer, labels: {team: blue}, annotations: {example.com/internal: 'true'}, loadBalancerClass: inner,
        loadBalancerSourceRanges: [192.0.2.0/24], externalTrafficPolicy: Local}, replicaService: {type: NodePort}}";
    let primary = of_cluster(spec, Kind::Service, "hippo");
    assert_eq!(primary["metadata"]["labels"]["team"], "blue");
    assert_eq!(primary["metadata"]["labels"]["app.kubernetes.io/name"], "postgresql");
    assert_eq!(primary["metadata"]["annotations"]["example.com/internal"], "true");
    for (field, value) in [
        ("type", json!("LoadBalancer")),
        ("loadBalancerClass", json!("inner")),
        ("loadBalancerSourceRanges", json!(["192.0.2.0/24"])),
        ("externalTrafficPolicy", json!("Local")),
    ] {
        assert_eq!(primary["spec"][field], value, "{field}");
    }
    assert_eq!(
        of_cluster(spec, Kind::Service, "hippo-replica")["spec"]["type"],
        "NodePort"
    );
    // The one that gives names to pods is for them alone.
    assert_eq!(
        of_cluster(spec, Kind::Service, "hippo-pods")["spec"]["type"],
        "ClusterIP"
    );
}

/// The kernel drops a TERM to a process 1 that has no handler yet, so the kubelet's own is lost when a pod is deleted while it starts.
#[test]
fn every_container_of_ours_is_told_to_stop_until_it_has_heard() {
    let job = pgop_core::name::restore_job("hippo", "vault", "a/b");
    let restore =
        of_cluster("{restore: {claim: vault, path: a/b}}", Kind::Job, &job)["spec"]["template"]["spec"].take();
    let pods = [
        pod_of_cluster("{}", "hippo"),
        pod_of_cluster("{}", "hippo-replica"),
        pod_of_database("{}"),
        pod_of_backup("}"),
        restore,
    ];
    for pod in pods {
        let containers = pod["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1);
        assert_eq!(containers[0]["command"][0], "/pgop/bin/pgop-agent");
        let hook = json!({"preStop": {"exec": {"command": ["/pgop/bin/pgop-agent", "stop"]}}});
        assert_eq!(containers[0]["lifecycle"], hook);
    }
}
