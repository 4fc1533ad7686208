//! The operator in one's own program, on an API server that is in the program too: no cluster, no process, no socket. So a strategy or a
//! controller is tested in milliseconds. For pods that run, take `pgop_sandbox::Sandbox` instead.
//!
//! ```text
//! cargo run --example operator_in_process
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use pgop_core::crd::{PgCluster, PgClusterSpec};
use pgop_core::runtime::{Operator, crds};
use pgop_sandbox_server::{Config, Server};
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
#[allow(clippy::print_stdout)] // printing is what it is for
async fn main() -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let client = Server::open(Config::default())?.client();
    crds::ensure(client.clone()).await?;
    let operator = Operator::builder(client.clone())
        .registry(pgop_strategies::builtin()?)
        .build();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(operator.run(async {
        let _ = stopped.await;
    }));

    let clusters: Api<PgCluster> = Api::default_namespaced(client.clone());
    let spec = PgClusterSpec {
        replicas: 2,
        ..PgClusterSpec::default()
    };
    clusters
        .create(&PostParams::default(), &PgCluster::new("hippo", spec))
        .await?;
    let sets: Api<StatefulSet> = Api::default_namespaced(client);
    for (name, replicas) in [("hippo", 1), ("hippo-replica", 2)] {
        let is_made = await_condition(sets.clone(), name, |set: Option<&StatefulSet>| set.is_some());
        let set = tokio::time::timeout(PATIENCE, is_made).await??.ok_or("it is gone")?;
        let asked_for = set.spec.replicas;
        if asked_for != Some(replicas) {
            return Err(format!("{name} has {asked_for:?} replicas").into());
        }
        println!("StatefulSet {} of {replicas}", set.name_any());
    }
    println!("{} ms", started.elapsed().as_millis());

    drop(stop);
    running.await??;
    Ok(())
}

#[test]
fn it_makes_a_cluster() {
    main().unwrap();
}
