//! What probes and hooks do: run a program, ask over HTTP, connect, sleep.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pgop_sandbox_tasks::spawn;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::enter::{Given, enter};
use super::run::Live;
use crate::network::{Network, PodNetwork};

/// So much of what a probe says goes into its event.
const SAID: u64 = 10 << 10;

/// Something to do to a container.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Exec(Vec<String>),
    Http(HTTPGetAction),
    Tcp {
        host: Option<String>,
        port: IntOrString,
    },
    Sleep(Duration),
    /// What is asked for is not served here.
    Unknown(&'static str),
}

impl Action {
    /// What a probe does.
    pub(crate) fn of_probe(probe: &Probe) -> Self {
        if let Some(exec) = &probe.exec {
            return Self::Exec(exec.command.clone().unwrap_or_default());
        }
        if let Some(http) = &probe.http_get {
            return Self::Http(http.clone());
        }
        if let Some(tcp) = &probe.tcp_socket {
            return Self::Tcp {
                host: tcp.host.clone(),
                port: tcp.port.clone(),
            };
        }
        Self::Unknown(if probe.grpc.is_some() {
            "grpc probes are not served by this node"
        } else {
            "missing probe handler"
        })
    }

    /// What a hook does.
    pub(crate) fn of_hook(hook: &LifecycleHandler) -> Self {
        if let Some(exec) = &hook.exec {
            return Self::Exec(exec.command.clone().unwrap_or_default());
        }
        if let Some(http) = &hook.http_get {
            return Self::Http(http.clone());
        }
        if let Some(tcp) = &hook.tcp_socket {
            return Self::Tcp {
                host: tcp.host.clone(),
                port: tcp.port.clone(),
            };
        }
        if let Some(sleep) = &hook.sleep {
            return Self::Sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0)));
        }
        Self::Unknown("missing hook handler")
    }
}

/// Where an action is done.
pub(crate) struct Subject<'a> {
    pub(crate) pod: &'a PodNetwork,
    pub(crate) spec: &'a Container,
    pub(crate) live: &'a Live,
}

impl Subject<'_> {
    /// Does it within that time. The error is what the event says.
    pub(super) async fn act(&self, network: &Network, action: &Action, patience: Duration) -> Result<(), String> {
        match action {
            Action::Exec(command) => self.exec(command, patience).await,
            Action::Http(get) => match timeout(patience, self.http(network, get)).await {
                Ok(done) => done,
                Err(_) => Err(format!(
                    "Get \"{}\": context deadline exceeded",
                    self.url(get).unwrap_or_default()
                )),
            },
            Action::Tcp { host, port } => {
                let to = self.socket(host.as_deref(), port)?;
                match timeout(patience, network.connect(to)).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(format!("dial tcp {to}: connect: {}", plain(&error))),
                    Err(_) => Err(format!("dial tcp {to}: i/o timeout")),
                }
            }
            Action::Sleep(span) => {
                let _ = timeout(patience, tokio::time::sleep(*span)).await;
                Ok(())
            }
            Action::Unknown(why) => Err((*why).to_owned()),
        }
    }

    async fn exec(&self, command: &[String], patience: Duration) -> Result<(), String> {
        let given = Given {
            stdin: Stdio::null(),
            stdout: Stdio::piped(),
            stderr: Stdio::piped(),
            terminal: false,
        };
        let (process, mut child) = enter(self.live, command, given).await.map_err(|error| {
            format!(
                "exec: {:?}: {}",
                command.first().map(String::as_str).unwrap_or_default(),
                plain(&error)
            )
        })?;
        let (mut said, mut more) = (Vec::new(), Vec::new());
        let out = child
            .stdout
            .take()
            .and_then(|out| pipe::Receiver::from_owned_fd(out.into()).ok());
        let err = child
            .stderr
            .take()
            .and_then(|err| pipe::Receiver::from_owned_fd(err.into()).ok());
        let ended = async {
            let mut outputs = std::pin::pin!(async { tokio::join!(read(out, &mut said), read(err, &mut more)) });
            tokio::select! {
                code = process.wait() => {
                    // What it left behind may hold the outputs open; what it said itself is there at once.
                    let _ = timeout(Duration::from_secs(1), &mut outputs).await;
                    code
                }
                _ = &mut outputs => process.wait().await,
            }
        };
        let Ok(code) = timeout(patience, ended).await else {
            let _ = process.signal(nix::libc::SIGKILL);
            let _ = process.wait().await;
            let words = command.join(" ");
            return Err(format!(
                "command timed out: \"{words}\" timed out after {}s",
                patience.as_secs()
            ));
        };
        let code = code.unwrap_or(255);
        said.extend_from_slice(&more);
        if code == 0 {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&said).into_owned())
        }
    }

    async fn http(&self, network: &Network, get: &HTTPGetAction) -> Result<(), String> {
        let url = self.url(get)?;
        let failed = |error: &dyn std::fmt::Display| format!("Get \"{url}\": {error}");
        if get.scheme.as_deref() == Some("HTTPS") {
            return Err(failed(&"HTTPS probes are not served by this node"));
        }
        let to = self.socket(get.host.as_deref(), &get.port)?;
        let stream = network
            .connect(to)
            .await
            .map_err(|e| failed(&format!("dial tcp {to}: connect: {}", plain(&e))))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| failed(&e))?;
        let driver = tokio_util::task::AbortOnDropHandle::new(spawn("connection of a probe", connection));
        let uri: Uri = url.parse().map_err(|e| failed(&e))?;
        let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        let mut request = Request::get(path)
            .header("user-agent", format!("kube-probe/1.{}", pgop_sandbox_kubelet::MINOR))
            .header("accept", "*/*");
        let mut host = to.to_string();
        for header in get.http_headers.iter().flatten() {
            if header.name.eq_ignore_ascii_case("host") {
                host.clone_from(&header.value);
            } else {
                request = request.header(&header.name, &header.value);
            }
        }
        let request = request
            .header("host", host)
            .body(Empty::<Bytes>::new())
            .map_err(|e| failed(&e))?;
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let status = response.status().as_u16();
        let _ = Limited::new(response.into_body(), 10 << 10).collect().await;
        drop(driver);
        if (200..400).contains(&status) {
            Ok(())
        } else {
            Err(format!("HTTP probe failed with statuscode: {status}"))
        }
    }

    fn url(&self, get: &HTTPGetAction) -> Result<String, String> {
        let path = get.path.as_deref().unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
        Ok(format!(
            "{scheme}://{}{slash}{path}",
            self.socket(get.host.as_deref(), &get.port)?
        ))
    }

    fn socket(&self, host: Option<&str>, port: &IntOrString) -> Result<SocketAddr, String> {
        let port = port_number(self.spec, port)?;
        let address = match host.filter(|h| !h.is_empty()) {
            None => self.pod.address.into(),
            Some(host) => host.parse().map_err(|_| format!("host {host:?} is not an address"))?,
        };
        Ok(SocketAddr::new(address, port))
    }
}

async fn read(from: Option<pipe::Receiver>, into: &mut Vec<u8>) {
    if let Some(from) = from {
        let mut limited = from.take(SAID);
        let _ = limited.read_to_end(into).await;
        // What is too long is thrown away, but the program must be able to write it.
        let _ = tokio::io::copy(limited.get_mut(), &mut tokio::io::sink()).await;
    }
}

/// A port by number or by the name that the container gives it.
fn port_number(spec: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = spec.ports.iter().flatten().find(|p| p.name.as_ref() == Some(name));
            named.map(|p| p.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.ok_or_else(|| match port {
        IntOrString::String(name) => format!("couldn't find port {name:?} in container {:?}", spec.name),
        IntOrString::Int(_) => String::new(),
    })?;
    u16::try_from(number)
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("invalid port number: {number}"))
}

/// An error as Go prints it: without the number that Rust adds.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::{Action, plain, port_number};
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    use serde_json::{from_value, json};
    use std::time::Duration;

    #[test]
    fn ports_have_numbers_or_names() {
        let spec = from_value(json!({"name": "c", "ports": [{"name": "admin", "containerPort": 8080}]})).unwrap();
        assert_eq!(port_number(&spec, &IntOrString::String("admin".into())), Ok(8080));
        assert_eq!(port_number(&spec, &IntOrString::String("81".into())), Ok(81));
        assert_eq!(port_number(&spec, &IntOrString::Int(5432)), Ok(5432));
        assert!(
            port_number(&spec, &IntOrString::String("none".into()))
                .unwrap_err()
                .contains("couldn't find port")
        );
        assert!(port_number(&spec, &IntOrString::Int(70_000)).is_err());
    }

    #[test]
    fn actions_are_read() {
        let hook = |value| Action::of_hook(&from_value(value).unwrap());
        assert!(matches!(hook(json!({"sleep": {"seconds": 3}})), Action::Sleep(s) if s == Duration::from_secs(3)));
        assert!(matches!(hook(json!({"exec": {"command": ["a", "b"]}})), Action::Exec(c) if c == ["a", "b"]));
        let probe = Action::of_probe(&from_value(json!({"grpc": {"port": 1}})).unwrap());
        assert!(matches!(probe, Action::Unknown(why) if why.contains("grpc")));
    }

    #[test]
    fn errors_read_as_the_kubelets() {
        assert_eq!(plain(&std::io::Error::from_raw_os_error(111)), "connection refused");
    }
}
