//! The demo's built-in tenant: one page and a Socket.IO echo.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The page, its script and its style: our own. The Socket.IO client is the official one, put
/// beside the demo's data by `make demo`.
const PAGE: &str = include_str!("../../web/demo/index.html");
const SCRIPT: &str = include_str!("../../web/demo/demo.js");
const STYLE: &str = include_str!("../../web/demo/demo.css");

/// Serves until told to stop. `client` is the official `socket.io.min.js`, if it is there.
pub async fn serve(
    listener: TcpListener,
    client: Option<Bytes>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let client = Arc::new(client);
    let pages = service_fn(move |request: Request<Incoming>| {
        let client = Arc::clone(&client);
        async move {
            Ok::<_, Infallible>(page(
                request.uri().path(),
                request.headers(),
                (*client).as_ref(),
            ))
        }
    });
    let (service, io) = SocketIo::new_inner_svc(pages);
    io.ns("/", echo);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            it = listener.accept() => it,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (service, stop) = (service.clone(), stop.clone());
        tasks.spawn(async move {
            let connection = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::select! {
                () = stop.cancelled() => {}
                // A visitor who goes away in mid-request is no news.
                _ = connection => {}
            }
        });
    }
    io.close().await;
}

/// Says everything back: with an acknowledgement where one was asked for.
async fn echo(socket: SocketRef) {
    socket.on(
        "say",
        async |socket: SocketRef, Data::<serde_json::Value>(said), ack: AckSender| {
            let answer = serde_json::json!({ "echo": said });
            // Whoever has left in the meantime hears no echo.
            let _ = socket.emit("said", &answer);
            let _ = ack.send(&answer);
        },
    );
}

fn page(path: &str, headers: &HeaderMap, client: Option<&Bytes>) -> Response<Full<Bytes>> {
    let (kind, text) = match path {
        "/" => ("text/html; charset=utf-8", Bytes::from(greet(headers))),
        "/demo.js" => (
            "text/javascript; charset=utf-8",
            Bytes::from_static(SCRIPT.as_bytes()),
        ),
        "/demo.css" => (
            "text/css; charset=utf-8",
            Bytes::from_static(STYLE.as_bytes()),
        ),
        "/socket.io.min.js" => match client {
            Some(script) => ("text/javascript; charset=utf-8", script.clone()),
            None => return missing(),
        },
        "/whoami" => (
            "text/plain; charset=utf-8",
            Bytes::from(user(headers).to_owned()),
        ),
        _ => return missing(),
    };
    let mut response = Response::new(Full::new(text));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn missing() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"not here\n")));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn user(headers: &HeaderMap) -> &str {
    headers
        .get("remote-user")
        .and_then(|it| it.to_str().ok())
        .unwrap_or("nobody")
}

/// The page, with the name that the gateway gave. (A user name holds nothing that HTML minds.)
fn greet(headers: &HeaderMap) -> String {
    let name: String = user(headers)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "._@+-".contains(*c))
        .collect();
    PAGE.replace("{{user}}", &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_greets_whom_the_gateway_names_and_nothing_else() {
        let mut headers = HeaderMap::new();
        headers.insert("remote-user", HeaderValue::from_static("al<i>ce"));
        let page = greet(&headers);
        assert!(
            page.contains("alice"),
            "only the characters of a name are left"
        );
        assert!(!page.contains("{{user}}"));
    }
}
