//! `pgo scale`

use kube::api::{Patch, PatchParams};
use pgop_core::crd::PgCluster;
use serde_json::json;

use super::create::wait_for;
use super::{Context, for_each, unique};
use crate::args::operate::Scale;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output;

/// Changes the number of replicas.
pub async fn run(args: Scale, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    context.one_namespace("scale")?;
    let names: Vec<String> = unique(&args.names).into_iter().map(str::to_owned).collect();
    let start = std::time::Instant::now();
    let mut scaled = Vec::new();
    let mut code = for_each(context, names, async |context, name| {
        scaled.push(one(&name, args.replicas, context).await?);
        Ok(ExitCode::Ok)
    })
    .await;
    if args.wait.wait {
        code = code.and(
            for_each(context, &scaled, async |context, cluster| {
                wait_for(cluster, context, args.wait.timeout.saturating_sub(start.elapsed())).await?;
                Ok(ExitCode::Ok)
            })
            .await,
        );
    }
    let values: Vec<_> = scaled
        .iter()
        .map(|c| serde_json::to_value(c).unwrap_or_default())
        .collect();
    if let Some(text) = output::resources(context.config.output, &values, false).filter(|_| !values.is_empty()) {
        context.screen.raw(text.as_bytes());
    }
    Ok(code)
}

async fn one(name: &str, replicas: i32, context: &mut Context<'_>) -> Result<PgCluster, Error> {
    let cluster = context.cluster().await?;
    let Some(before) = cluster.get::<PgCluster>(name).await? else {
        return Err(Error::Object(format!(
            "there is no cluster {name} in namespace {}; `pgo show cluster all` lists them",
            cluster.namespace
        )));
    };
    let api = cluster.api::<PgCluster>();
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let params = PatchParams {
        field_manager: Some("pgo".to_owned()),
        ..PatchParams::default()
    };
    let after = cluster
        .ask(
            format!("scale {}", cluster.object::<PgCluster>(name)),
            api.patch(name, &params, &patch),
        )
        .await?;
    if context.config.output.is_none() {
        let from = before.spec.replicas;
        let many = if replicas == 1 {
            "1 replica".to_owned()
        } else {
            format!("{replicas} replicas")
        };
        let text = match from.cmp(&replicas) {
            std::cmp::Ordering::Equal => format!("PgCluster {name} has {many} already"),
            std::cmp::Ordering::Less => format!("PgCluster {name} scaled from {from} to {many}"),
            std::cmp::Ordering::Greater => {
                format!("PgCluster {name} scaled from {from} to {many}; the claims of those that go are kept")
            }
        };
        context.screen.line(text);
    }
    Ok(after)
}
