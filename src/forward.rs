//! Carries it there and back: pool, headers, bodies.
//!
//! Nothing is buffered and nothing copied: hyper reads and writes the pieces, we look at the
//! clock and the session between them.

use std::{cell::Cell, rc::Rc, time::Duration};

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, uri::PathAndQuery};
use http_body::Body as _;
use hyper::{body::Incoming, client::conn::http1::SendRequest};

use crate::{
    authz::{Over, Vigil},
    body::Body,
    config::Limits,
    route::Upstream,
};

pub mod clean;
pub mod handshake;
pub mod pool;
pub mod stamp;
mod stream;

pub use pool::Pool;

/// What is to be sent.
#[derive(Debug)]
pub struct Outbound {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Stripped and stamped.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// It cannot be connected to.
    #[error("the upstream cannot be reached")]
    Unreachable(#[source] std::io::Error),
    /// It broke off.
    #[error("the upstream broke off")]
    Broken(#[source] hyper::Error),
    /// It did not begin to answer in time.
    #[error("the upstream took too long")]
    TooSlow,
    /// It answered what cannot be passed on: 101 to no upgrade, a wrong accept key.
    #[error("the upstream's answer makes no sense")]
    Nonsense,
    /// The request's own target cannot be written again.
    #[error("the request target cannot be forwarded")]
    Target,
    /// More body than is let through.
    #[error("the request's body is too large")]
    TooLarge,
    /// It was over before the answer began.
    #[error(transparent)]
    Over(#[from] Over),
}

/// How long we wait before a pending answer is also woken by the session's end. Most answers
/// are there long before, and cost no wake-up.
const QUICK: Duration = Duration::from_millis(100);

/// Sends a request to `upstream` and gives its answer as it comes. The body's pieces, both
/// ways, pass only while `vigil` holds.
pub async fn send(
    pool: &Rc<Pool>,
    upstream: &Upstream,
    mut vigil: Vigil,
    outbound: Outbound,
    limits: &Limits,
) -> Result<Response<Body>, ForwardError> {
    if limits.body > 0 && outbound.body.size_hint().lower() > limits.body {
        return Err(ForwardError::TooLarge);
    }
    let uri = Uri::from(PathAndQuery::try_from(outbound.target).map_err(|_| ForwardError::Target)?);
    let sent = Rc::new(Cell::new(outbound.body.is_end_stream()));
    let body = if sent.get() {
        Body::Empty
    } else {
        Body::stream(stream::Upload::new(
            outbound.body,
            vigil.clone(),
            Rc::clone(&sent),
            limits,
        ))
    };
    let mut request = Request::new(body);
    *request.method_mut() = outbound.method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = outbound.headers;

    let (response, sender) = exchange(pool, upstream, request, &mut vigil, limits).await?;
    // The answer may have been on its way when the session ended: nothing of it passes.
    vigil.check(vigil.now())?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ForwardError::Nonsense);
    }
    Ok(response.map(|body| {
        let keep = stream::Keep::new(Rc::clone(pool), upstream.address, sender, sent);
        stream::download(body, vigil, keep, limits)
    }))
}

async fn exchange(
    pool: &Rc<Pool>,
    upstream: &Upstream,
    mut request: Request<Body>,
    vigil: &mut Vigil,
    limits: &Limits,
) -> Result<(Response<Incoming>, SendRequest<Body>), ForwardError> {
    loop {
        let (mut sender, is_fresh) = match pool.take(upstream.address) {
            Some(sender) => (sender, false),
            None => (
                pool.connect(upstream.address, limits.connect_timeout)
                    .await?,
                true,
            ),
        };
        let mut pending = std::pin::pin!(sender.try_send_request(request));
        let patience = limits.response_timeout;
        let answer = match tokio::time::timeout(QUICK, pending.as_mut()).await {
            Ok(answer) => answer,
            Err(_) => tokio::select! {
                over = vigil.over() => match over {
                    // A request in hand is finished while we drain.
                    Over::Draining => tokio::time::timeout(patience, pending).await.map_err(|_| ForwardError::TooSlow)?,
                    over => return Err(over.into()),
                },
                answer = tokio::time::timeout(patience, pending.as_mut()) => {
                    answer.map_err(|_| ForwardError::TooSlow)?
                }
            },
        };
        match answer {
            Ok(response) => return Ok((response, sender)),
            Err(mut error) => match error.take_message() {
                // Nothing of it was sent: the connection had gone away while it rested.
                Some(unsent) if !is_fresh => request = unsent,
                _ => return Err(ForwardError::Broken(error.into_error())),
            },
        }
    }
}
