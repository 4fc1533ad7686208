//! `pgo psql`

mod terminal;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess, ListParams};
use pgop_core::Owner;
use pgop_core::crd::{PgCluster, PgDatabase};
use pgop_core::label;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::Context;
use crate::args::operate::Psql;
use crate::error::Error;
use crate::exec::{Place, exit_code};
use crate::exit_code::ExitCode;

/// A pod of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// `primary` or `replica`.
    pub role: String,
    /// Whether it is ready.
    pub ready: bool,
}

/// A database or cluster and its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `database` or `cluster`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The database that was made for applications.
    pub database: String,
    /// Where the server is in a pod.
    pub place: Place,
    /// Its pods, primaries first.
    pub pods: Vec<Member>,
}

/// Runs psql in the pod of the primary, and ends with its exit code.
pub async fn run(args: Psql, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    context.one_namespace("psql")?;
    let server = find_server(&args.name, context).await?;
    let pod = choose(&server, args.replica)?;
    let database = args.dbname.clone().unwrap_or_else(|| server.database.clone());
    let tty = context.env.stdin_terminal && context.env.stdout_terminal;
    let command = command(&server.place, &database, &args.args, tty, context.env.get("TERM"));
    let cluster = context.cluster().await?;
    let api = cluster.api::<Pod>();
    let params = AttachParams::default()
        .container(&server.place.container)
        .stdin(true)
        .stdout(true)
        .stderr(!tty)
        .tty(tty);
    let process = cluster
        .ask(format!("run psql in pod {pod}"), api.exec(&pod, &command, &params))
        .await?;
    let status = if tty {
        interactive(process).await?
    } else {
        piped(process, context).await
    };
    match status.as_ref().map(|status| (exit_code(Some(status)), status)) {
        None if context.screen.is_closed() => Ok(ExitCode::Ok),
        None => Err(Error::Object(format!(
            "the connection to pod {pod} broke; what psql was doing may be done or not"
        ))),
        Some((255, status)) if status.reason.as_deref() != Some("NonZeroExitCode") => Err(Error::Object(format!(
            "could not run psql in pod {pod}: {}",
            status.message.clone().unwrap_or_default()
        ))),
        Some((code, _)) => Ok(ExitCode::Program(u8::try_from(code).unwrap_or(255))),
    }
}

/// The words of the command. Nothing of what was typed is read by a shell.
fn command(place: &Place, database: &str, args: &[String], tty: bool, term: Option<&str>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    words.push("env".to_owned());
    // A pod's root is read-only, so psql's history goes to /tmp.
    words.push("PSQL_HISTORY=/tmp/.psql_history".to_owned());
    // Not `-d`: psql takes a name with `=` or a URI's head there for a connection string, and so might leave this server.
    words.push(format!("PGDATABASE={database}"));
    if let Some(term) = term.filter(|_| tty) {
        words.push(format!("TERM={term}"));
    }
    if !tty {
        words.push(AGENT.to_owned());
    }
    words.extend(place.psql().map(str::to_owned));
    words.extend(args.iter().cloned());
    words
}

/// The agent, in every server's container.
const AGENT: &str = "/pgop/bin/pgop-agent";
/// What the agent in the pod takes for the end of the input: Kubernetes before 1.30 can't tell a program of it. pgo keeps its end open for as long as it
/// runs; whatever else the agent sees of an end tells it that pgo is gone.
const END: &[u8] = b"\\pgo-end-of-input-8f1c2ad6\n";

/// Sends standard input, and passes on what psql says.
async fn piped(mut process: AttachedProcess, context: &mut Context<'_>) -> Option<Status> {
    let status = process.take_status();
    let (mut stdout, mut stderr) = (process.stdout(), process.stderr());
    let feeder = process.stdin().map(|stdin| {
        let nothing = context.env.stdin_terminal; // psql -c with a terminal: nobody is going to type
        tokio::spawn(feed(nothing, stdin))
    });
    let (mut out, mut err) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let (mut out_open, mut err_open) = (stdout.is_some(), stderr.is_some());
    while out_open || err_open {
        tokio::select! {
            read = some(&mut stdout, &mut out), if out_open => match read {
                0 => out_open = false,
                count => {
                    context.screen.raw(&out[..count]);
                    if context.screen.is_closed() {
                        break; // `pgo psql hippo -- -c '…' | head`: the connection ends with the process
                    }
                }
            },
            read = some(&mut stderr, &mut err), if err_open => match read {
                0 => err_open = false,
                count => context.screen.raw_err(&err[..count]),
            },
        }
    }
    let result = match status {
        Some(status) if !context.screen.is_closed() => status.await,
        _ => None,
    };
    if let Some(feeder) = feeder {
        feeder.abort();
    }
    result
}

async fn some(reader: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match reader {
        Some(reader) => reader.read(buffer).await.unwrap_or(0),
        None => 0,
    }
}

/// Copies standard input and marks its end. The writer is kept open: closing it would close the connection on old Kubernetes.
async fn feed(nothing: bool, mut stdin: impl tokio::io::AsyncWrite + Unpin) {
    let mut last = b'\n';
    if !nothing {
        let mut input = tokio::io::stdin();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match input.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    last = buffer[count - 1];
                    if stdin.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
    // The mark stands on a line of its own.
    if last != b'\n' && stdin.write_all(b"\n").await.is_err() {
        return;
    }
    if stdin.write_all(END).await.is_ok() && stdin.flush().await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// A session at the terminal: keys go over as they are pressed.
async fn interactive(mut process: AttachedProcess) -> Result<Option<Status>, Error> {
    let status = process.take_status();
    let raw = terminal::Raw::enter().map_err(|e| Error::Object(format!("the terminal can't be set up: {e}")))?;
    let sizes = process
        .terminal_size()
        .map(|sender| tokio::spawn(terminal::follow_size(sender)));
    let feeder = process.stdin().map(|mut stdin| {
        tokio::spawn(async move {
            let mut input = tokio::io::stdin();
            let mut keys = [0; 1024];
            while let Ok(count) = input.read(&mut keys).await {
                if count == 0 || stdin.write_all(&keys[..count]).await.is_err() || stdin.flush().await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        })
    });
    if let Some(mut stdout) = process.stdout() {
        let mut screen = tokio::io::stdout();
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count) = stdout.read(&mut buffer).await {
            if count == 0 || screen.write_all(&buffer[..count]).await.is_err() || screen.flush().await.is_err() {
                break;
            }
        }
    }
    let result = match status {
        Some(status) => status.await,
        None => None,
    };
    for task in [feeder, sizes].into_iter().flatten() {
        task.abort();
    }
    drop(raw);
    Ok(result)
}

/// The primary, or a replica that is ready.
fn choose(server: &Server, replica: bool) -> Result<String, Error> {
    let role = if replica { "replica" } else { "primary" };
    let mut of_role: Vec<&Member> = server.pods.iter().filter(|pod| pod.role == role).collect();
    of_role.sort_by_key(|pod| !pod.ready);
    let (kind, name) = (server.kind, &server.name);
    match of_role.first() {
        // A primary that is not ready may be what somebody wants to look at; a replica may serve old data.
        Some(pod) if pod.ready || !replica => Ok(pod.name.clone()),
        Some(_) => Err(Error::Object(format!(
            "{kind} {name} has no replica that is ready; `pgo show {kind} {name}` tells why"
        ))),
        None => Err(Error::Object(format!(
            "{kind} {name} has no {role}; `pgo show {kind} {name}` tells why"
        ))),
    }
}

/// The database or cluster of a name, with its pods.
pub async fn find_server(name: &str, context: &mut Context<'_>) -> Result<Server, Error> {
    let cluster = context.cluster().await?;
    let database = cluster.get::<PgDatabase>(name).await?;
    let of_cluster = cluster.get::<PgCluster>(name).await?;
    let (owner, spec, status) = match (&database, &of_cluster) {
        (Some(_), Some(_)) => {
            return Err(Error::Object(format!(
                "{name} is a database and a cluster in namespace {}, and only one of them can run: `pgo show` tells which",
                cluster.namespace
            )));
        }
        (Some(it), None) => (Owner::of(it), &it.spec.server, &it.status),
        (None, Some(it)) => (Owner::of(it), &it.spec.server, &it.status),
        (None, None) => {
            return Err(Error::Object(format!(
                "there is no database or cluster {name} in namespace {}; `pgo show database all` and `pgo show cluster all` list them",
                cluster.namespace
            )));
        }
    };
    let params = ListParams::default().labels(&format!("{}={name},{}", owner.kind.label(), label::ROLE));
    let mut pods: Vec<Member> = cluster
        .list::<Pod>(&params)
        .await?
        .items
        .iter()
        .filter_map(member)
        .collect();
    pods.sort_by(|a, b| (&a.role, &a.name).cmp(&(&b.role, &b.name)));
    let database = spec.postgres.database.clone().unwrap_or_else(|| "app".to_owned());
    Ok(Server {
        kind: owner.kind.component(),
        name: name.to_owned(),
        database,
        place: Place::of(status.as_ref()),
        pods,
    })
}

fn member(pod: &Pod) -> Option<Member> {
    let role = pod.metadata.labels.as_ref()?.get(label::ROLE)?.clone();
    let ready = pod.status.as_ref().is_some_and(|status| {
        status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == "Ready" && c.status == "True")
    });
    Some(Member {
        name: pod.metadata.name.clone()?,
        role,
        ready,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(pods: &[(&str, &str, bool)]) -> Server {
        let pods = pods.iter().map(|(name, role, ready)| Member {
            name: (*name).into(),
            role: (*role).into(),
            ready: *ready,
        });
        Server {
            kind: "cluster",
            name: "hippo".into(),
            database: "app".into(),
            place: Place::of(None),
            pods: pods.collect(),
        }
    }

    #[test]
    fn the_primary_is_taken_even_when_it_is_not_ready_and_a_replica_only_when_it_is() {
        let both = server(&[
            ("hippo-0", "primary", false),
            ("hippo-replica-0", "replica", false),
            ("hippo-replica-1", "replica", true),
        ]);
        assert_eq!(choose(&both, false).unwrap(), "hippo-0");
        assert_eq!(choose(&both, true).unwrap(), "hippo-replica-1");
        let none = server(&[("hippo-replica-0", "replica", false)]);
        assert!(choose(&none, false).unwrap_err().to_string().contains("has no primary"));
        assert!(
            choose(&none, true)
                .unwrap_err()
                .to_string()
                .contains("no replica that is ready")
        );
    }

    #[test]
    fn what_was_typed_stays_one_word_each() {
        let args = ["-c".to_owned(), "select '$(id)'; --\"".to_owned()];
        let words = command(&Place::of(None), "my db", &args, true, Some("xterm"));
        assert_eq!(
            words[..4],
            [
                "env",
                "PSQL_HISTORY=/tmp/.psql_history",
                "PGDATABASE=my db",
                "TERM=xterm"
            ]
        );
        assert_eq!(words[words.len() - 3..], ["postgres", "-c", "select '$(id)'; --\""]);
    }

    #[test]
    fn a_databases_name_is_never_a_connection_string() {
        // libpq expands such a name wherever it is given as the database of a connection, but not in PGDATABASE.
        for name in [
            "host=nowhere.invalid",
            "postgres://evil/x",
            "postgresql://evil",
            "select=Order \"x\"",
        ] {
            for tty in [true, false] {
                let words = command(&Place::of(None), name, &[], tty, None);
                let holds: Vec<_> = words.iter().filter(|word| word.contains(name)).collect();
                assert_eq!(holds, [&format!("PGDATABASE={name}")]);
            }
        }
    }
}
