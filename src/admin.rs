//! Health, readiness, metrics, on their own listener.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{body::Body, listen, telemetry::Metrics};

/// What the health checks ask about.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    draining: AtomicBool,
}

impl Health {
    /// Everything is up.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// No longer to be sent new visitors.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether visitors may come.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.draining.load(Ordering::Acquire)
    }
}

/// Binds the admin listener.
pub fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    // Without SO_REUSEPORT on purpose: a second gateway must not share this port unseen.
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until told to stop. Runs inside a `LocalSet`.
pub async fn serve(
    listener: std::net::TcpListener,
    health: Arc<Health>,
    metrics: Metrics,
    stop: CancellationToken,
    tasks: TaskTracker,
) -> std::io::Result<()> {
    let stopped = stop.clone();
    listen::accept(listener, stop, move |stream, _| {
        let (health, metrics, stop) = (Arc::clone(&health), metrics.clone(), stopped.clone());
        tasks.spawn_local(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(request.method(), request.uri().path(), &health, &metrics);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = stop.cancelled() => {}
                // Whoever asked and went away is no news.
                _ = connection => {}
            }
        });
    })
    .await
}

fn answer(method: &Method, path: &str, health: &Health, metrics: &Metrics) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        return plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD\n".to_owned(),
        );
    }
    match path {
        "/metrics" => {
            let mut response = plain(StatusCode::OK, metrics.render());
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                ),
            );
            response
        }
        "/health/live" => plain(StatusCode::OK, "live\n".to_owned()),
        "/health/ready" if health.is_ready() => plain(StatusCode::OK, "ready\n".to_owned()),
        "/health/ready" => plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
        _ => plain(StatusCode::NOT_FOUND, "not here\n".to_owned()),
    }
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_ready_when_it_is_up_and_not_draining() {
        let (health, metrics) = (Health::default(), Metrics::new());
        let status =
            |health: &Health| answer(&Method::GET, "/health/ready", health, &metrics).status();
        assert_eq!(status(&health), StatusCode::SERVICE_UNAVAILABLE);
        health.set_ready();
        assert_eq!(status(&health), StatusCode::OK);
        health.set_draining();
        assert_eq!(status(&health), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            answer(&Method::GET, "/health/live", &health, &metrics).status(),
            StatusCode::OK
        );
    }

    #[test]
    fn the_admin_listener_only_tells() {
        let response = answer(
            &Method::POST,
            "/metrics",
            &Health::default(),
            &Metrics::new(),
        );
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
