//! A server whose pods run nothing: they answer what they were asked.
#![allow(clippy::disallowed_methods)] // a test sees a panic of its own tasks
#![allow(dead_code, clippy::unwrap_used)] // each test uses its part; one that can't go on has failed

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Client;
use kube::api::{Api, PostParams};
use pgop_sandbox_kubelet::{Duplex, Kubelet, KubeletError, LogOptions, Session, Streams, Target};
use pgop_sandbox_server::{Config, Server};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

/// Runs nothing: it answers what it was asked.
pub struct Echo;

#[async_trait]
impl Kubelet for Echo {
    async fn logs(
        &self,
        target: &Target,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, KubeletError> {
        if options.previous {
            return Err(KubeletError::NoPreviousRun {
                container: target.container.clone(),
                pod: target.pod.clone(),
            });
        }
        let lines = vec![
            Ok(Bytes::from(format!("{} {:?}\n", target.container, options.tail_lines))),
            Ok(Bytes::from("two\n")),
        ];
        Ok(futures::stream::iter(lines).boxed())
    }

    async fn exec(&self, target: &Target, command: Vec<String>, streams: Streams) -> Result<Session, KubeletError> {
        if command[0] == "missing" {
            return Err(KubeletError::Start {
                command: command[0].clone(),
                source: std::io::ErrorKind::NotFound.into(),
            });
        }
        let (input, mut from_client) = tokio::io::duplex(64);
        let (mut to_client, output) = tokio::io::duplex(64);
        let (ended, exit) = oneshot::channel();
        let told = format!("{}:{} ", target.container, command.join(" "));
        tokio::spawn(async move {
            to_client.write_all(told.as_bytes()).await.unwrap();
            if streams.stdin {
                tokio::io::copy(&mut from_client, &mut to_client).await.unwrap();
            }
            drop(to_client);
            let _ = ended.send(if command[0] == "fail" { 7 } else { 0 });
        });
        Ok(Session {
            stdin: streams.stdin.then(|| Box::new(input) as Box<_>),
            stdout: streams.stdout.then(|| Box::new(output) as Box<_>),
            stderr: None,
            resize: None,
            exit,
        })
    }

    async fn attach(&self, target: &Target, streams: Streams) -> Result<Session, KubeletError> {
        self.exec(target, vec!["attached".into()], streams).await
    }

    async fn connect(&self, _: &Target, port: u16) -> Result<Box<dyn Duplex>, KubeletError> {
        if port == 9 {
            return Err(KubeletError::Connect {
                port,
                pod: "a".into(),
                source: std::io::ErrorKind::ConnectionRefused.into(),
            });
        }
        let (near, far) = tokio::io::duplex(64);
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(far);
            writer.write_all(format!("port {port}: ").as_bytes()).await.unwrap();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
        Ok(Box::new(near))
    }

    /// A server that answers with the request it has got.
    async fn dial(&self, address: SocketAddr) -> std::io::Result<Box<dyn Duplex>> {
        if address.port() == 9 {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(far);
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(reader.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let upgrade = head.contains("upgrade: echo");
            let answer = match head.split(' ').nth(1).unwrap() {
                "/moved" => "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n".to_owned(),
                _ if upgrade => {
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n".to_owned()
                }
                _ => format!(
                    "HTTP/1.1 418 Teapot\r\nx-port: {}\r\ncontent-length: {}\r\n\r\n{head}",
                    address.port(),
                    head.len()
                ),
            };
            writer.write_all(answer.as_bytes()).await.unwrap();
            if upgrade {
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            }
        });
        Ok(Box::new(near))
    }
}

pub fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": "db"}}, "spec": {"containers": [{"name": "main", "image": "x"}]}})).unwrap()
}

pub async fn client() -> Client {
    server().await.client()
}

pub async fn server() -> Server {
    let server = Server::open(Config::default()).unwrap();
    server.set_kubelet(Arc::new(Echo));
    let client = server.client();
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    server
}

pub async fn running(client: &Client, name: &str) -> Api<Pod> {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.create(&PostParams::default(), &pod(name)).await.unwrap();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": "sandbox"}});
    let request = http::Request::post(format!("/api/v1/namespaces/default/pods/{name}/binding"))
        .header("content-type", "application/json");
    client
        .request_text(request.body(binding.to_string().into_bytes()).unwrap())
        .await
        .unwrap();
    pods
}
