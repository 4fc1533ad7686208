//! `pgo version`

use serde_json::{Value, json};

use super::Context;
use crate::args::Output;
use crate::args::operate::Version;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output;

/// The version of pgo; that of the cluster and the operator where they can be asked.
pub async fn run(args: &Version, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let own = env!("CARGO_PKG_VERSION");
    let mut report = json!({"pgo": own});
    if !args.client {
        match ask(context).await {
            Ok((server, operators)) => {
                report["kubernetes"] = json!(server);
                report["operators"] = json!(operators);
            }
            Err(error) => report["unknown"] = json!(error.to_string()),
        }
    }
    if let Some(format @ (Output::Json | Output::Yaml)) = context.config.output {
        context.screen.raw(output::values(format, &[report]).as_bytes());
        return Ok(ExitCode::Ok);
    }
    context.screen.line(format!("pgo {own}"));
    if let Some(server) = report["kubernetes"].as_str() {
        context.screen.line(format!("kubernetes {server}"));
    }
    match report["operators"].as_array() {
        Some(all) if all.is_empty() => context.screen.line("operator: not installed (pgo install)"),
        Some(all) => {
            for operator in all {
                context.screen.line(line(operator));
            }
        }
        None => {}
    }
    // The version of pgo itself was asked for too, so a cluster that does not answer is no failure.
    if let Some(problem) = report["unknown"].as_str() {
        context
            .screen
            .note_line(format!("the operator's version is unknown: {problem}"));
    }
    Ok(ExitCode::Ok)
}

fn line(operator: &Value) -> String {
    let text = |key: &str| operator[key].as_str().unwrap_or_default().to_owned();
    let ready = operator["ready"].as_i64().unwrap_or(0);
    let state = if ready > 0 {
        "running".to_owned()
    } else {
        "not ready".to_owned()
    };
    format!(
        "operator {} ({state}) in namespace {}",
        text("image"),
        text("namespace")
    )
}

async fn ask(context: &mut Context<'_>) -> Result<(String, Vec<Value>), Error> {
    let cluster = context.cluster().await?;
    let server = cluster
        .ask("get the version of the server", cluster.client.apiserver_version())
        .await?;
    let found = cluster.operators().await?;
    let operators = found.iter().map(|deployment| {
        let value = serde_json::to_value(deployment).unwrap_or_default();
        json!({
            "namespace": value.pointer("/metadata/namespace"),
            "image": value.pointer("/spec/template/spec/containers/0/image"),
            "ready": value.pointer("/status/readyReplicas").and_then(Value::as_i64).unwrap_or(0),
        })
    });
    Ok((server.git_version, operators.collect()))
}
