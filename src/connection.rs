//! One client connection, from handshake to goodbye.

use std::{cell::RefCell, convert::Infallible, net::SocketAddr, rc::Rc};

use http::Request;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_util::task::TaskTracker;

use crate::{
    body::Body,
    config::Limits,
    intake::{
        Arrival,
        wire::{Bounds, Guarded, Watch},
    },
    pipeline::{Pipeline, Place, Visitor},
    tls::{Spoken, Tls},
};

/// Serves one TLS connection to its end.
pub async fn serve_tls(
    pipeline: Rc<Pipeline>,
    tls: Tls,
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    let place = pipeline.place(permit);
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let secured = match tls.secure(stream).await {
        Ok(secured) => secured,
        Err(error) => {
            // Scanners do this all day long.
            tracing::debug!(%peer, error = &error as &dyn std::error::Error, "no TLS");
            return;
        }
    };
    let arrival = Arrival {
        peer,
        local,
        tls: Some(secured.server_name),
    };
    match secured.spoken {
        Spoken::Http1 => serve_http1(pipeline, arrival, place, secured.stream).await,
        Spoken::Http2 => serve_http2(pipeline, arrival, place, secured.stream).await,
    }
}

/// Serves one plain connection to its end: redirects, and the plain hosts of open mode.
pub async fn serve_plain(
    pipeline: Rc<Pipeline>,
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    let place = pipeline.place(permit);
    let Ok(local) = stream.local_addr() else {
        return;
    };
    serve_http1(
        pipeline,
        Arrival {
            peer,
            local,
            tls: None,
        },
        place,
        stream,
    )
    .await;
}

fn visitor(arrival: Arrival, place: Rc<Place>, watch: Option<Watch>) -> Rc<Visitor> {
    Rc::new(Visitor {
        arrival,
        remembered: RefCell::default(),
        watch,
        place,
    })
}

async fn serve_http1<IO>(pipeline: Rc<Pipeline>, arrival: Arrival, place: Rc<Place>, stream: IO)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = pipeline.limits();
    let (stop, peer) = (pipeline.draining().clone(), arrival.peer);
    let bounds = Bounds {
        head: limits.head,
        line: limits.header,
        lines: limits.headers,
    };
    let (guarded, watch) = Guarded::new(stream, bounds);
    let visitor = visitor(arrival, place, Some(watch));
    let service = service_fn(move |request: Request<Incoming>| {
        let (pipeline, visitor) = (Rc::clone(&pipeline), Rc::clone(&visitor));
        async move {
            Ok::<_, Infallible>(
                pipeline
                    .answer::<IO>(&visitor, request.map(Body::Incoming))
                    .await,
            )
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .half_close(false)
            .serve_connection(TokioIo::new(guarded), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "connection broke off");
    }
}

async fn serve_http2<IO>(pipeline: Rc<Pipeline>, arrival: Arrival, place: Rc<Place>, stream: IO)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = pipeline.limits();
    let (stop, peer) = (pipeline.draining().clone(), arrival.peer);
    let executor = Local(pipeline.tasks.clone());
    let visitor = visitor(arrival, place, None);
    let service = service_fn(move |request: Request<Incoming>| {
        let (pipeline, visitor) = (Rc::clone(&pipeline), Rc::clone(&visitor));
        // Boxed: hyper moves it three times on its way into a task, and it is large.
        Box::pin(async move {
            Ok::<_, Infallible>(
                pipeline
                    .answer::<IO>(&visitor, request.map(Body::Incoming))
                    .await,
            )
        })
    });
    let mut connection = std::pin::pin!(
        http2::Builder::new(executor)
            .timer(TokioTimer::new())
            // WebSockets over it (RFC 8441), judged as over HTTP/1.
            .enable_connect_protocol()
            .max_concurrent_streams(128)
            .max_header_list_size(header_list(&limits))
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(256)
            .keep_alive_interval(limits.keep_alive)
            .keep_alive_timeout(limits.handshake_timeout)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "connection broke off");
    }
}

fn header_list(limits: &Limits) -> u32 {
    u32::try_from(limits.head).unwrap_or(u32::MAX)
}

/// Puts hyper's tasks beside ours, on this core.
#[derive(Clone, Debug)]
struct Local(TaskTracker);

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn_local(task);
    }
}
