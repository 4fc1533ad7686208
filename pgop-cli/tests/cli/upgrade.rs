//! `pgo upgrade servers`. No operator is there; the tests play it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams, PostParams};
use pgop_core::crd::{PgCluster, PgDatabase};
use serde_json::{Value, json};

use crate::server::ApiServer;

/// An API server with the definitions, databases `orders` and `blue/orders`, and cluster `hippo`.
fn server() -> ApiServer {
    let server = ApiServer::start();
    server.ask(async |client| {
        let api: Api<Namespace> = Api::all(client);
        for name in ["shop", "blue"] {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            api.create(&PostParams::default(), &namespace).await.unwrap();
        }
    });
    server.pgo("install").run().code(0);
    for line in [
        "create database orders",
        "create database orders -n blue",
        "create cluster hippo",
    ] {
        server.pgo(line).run().code(0);
    }
    server.ask(async |client| {
        let api: Api<PgCluster> = Api::namespaced(client, "shop");
        let labels = Patch::Merge(json!({"metadata": {"labels": {"team": "a"}}}));
        api.patch("hippo", &PatchParams::default(), &labels).await.unwrap();
    });
    server
}

/// What was asked of `hippo`, of `orders`, and of the one in the other namespace.
fn asked(server: &ApiServer) -> [Option<String>; 3] {
    server.ask(async |client| {
        let of = |annotations: Option<std::collections::BTreeMap<String, String>>| {
            annotations.unwrap_or_default().remove("pgop.dev/upgrade")
        };
        let clusters: Api<PgCluster> = Api::namespaced(client.clone(), "shop");
        let databases = ["shop", "blue"].map(|namespace| Api::<PgDatabase>::namespaced(client.clone(), namespace));
        [
            of(clusters.get("hippo").await.unwrap().metadata.annotations),
            of(databases[0].get("orders").await.unwrap().metadata.annotations),
            of(databases[1].get("orders").await.unwrap().metadata.annotations),
        ]
    })
}

/// The operator writes the status of `hippo`.
async fn tell(client: &kube::Client, status: Value) {
    let api: Api<PgCluster> = Api::namespaced(client.clone(), "shop");
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status("hippo", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

fn members(older: &[&str]) -> Value {
    let member = |name: &str, role: &str| json!({"name": name, "role": role, "ready": true, "agent": "op:1", "older": older.contains(&name)});
    json!([member("hippo-0", "primary"), member("hippo-replica-0", "replica")])
}

#[test]
fn what_is_asked_for_stands_on_the_resource_and_is_said() {
    let server = server();
    server
        .pgo("upgrade servers hippo orders nobody")
        .run()
        .code(1)
        .out(
            "PgDatabase orders: an upgrade was asked for; the operator has not seen it yet\n\
             PgCluster hippo: an upgrade was asked for; the operator has not seen it yet\n",
        )
        .err_has("there is no database or cluster nobody in namespace shop");
    let [hippo, orders, other] = asked(&server);
    assert!(hippo.is_some() && hippo == orders && other.is_none());

    let ready = json!({"phase": "Ready", "members": members(&["hippo-0", "hippo-replica-0"])});
    server.ask(async |client| tell(&client, ready).await);
    server.pgo("upgrade servers hippo").run().code(0).quiet().out(
        "PgCluster hippo: an upgrade was asked for; hippo-0, hippo-replica-0 are restarted one at a time, the primary last, \
         as another version of pgop made them\n",
    );
    assert_ne!(asked(&server)[0], hippo, "another text is another upgrade");
    server.ask(async |client| tell(&client, json!({"members": members(&[])})).await);
    server
        .pgo("upgrade servers hippo")
        .run()
        .code(0)
        .out_has("no server is known to need it");
    server.ask(async |client| tell(&client, json!({"phase": "Invalid"})).await);
    server
        .pgo("upgrade servers hippo")
        .run()
        .code(0)
        .out_has("it waits for the spec to be mended");
}

#[test]
fn all_are_those_of_the_namespace_or_those_that_are_chosen() {
    let server = server();
    server.pgo("upgrade servers --all -l team=a").run().code(0);
    let [hippo, orders, _] = asked(&server);
    assert!(hippo.is_some() && orders.is_none());
    server
        .pgo("upgrade servers --all -o name")
        .run()
        .code(0)
        .quiet()
        .out("pgdatabase.pgop.dev/orders\npgcluster.pgop.dev/hippo\n");
    let [_, orders, other] = asked(&server);
    assert!(orders.is_some() && other.is_none());
    server.pgo("upgrade servers --all -A").run().code(0);
    assert!(asked(&server).iter().all(Option::is_some));
    server
        .pgo("upgrade servers --all -n default")
        .run()
        .code(0)
        .out("")
        .err("pgo: there is no database and no cluster to upgrade\n");
}

#[test]
fn the_wait_ends_when_the_operator_has_seen_it_and_nobody_is_older() {
    let server = server();
    // As the operator left it before: ready, and nothing is known to be older. That is no answer yet.
    let ready = json!({"phase": "Ready", "observedGeneration": 1, "members": members(&[])});
    server.ask(async |client| tell(&client, ready).await);
    std::thread::scope(|scope| {
        let wait = scope.spawn(|| server.pgo("upgrade servers hippo --wait --timeout 60s").run());
        let text = loop {
            match asked(&server) {
                [Some(text), ..] => break text,
                _ if wait.is_finished() => panic!("it asked for nothing: {:#?}", wait.join()),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        server.ask(async |client| {
            let both = ["hippo-0", "hippo-replica-0"];
            for older in [&both[..], &both[..1], &both[..0]] {
                tell(&client, json!({"upgrade": text, "members": members(older)})).await;
            }
        });
        wait.join()
            .unwrap()
            .code(0)
            .out_has("PgCluster hippo: all servers are as the operator makes them\n");
    });
    server
        .pgo("upgrade servers hippo --wait --timeout 1s")
        .run()
        .code(4)
        .err_has("pgo: error: PgCluster hippo is not upgraded after ")
        .err_has(": waits for the operator to see what was asked for; it may still become so");
}
