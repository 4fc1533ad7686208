//! `pgo logs`

use futures::io::AsyncBufReadExt;
use futures::stream::{SelectAll, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;

use super::Context;
use super::psql::{Server, find_server};
use crate::args::operate::Logs;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::screen::{Style, reader_gone};

/// Shows the logs of the servers, each line with its pod where there are several.
pub async fn run(args: Logs, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    context.one_namespace("logs")?;
    let server = find_server(&args.name, context).await?;
    let pods = chosen(&server, args.member.as_deref())?;
    let cluster = context.cluster().await?;
    let api = cluster.api::<Pod>();
    let params = LogParams {
        container: Some(server.place.container.clone()),
        follow: args.follow,
        previous: args.previous,
        tail_lines: args.tail,
        ..LogParams::default()
    };
    let mut code = ExitCode::Ok;
    let mut lines = SelectAll::new();
    for pod in &pods {
        let action = format!("read the log of pod {pod}");
        match cluster.ask(action.clone(), api.log_stream(pod, &params)).await {
            Ok(stream) => lines.push(Box::pin(stream.lines().map(move |line| (pod.clone(), line)))),
            Err(error) => code = code.and(context.fail(&error.into())),
        }
    }
    let colour = context.screen.colour();
    let mut gone = std::pin::pin!(reader_gone());
    loop {
        let next = tokio::select! {
            next = lines.next() => next,
            () = &mut gone, if args.follow => None, // `pgo logs -f hippo | head`, also while the log is idle
        };
        let Some((pod, line)) = next else { break };
        match line {
            Ok(line) if pods.len() > 1 => {
                let head = Style::Dim.paint(&format!("{pod}:"), colour);
                context.screen.line(format!("{head} {line}"));
            }
            Ok(line) => context.screen.line(line),
            Err(error) => {
                let error = Error::Object(format!("the log of pod {pod} broke off: {error}"));
                code = code.and(context.fail(&error));
            }
        }
        if context.screen.is_closed() {
            break;
        }
    }
    Ok(code)
}

/// The pods that are meant.
fn chosen(server: &Server, member: Option<&str>) -> Result<Vec<String>, Error> {
    let of = |wanted: Option<&str>| -> Vec<String> {
        server
            .pods
            .iter()
            .filter(|pod| wanted.is_none_or(|w| pod.role == w || pod.name == w))
            .map(|p| p.name.clone())
            .collect()
    };
    let pods = of(member);
    if !pods.is_empty() {
        return Ok(pods);
    }
    let known: Vec<&str> = server.pods.iter().map(|p| p.name.as_str()).collect();
    Err(Error::Object(match member {
        Some(member) if !known.is_empty() => {
            format!(
                "{} {} has no member {member}; it has {}",
                server.kind,
                server.name,
                known.join(", ")
            )
        }
        _ => format!(
            "{} {} has no pod; `pgo show {} {}` tells why",
            server.kind, server.name, server.kind, server.name
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::psql::Member;
    use super::*;
    use crate::exec::Place;

    #[test]
    fn members_are_named_by_pod_or_role() {
        let member = |name: &str, role: &str| Member {
            name: name.into(),
            role: role.into(),
            ready: true,
        };
        let server = Server {
            kind: "cluster",
            name: "hippo".into(),
            database: "app".into(),
            place: Place::of(None),
            pods: vec![member("hippo-0", "primary"), member("hippo-replica-0", "replica")],
        };
        assert_eq!(chosen(&server, None).unwrap(), ["hippo-0", "hippo-replica-0"]);
        assert_eq!(chosen(&server, Some("replica")).unwrap(), ["hippo-replica-0"]);
        assert_eq!(chosen(&server, Some("hippo-0")).unwrap(), ["hippo-0"]);
        let error = chosen(&server, Some("hippo-1")).unwrap_err().to_string();
        assert_eq!(
            error,
            "cluster hippo has no member hippo-1; it has hippo-0, hippo-replica-0"
        );
    }
}
