//! The server as the transport of a client in the same process.

use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use kube::client::Body as RequestBody;
use pgop_sandbox_tasks::spawn;

use crate::Service;
use crate::response::Body;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Calls the service. Only requests that take over their connection (exec, port-forward) need one: they get a pipe.
#[derive(Clone)]
pub(crate) struct Local(pub(crate) Service);

impl tower::Service<Request<RequestBody>> for Local {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        if request.headers().contains_key(header::UPGRADE) {
            return over_pipe(self.0.clone(), request).boxed();
        }
        self.0
            .call(request)
            .map(|answer| answer.map_err(|never| match never {}))
            .boxed()
    }
}

async fn over_pipe(service: Service, request: Request<RequestBody>) -> Result<Response<Body>, BoxError> {
    const BUFFER: usize = 64 << 10;
    let (near, far) = tokio::io::duplex(BUFFER);
    let server = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(far), TowerToHyperService::new(service))
        .with_upgrades();
    spawn("connection in process, served", server);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
    spawn("connection in process", connection.with_upgrades());
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
}
