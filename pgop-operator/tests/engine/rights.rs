//! The operator under the rights that an installation gives it, and servers under those that it gives them.

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use pgop_core::install::{self, Options};
use pgop_sandbox_server::Identity;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Running, kind, until};

const PGOP: &str = "pgop.dev/v1alpha1";
const RBAC: &str = "rbac.authorization.k8s.io/v1";

impl Cluster {
    /// An operator as `pgo install` makes it, but for its Deployment.
    async fn installed(&self, rights: impl Fn(&mut Value)) -> Running {
        for mut object in install::manifests(&Options::default()) {
            if object["kind"] == "Deployment" {
                continue;
            }
            rights(&mut object);
            let of = kind(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
            let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &of),
                None => Api::all_with(self.client.clone(), &of),
            };
            let object = serde_json::from_value(object).unwrap();
            api.create(&PostParams::default(), &object).await.unwrap();
        }
        let account = Identity::service_account(install::NAMESPACE, install::NAME, "");
        Running::start(self.client_of(account), pgop_strategies::builtin().unwrap())
    }

    fn agent(&self, account: &str) -> Client {
        self.client_of(Identity::service_account("default", account, ""))
    }

    async fn servers(&self, kind: &str, name: &str, spec: &Value) {
        self.create(json!({"apiVersion": PGOP, "kind": kind, "metadata": {"name": name}, "spec": spec}))
            .await;
    }

    /// The pods that the agents of `hippo` may tell through.
    async fn named(&self) -> Value {
        let role = self.get(RBAC, "Role", "hippo-agent").await.unwrap();
        role["rules"][0]["resourceNames"].clone()
    }
}

/// Says so in the pod, as an agent does.
async fn tells(agent: &Client, pod: &str, status: &str, reason: &str) -> Result<(), Error> {
    let condition = json!({"type": "pgop.dev/SettingsInForce", "status": status, "reason": reason, "message": "words"});
    let pod_as_told =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod}, "status": {"conditions": [condition]}});
    let by = PatchParams::apply("pgop-agent").force();
    let pods: Api<Pod> = Api::default_namespaced(agent.clone());
    pods.patch_status(pod, &by, &Patch::Apply(pod_as_told)).await.map(drop)
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: Result<T, Error>) {
    match answer {
        Err(Error::Api(status)) if status.code == 403 => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_tells_through_the_pods_of_its_own_cluster_and_may_do_nothing_else() {
    let cluster = Cluster::start().await;
    let _operator = cluster.installed(|_| {}).await;
    cluster.servers("PgCluster", "hippo", &json!({"replicas": 1})).await;
    cluster.servers("PgDatabase", "otter", &json!({})).await;
    cluster.all_ready().await;
    let agent = cluster.agent("hippo-agent");

    tells(&agent, "hippo-replica-0", "False", "Refused").await.unwrap();
    let is = |status: &'static str, reason: &'static str| (status.to_owned(), reason.to_owned());
    until(async || cluster.condition("SettingsInForce").await == is("False", "Refused")).await;
    tells(&agent, "hippo-replica-0", "True", "InForce").await.unwrap();
    until(async || cluster.condition("SettingsInForce").await == is("True", "InForce")).await;

    is_refused(tells(&agent, "otter-0", "True", "InForce").await);
    let pods: Api<Pod> = Api::default_namespaced(agent.clone());
    is_refused(pods.get("hippo-0").await);
    is_refused(pods.list(&ListParams::default()).await);
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    is_refused(pods.patch("hippo-0", &PatchParams::default(), &label).await);
    let secrets: Api<Secret> = Api::default_namespaced(agent.clone());
    is_refused(secrets.get("hippo-superuser").await);

    assert_eq!(cluster.named().await, json!(["hippo-0", "hippo-replica-0"]));
    let none = json!({"spec": {"replicas": 0}});
    cluster.change(PGOP, "PgCluster", "hippo", &none).await;
    until(async || cluster.named().await == json!(["hippo-0"])).await;
    is_refused(tells(&agent, "hippo-replica-0", "True", "InForce").await);
    tells(&agent, "hippo-0", "True", "InForce").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_named_gets_the_right_and_the_made_one_goes() {
    let cluster = Cluster::start().await;
    let _operator = cluster.installed(|_| {}).await;
    cluster.servers("PgCluster", "hippo", &json!({"replicas": 0})).await;
    cluster.all_ready().await;
    cluster
        .create(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "herd"}}))
        .await;
    let named = json!({"spec": {"pod": {"serviceAccountName": "herd"}}});
    cluster.change(PGOP, "PgCluster", "hippo", &named).await;
    until(async || cluster.get("v1", "ServiceAccount", "hippo-agent").await.is_none()).await;
    until(async || {
        let pod = cluster.get("v1", "Pod", "hippo-0").await.unwrap_or_default();
        pod["spec"]["serviceAccountName"] == "herd"
    })
    .await;
    tells(&cluster.agent("herd"), "hippo-0", "True", "InForce")
        .await
        .unwrap();
    is_refused(tells(&cluster.agent("hippo-agent"), "hippo-0", "True", "InForce").await);
    assert!(cluster.get("v1", "ServiceAccount", "herd").await.is_some());
    // And back.
    let none = json!({"spec": {"pod": {"serviceAccountName": null}}});
    cluster.change(PGOP, "PgCluster", "hippo", &none).await;
    until(async || {
        let pod = cluster.get("v1", "Pod", "hippo-0").await.unwrap_or_default();
        pod["spec"]["serviceAccountName"] == "hippo-agent"
    })
    .await;
    is_refused(tells(&cluster.agent("herd"), "hippo-0", "True", "InForce").await);
    assert!(
        cluster.get("v1", "ServiceAccount", "herd").await.is_some(),
        "it is the user's"
    );
}

/// As when the operator's image is newer than its rights.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_operator_may_not_give_that_right_servers_run_all_the_same() {
    let cluster = Cluster::start().await;
    let without = |object: &mut Value| {
        if let Some(rules) = object.get_mut("rules").and_then(Value::as_array_mut) {
            rules.retain(|rule| rule["resources"][0] != "pods/status");
        }
    };
    let _operator = cluster.installed(without).await;
    cluster.servers("PgCluster", "hippo", &json!({"replicas": 1})).await;
    until(async || cluster.condition("Ready").await.0 == "True").await;
    assert_eq!(cluster.condition("Degraded").await.0, "True");
    let hippo = cluster.get(PGOP, "PgCluster", "hippo").await.unwrap();
    let conditions = hippo["status"]["conditions"].to_string();
    assert!(conditions.contains("could not apply Role hippo-agent"), "{conditions}");
    assert_eq!(cluster.get(RBAC, "Role", "hippo-agent").await, None);
}
