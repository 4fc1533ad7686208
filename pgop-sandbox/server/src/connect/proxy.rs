//! Requests passed on to what listens in a pod or behind a service:
//! <https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls>.
//!
//! Links in pages are not rewritten, redirects are.

mod target;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, request::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pgop_sandbox_kubelet::Duplex;
use pgop_sandbox_tasks::spawn;
use tokio::time::timeout;

use self::target::{Scheme, Target};
use super::{kubelet, reason};
use crate::call::Call;
use crate::response::{self, Body};
use crate::status::{ApiError, Result};

/// Headers that are about one connection, not about what it carries: <https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1>.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// How long an address may take to answer at all.
const CONNECT: Duration = Duration::from_secs(30);

/// Answers with what the pod or service of the path answers.
pub(crate) async fn proxy<B>(call: &Call, parts: &Parts, upgrade: Option<OnUpgrade>, body: B) -> Result<Response<Body>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let target = target::of(call)?;
    let asked_upgrade = parts.headers.get(header::UPGRADE).cloned();
    let rest = call.path.rest.as_str();
    if rest.is_empty() && asked_upgrade.is_none() && matches!(parts.method, Method::GET | Method::HEAD) {
        return redirect(&parts.uri);
    }
    let prefix = parts.uri.path().strip_suffix(rest).unwrap_or_default();
    let mut request = Request::new(body.map_err(Into::into).boxed_unsync());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = passed_on(rest, parts.uri.query())?;
    *request.headers_mut() = headers(parts);
    if let Some(protocol) = asked_upgrade.clone() {
        request
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(header::UPGRADE, protocol);
    }
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let mut response = send(call, &target, request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        join(upgrade, &mut response);
    } else {
        for name in &HOP_BY_HOP {
            response.headers_mut().remove(name);
        }
        relocate(&mut response, prefix, host);
    }
    Ok(response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
}

/// The root of a server ends with a slash, else the links in its pages lead elsewhere.
fn redirect(uri: &Uri) -> Result<Response<Body>> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let to = HeaderValue::from_str(&format!("{}/{query}", uri.path())).map_err(|error| ApiError::internal(&error))?;
    let mut response = response::text(StatusCode::MOVED_PERMANENTLY, "");
    response.headers_mut().insert(header::LOCATION, to);
    Ok(response)
}

fn passed_on(rest: &str, query: Option<&str>) -> Result<Uri> {
    let path = if rest.is_empty() { "/" } else { rest };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let path = PathAndQuery::try_from(format!("{path}{query}"))
        .map_err(|error| ApiError::bad_request(format!("invalid path {path:?}: {error}")))?;
    Ok(Uri::from(path))
}

/// The sender's headers without those that were for this server: who they are is not for pods to know.
fn headers(parts: &Parts) -> HeaderMap {
    let mut headers = parts.headers.clone();
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let impersonation = headers
        .keys()
        .filter(|name| name.as_str().starts_with("impersonate-"))
        .cloned();
    let dropped: Vec<HeaderName> = impersonation
        .chain(named)
        .chain(HOP_BY_HOP)
        .chain([header::AUTHORIZATION])
        .collect();
    for name in &dropped {
        headers.remove(name);
    }
    let host = headers.get(header::HOST).cloned().or_else(|| {
        let authority = parts.uri.authority()?;
        HeaderValue::from_str(authority.as_str()).ok()
    });
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host.clone());
        headers.insert(header::HOST, host);
    }
    if let Ok(uri) = HeaderValue::from_str(parts.uri.path()) {
        headers.insert("x-forwarded-uri", uri);
    }
    headers
}

type Outgoing = http_body_util::combinators::UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

async fn send(call: &Call, target: &Target, request: Request<Outgoing>) -> Result<Response<Incoming>> {
    let unreachable =
        |error: &dyn std::fmt::Display| ApiError::unreachable(format!("error trying to reach service: {error}"));
    let address = target.address;
    let kubelet = kubelet(call)?;
    let dialled = timeout(CONNECT, async {
        let stream = kubelet.dial(address).await?;
        Ok(match target.scheme {
            Scheme::Http => stream,
            Scheme::Https => tls::over(stream, address.ip()).await?,
        })
    });
    let stream: Box<dyn Duplex> = dialled
        .await
        .unwrap_or_else(|_| Err(std::io::Error::other("i/o timeout")))
        .map_err(|error| unreachable(&format!("dial tcp {address}: connect: {}", reason(&error))))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(&error))?;
    spawn("proxy", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "proxy: the connection broke");
        }
    });
    sender.send_request(request).await.map_err(|error| unreachable(&error))
}

/// Carries both ways what the two ends have agreed on.
fn join(ours: Option<OnUpgrade>, response: &mut Response<Incoming>) {
    let theirs = hyper::upgrade::on(response);
    let Some(ours) = ours else { return };
    spawn("upgraded proxy", async move {
        let carried = async {
            let (ours, theirs) = futures::future::try_join(ours, theirs)
                .await
                .map_err(std::io::Error::other)?;
            tokio::io::copy_bidirectional(&mut TokioIo::new(ours), &mut TokioIo::new(theirs)).await
        };
        if let Err(error) = carried.await {
            tracing::debug!(%error, "proxy: the upgraded connection broke");
        }
    });
}

/// A redirect within the server leads through the proxy again.
fn relocate(response: &mut Response<Incoming>, prefix: &str, host: Option<&str>) {
    let moved = response
        .headers()
        .get(header::LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| moved(location, prefix, host))
        .and_then(|location| HeaderValue::from_str(&location).ok());
    if let Some(location) = moved {
        response.headers_mut().insert(header::LOCATION, location);
    }
}

/// Where a redirect leads, if it has to be changed: only to an absolute path on the same server.
fn moved(location: &str, prefix: &str, host: Option<&str>) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let same = uri.authority().is_none_or(|authority| Some(authority.as_str()) == host);
    let path = uri.path_and_query()?.as_str();
    (same && path.starts_with('/') && !path.starts_with(prefix)).then(|| format!("{prefix}{path}"))
}

#[cfg(test)]
mod tests {
    use super::{moved, passed_on};

    #[test]
    fn paths_and_queries_are_passed_on_as_they_are() {
        assert_eq!(passed_on("", None).unwrap(), "/");
        assert_eq!(
            passed_on("/a/../%2f//b/", Some("c=%20d&e")).unwrap(),
            "/a/../%2f//b/?c=%20d&e"
        );
    }

    #[test]
    fn redirects_within_a_server_lead_through_the_proxy() {
        let prefix = "/api/v1/namespaces/a/pods/b/proxy";
        let to = |location| moved(location, prefix, Some("127.0.0.1:6443"));
        assert_eq!(to("/login?x=1").unwrap(), format!("{prefix}/login?x=1"));
        assert_eq!(to("https://127.0.0.1:6443/x").unwrap(), format!("{prefix}/x"));
        assert_eq!(to("https://example.com/x"), None);
        assert_eq!(to(&format!("{prefix}/x")), None);
    }
}
