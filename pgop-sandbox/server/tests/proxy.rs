//! Requests that the server passes on to pods and services.
#![allow(clippy::unwrap_used)] // a test that can't go on has failed

mod echo;

use http::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use self::echo::{client, running};

const POD: &str = "/api/v1/namespaces/default/pods/a:8080/proxy";

struct Answer {
    code: StatusCode,
    location: String,
    text: String,
}

async fn ask(client: &Client, method: &str, path: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("accept", "text/html")
        .header("authorization", "Bearer secret")
        .header("impersonate-user", "jane")
        .header("impersonate-group", "system:masters")
        .body(Body::from(b"a body".to_vec()));
    let response = client.send(request.unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let location = head.headers.get("location").map(|to| to.to_str().unwrap().to_owned());
    let text = body.collect_bytes().await.unwrap();
    Answer {
        code: head.status,
        location: location.unwrap_or_default(),
        text: String::from_utf8(text.to_vec()).unwrap(),
    }
}

async fn with_pod() -> Client {
    let client = client().await;
    let pods = running(&client, "a").await;
    let status = json!({"status": {"phase": "Running", "podIP": "10.244.0.7", "podIPs": [{"ip": "10.244.0.7"}]}});
    pods.patch_status("a", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    client
}

#[tokio::test]
async fn a_request_goes_to_the_pod_as_it_is_but_for_who_sends_it() {
    let client = with_pod().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let answer = ask(&client, method, &format!("{POD}/a/%2e%2f//b/?c=%20&d")).await;
        assert_eq!(answer.code, 418, "{}", answer.text);
        let text = answer.text;
        assert!(
            text.starts_with(&format!("{method} /a/%2e%2f//b/?c=%20&d HTTP/1.1\r\n")),
            "{text}"
        );
        assert!(text.contains("accept: text/html"), "{text}");
        for secret in ["authorization", "impersonate"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[tokio::test]
async fn the_root_has_its_slash_and_redirects_stay_in_the_proxy() {
    let client = with_pod().await;
    let answer = ask(&client, "GET", &format!("{POD}?a=b")).await;
    assert_eq!((answer.code.as_u16(), answer.location), (301, format!("{POD}/?a=b")));
    let answer = ask(&client, "POST", POD).await;
    assert!(answer.text.starts_with("POST / HTTP/1.1\r\n"), "{}", answer.text);
    let answer = ask(&client, "GET", &format!("{POD}/moved")).await;
    assert_eq!((answer.code.as_u16(), answer.location), (302, format!("{POD}/login")));
}

#[tokio::test]
async fn what_cannot_be_reached_is_told() {
    let client = with_pod().await;
    running(&client, "new").await;
    let told = async |path: &str| {
        let answer = ask(&client, "GET", &format!("/api/v1/namespaces/default/{path}")).await;
        let status: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(status["code"], answer.code.as_u16());
        (answer.code.as_u16(), status["message"].as_str().unwrap().to_owned())
    };
    let (code, message) = told("pods/a:9/proxy/").await;
    assert!(
        code == 503 && message.contains("error trying to reach service"),
        "{message}"
    );
    assert_eq!(
        told("pods/ftp:a:9/proxy/").await,
        (400, "invalid pod request \"ftp:a:9\"".into())
    );
    assert_eq!(told("pods/b:9/proxy/").await, (404, "pods \"b\" not found".into()));
    assert_eq!(told("pods/new:9/proxy/").await, (400, "address not allowed".into()));
    assert_eq!(
        told("services/b:80/proxy/").await,
        (404, "services \"b\" not found".into())
    );
    assert_eq!(told("configmaps/b/proxy/").await.0, 404);
}

#[tokio::test]
async fn a_service_is_one_of_its_pods() {
    let client = with_pod().await;
    let create = async |plural: &str, object: serde_json::Value| {
        let request =
            Request::post(format!("/api/v1/namespaces/default/{plural}")).header("content-type", "application/json");
        client
            .request_text(request.body(object.to_string().into_bytes()).unwrap())
            .await
            .unwrap();
    };
    create(
        "services",
        json!({"metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}),
    )
    .await;
    let path = "/api/v1/namespaces/default/services/web:80/proxy/x";
    let answer = ask(&client, "GET", path).await;
    assert!(
        answer.code == 503 && answer.text.contains("no endpoints available"),
        "{}",
        answer.text
    );
    create("endpoints", json!({"metadata": {"name": "web"}, "subsets": [{"addresses": [{"ip": "10.244.0.7"}], "ports": [{"name": "http", "port": 8080}]}]})).await;
    let answer = ask(&client, "GET", path).await;
    assert!(answer.text.starts_with("GET /x HTTP/1.1\r\n"), "{}", answer.text);
}

#[tokio::test]
async fn a_connection_can_be_taken_over() {
    let client = with_pod().await;
    let request = Request::get(format!("{POD}/"))
        .header("connection", "Upgrade")
        .header("upgrade", "echo");
    let response = client.send(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 101);
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}
