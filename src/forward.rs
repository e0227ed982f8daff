//! Carries it there and back: pool, headers, bodies.
//!
//! [`send`] takes one request to one upstream and gives its answer back, streaming both ways.
//! What goes under a [`Vigil`] is asked about at every piece, and ends when it is over.
//! [`handshake()`] does the same for a WebSocket's handshake and gives the raw connection back.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use http::{HeaderName, Method, Request, Response, StatusCode, header, uri::PathAndQuery};
use http_body::Body as _;

use crate::{
    authz::{Over, Vigil},
    body::Body,
    intake::Inbound,
    route::{HostRoute, PathMatch, PathRoute, Upstream},
};

mod aim;
pub mod clean;
mod handshake;
mod pool;
pub mod stamp;
mod stream;

pub use handshake::{Opened, Shaken, handshake};
pub use pool::{Choice, Patience, Pool};
pub use stamp::Stamp;

use stream::{Broke, Download, Upload};

/// Where one request goes, and under what.
#[derive(Debug)]
pub struct Errand<'a> {
    /// The host's route.
    pub route: &'a HostRoute,
    /// The path's route.
    pub path: &'a PathRoute,
    /// Which of its upstreams; [`Pool::choose`] picks one.
    pub upstream: &'a Upstream,
    /// What the gateway says of the request.
    pub stamp: Stamp,
    /// Goes on asking while it is under way; `None` where nothing is guarded.
    pub vigil: Option<Vigil>,
}

/// Why there is no answer from the upstream.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The upstream cannot be connected to. 502.
    #[error("the upstream cannot be reached")]
    Unreachable(#[source] io::Error),
    /// Connecting took too long. 504.
    #[error("the upstream did not accept the connection in time")]
    ConnectTimeout,
    /// It took too long to begin its answer. 504.
    #[error("the upstream did not answer in time")]
    ResponseTimeout,
    /// The exchange broke off, or what came back was not HTTP. 502.
    #[error("the exchange with the upstream broke off")]
    Broken(#[source] hyper::Error),
    /// It switched protocols although nobody asked, or not to what was asked for. 502.
    #[error("the upstream switched protocols wrongly")]
    Switched,
    /// The request's body is larger than is let through. 413.
    #[error("the request's body is too large")]
    BodyTooLarge,
    /// The request's body stalled. 408.
    #[error("the request's body stalled")]
    BodyStalled,
    /// The request's body broke off: the visitor went away, or its framing was wrong. 400.
    #[error("the request's body broke off")]
    BodyBroken,
    /// A service worker's script, where there may be none. 403.
    #[error("service workers are not let through here")]
    ServiceWorker,
    /// What it went under is over: as if it had just been asked for.
    #[error(transparent)]
    Over(#[from] Over),
}

const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// A vigil that the two directions of one exchange share.
pub(crate) type Shared = Rc<RefCell<Vigil>>;

/// How long an answer is awaited before a waiting request begins to listen for its session's
/// end: most are answered sooner, and need not pay for it.
const UNHURRIED: Duration = Duration::from_millis(100);

/// Takes a request to its upstream and brings the answer back.
pub async fn send(
    pool: &Rc<Pool>,
    errand: Errand<'_>,
    inbound: Box<Inbound>,
) -> Result<Response<Body>, ForwardError> {
    refuse_service_worker(errand.route, &inbound)?;
    let vigil: Option<Shared> = errand.vigil.map(|it| Rc::new(RefCell::new(it)));
    let trip = Trip {
        clean: clean::Rules::of(errand.route, &errand.stamp, &inbound),
        patience: pool.patience(),
        vigil: vigil.clone(),
    };
    let (request, broke) = request(&trip, errand.path, errand.stamp, inbound)?;
    let exchange = pool.exchange(errand.upstream.address, request);
    let answered = await_answer(exchange, &trip, &broke).await;
    // First: a tenant that hangs up because the session ended is no broken tenant.
    if let Some(vigil) = &vigil {
        check(vigil)?;
    }
    let (response, mut conn) = answered?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ForwardError::Switched);
    }
    conn.upload = Some(broke);
    Ok(trip.answer(response, Some((pool.clone(), conn))))
}

/// What both directions of one exchange have to know.
struct Trip {
    clean: clean::Rules,
    patience: Patience,
    vigil: Option<Shared>,
}

impl Trip {
    /// The answer as the visitor gets it.
    fn answer(
        &self,
        response: Response<hyper::body::Incoming>,
        conn: Option<(Rc<Pool>, pool::Conn)>,
    ) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        clean::clean(&mut head, &self.clean);
        let endless = head
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|it| it.as_bytes().starts_with(b"text/event-stream"));
        let download = Download::new(body, self.vigil.clone(), conn);
        let body = if download.is_end_stream() {
            download.finish();
            Body::Empty
        } else {
            let patience = (!endless).then_some(self.patience.stream);
            Body::stream(download.patient(patience))
        };
        Response::from_parts(head, body)
    }
}

/// The request as the upstream gets it, and what is known of its body's fate.
fn request(
    trip: &Trip,
    path: &PathRoute,
    stamp: Stamp,
    inbound: Box<Inbound>,
) -> Result<(Request<Body>, Rc<Broke>), ForwardError> {
    let broke = Rc::new(Broke::default());
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = aim::target(path, &inbound)?.into();
    *request.method_mut() = inbound.method.clone();
    let (headers, body) = stamp.onto(*inbound);
    *request.headers_mut() = headers;
    if body.is_end_stream() {
        broke.finish();
    } else {
        let upload = Upload::new(body, trip.vigil.clone(), trip.patience, broke.clone());
        *request.body_mut() = Body::stream(upload);
    }
    Ok((request, broke))
}

type Answered = (Response<hyper::body::Incoming>, pool::Conn);

/// Waits for the answer's head: as long as patience lasts after the last piece of the request's
/// body, and only while what it goes under holds.
async fn await_answer(
    exchange: impl Future<Output = Result<Answered, ForwardError>>,
    trip: &Trip,
    broke: &Broke,
) -> Result<Answered, ForwardError> {
    let mut exchange = std::pin::pin!(exchange);
    let first = tokio::time::timeout(UNHURRIED.min(trip.patience.response), &mut exchange);
    let outcome = match first.await {
        Ok(outcome) => outcome,
        Err(_) => Box::pin(await_longer(exchange, trip, broke)).await?,
    };
    // The visitor's own fault, if it was, tells more than the upstream's.
    outcome.map_err(|error| broke.why().unwrap_or(error))
}

async fn await_longer(
    mut exchange: std::pin::Pin<&mut impl Future<Output = Result<Answered, ForwardError>>>,
    trip: &Trip,
    broke: &Broke,
) -> Result<Result<Answered, ForwardError>, ForwardError> {
    loop {
        let moved = broke.moved();
        let patience = tokio::time::sleep(trip.patience.response);
        tokio::select! {
            biased;
            outcome = &mut exchange => return Ok(outcome),
            over = over(trip.vigil.as_ref()) => return Err(over.into()),
            () = patience => {
                if broke.moved() == moved {
                    return Err(ForwardError::ResponseTimeout);
                }
            }
        }
    }
}

/// Ready when what a vigil watches over is over. A drain does not count: what is in hand is
/// finished.
async fn over(vigil: Option<&Shared>) -> Over {
    let Some(vigil) = vigil else {
        return std::future::pending().await;
    };
    loop {
        if let Err(over) = check(vigil) {
            return over;
        }
        let draining = vigil.borrow().is_draining();
        if draining {
            return std::future::pending().await;
        }
        let alarm = vigil.borrow().alarm();
        alarm.await;
    }
}

/// Whether the next piece may pass.
fn check(vigil: &Shared) -> Result<(), Over> {
    let mut vigil = vigil.borrow_mut();
    let now = vigil.now();
    vigil.check(now)
}

/// A service worker of a tenant may not watch our own paths, nor be where the file says none.
fn refuse_service_worker(route: &HostRoute, inbound: &Inbound) -> Result<(), ForwardError> {
    let is_script = inbound
        .headers
        .get(SERVICE_WORKER)
        .is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"script"));
    let is_ours = || inbound.target.as_str().starts_with("/.portcullis/");
    if is_script && (route.settings.service_workers == Some(false) || is_ours()) {
        return Err(ForwardError::ServiceWorker);
    }
    Ok(())
}

impl PathRoute {
    /// What `dest` replaces, where it replaces anything.
    fn replaced(&self) -> Option<(&str, &str)> {
        match (&self.matches, &self.dest) {
            (PathMatch::Exact(text) | PathMatch::Prefix { text, .. }, Some(dest)) => {
                Some((text, dest))
            }
            (PathMatch::Regex(_), _) | (_, None) => None,
        }
    }
}

/// A small request of our own to an upstream: the end of a polling connection. Its answer is
/// not looked at.
pub async fn post(
    pool: &Rc<Pool>,
    upstream: std::net::SocketAddr,
    target: String,
    body: bytes::Bytes,
) -> Result<(), ForwardError> {
    let mut request = Request::new(Body::full(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = PathAndQuery::try_from(target)
        .map_err(|_| ForwardError::BodyBroken)?
        .into();
    let headers = request.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain;charset=UTF-8"),
    );
    if let Ok(host) = http::HeaderValue::try_from(upstream.to_string()) {
        headers.insert(header::HOST, host);
    }
    let patience = pool.patience().response;
    let (_, conn) = tokio::time::timeout(patience, pool.exchange(upstream, request))
        .await
        .map_err(|_| ForwardError::ResponseTimeout)??;
    drop(conn);
    Ok(())
}

#[cfg(test)]
mod tests;
