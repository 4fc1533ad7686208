//! Running a program in a pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::AttachParams;
use pgop_core::crd::ServerStatus;
use pgop_core::strategy::Names;
use tokio::io::AsyncReadExt;

use crate::cluster::{Cluster, ClusterError};

/// Where a server is to be found in its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its container.
    pub container: String,
    /// Directory of its socket there.
    pub socket: String,
}

impl Place {
    /// As the strategy's description says, which the status tells; the usual one where it does not yet.
    pub fn of(status: Option<&ServerStatus>) -> Self {
        let usual = Names::default();
        let (container, socket) = status.map_or((None, None), |it| (it.container.clone(), it.socket.clone()));
        Self {
            container: container.unwrap_or(usual.container),
            socket: socket.unwrap_or(usual.socket),
        }
    }

    /// The words that connect `psql` to the server, as its superuser.
    pub fn psql(&self) -> [&str; 7] {
        ["psql", "-h", &self.socket, "-p", "5432", "-U", "postgres"]
    }
}

/// What a program left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its exit code.
    pub code: i32,
}

/// Runs a program that ends soon, and takes what it says.
pub async fn capture(
    cluster: &Cluster,
    pod: &str,
    container: &str,
    command: &[&str],
    timeout: Duration,
) -> Result<Output, ClusterError> {
    let api = cluster.api::<Pod>();
    let params = AttachParams::default().container(container).stdout(true).stderr(true);
    let action = format!("run {} in pod {pod}", command.first().copied().unwrap_or_default());
    let work = async {
        let mut process = api.exec(pod, command.iter().copied(), &params).await?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (mut stdout, mut stderr, status) = (process.stdout(), process.stderr(), process.take_status());
        let read_out = async {
            if let Some(stdout) = &mut stdout {
                let _ = stdout.read_to_end(&mut out).await;
            }
        };
        let read_err = async {
            if let Some(stderr) = &mut stderr {
                let _ = stderr.read_to_end(&mut err).await;
            }
        };
        futures::join!(read_out, read_err);
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output {
            stdout: text(out),
            stderr: text(err),
            code: exit_code(status.as_ref()),
        })
    };
    // The whole of it in one answer's time: a program that hangs is no better than a server that does.
    match tokio::time::timeout(timeout, cluster.ask(action.clone(), work)).await {
        Ok(result) => result,
        Err(_) => Err(ClusterError::Refused {
            action,
            problem: format!("it did not end within {} s", timeout.as_secs()),
        }),
    }
}

/// Exit code of a program: 0, what the kubelet says, or 255 when the connection broke before the program ended.
pub fn exit_code(status: Option<&Status>) -> i32 {
    let Some(status) = status else { return 255 };
    if status.status.as_deref() == Some("Success") {
        return 0;
    }
    let causes = status.details.as_ref().and_then(|d| d.causes.as_ref());
    causes
        .into_iter()
        .flatten()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .and_then(|cause| cause.message.as_deref()?.parse().ok())
        .unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> i32 {
        exit_code(Some(&serde_json::from_str(text).unwrap()))
    }

    #[test]
    fn a_server_is_where_its_status_tells() {
        let usual = Place::of(None);
        assert_eq!(
            (usual.container.as_str(), usual.socket.as_str()),
            ("postgres", "/pgop/run")
        );
        assert_eq!(Place::of(Some(&ServerStatus::default())), usual, "of an older operator");
        let told = ServerStatus {
            container: Some("patroni".to_owned()),
            socket: Some("/var/run/postgresql".to_owned()),
            ..ServerStatus::default()
        };
        let place = Place::of(Some(&told));
        assert_eq!(
            (place.container.as_str(), place.psql()[2]),
            ("patroni", "/var/run/postgresql")
        );
    }

    #[test]
    fn the_exit_code_is_the_programs() {
        assert_eq!(code(r#"{"metadata": {}, "status": "Success"}"#), 0);
        let failed = r#"{"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": "command terminated with non-zero exit code",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}"#;
        assert_eq!(code(failed), 3);
        assert_eq!(
            code(r#"{"metadata": {}, "status": "Failure", "reason": "InternalError", "message": "no such container"}"#),
            255
        );
        assert_eq!(exit_code(None), 255);
    }
}
