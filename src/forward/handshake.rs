//! Opens a WebSocket to the upstream: a connection of its own, the upgrade checked in full, the
//! raw streams handed over.

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, uri::PathAndQuery,
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::{
    body::Body,
    config::Limits,
    forward::{ForwardError, pool::dial},
    route::Upstream,
};

/// RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What the upstream said to a handshake.
#[derive(Debug)]
pub enum Answered {
    /// Yes: its raw stream, what was already read of it, and the headers for the client.
    Opened {
        /// The stream.
        stream: TcpStream,
        /// Bytes of frames that came with the answer.
        read: Bytes,
        /// `Sec-WebSocket-Accept`, `-Protocol`, and the tenant's own.
        headers: HeaderMap,
    },
    /// Anything else: an ordinary answer. No tunnel.
    Declined(Response<Body>),
}

/// Asks `upstream` for a WebSocket. `headers` are stripped and stamped and hold the client's
/// `Sec-WebSocket-Key`, `-Version` and `-Protocol`.
pub async fn handshake(
    upstream: &Upstream,
    target: String,
    mut headers: HeaderMap,
    limits: &Limits,
    tasks: &TaskTracker,
) -> Result<Answered, ForwardError> {
    // An extension would change what the frames mean, and we read them.
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let expected = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .map(|key| accept_for(key.as_bytes()))
        .ok_or(ForwardError::Nonsense)?;
    let offered = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .cloned()
        .collect::<Vec<_>>();

    let uri = Uri::from(PathAndQuery::try_from(target).map_err(|_| ForwardError::Target)?);
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;

    let stream = dial(upstream.address, limits.connect_timeout).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(ForwardError::Broken)?;
    tasks.spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "upstream handshake broke off"
            );
        }
    });
    let mut response = tokio::time::timeout(limits.response_timeout, sender.send_request(request))
        .await
        .map_err(|_| ForwardError::TooSlow)?
        .map_err(ForwardError::Broken)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Answered::Declined(response.map(Body::Incoming)));
    }
    if !is_good(response.headers(), &expected, &offered) {
        return Err(ForwardError::Nonsense);
    }
    let upgraded = hyper::upgrade::on(&mut response)
        .await
        .map_err(ForwardError::Broken)?;
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| ForwardError::Nonsense)?;
    Ok(Answered::Opened {
        stream: parts.io.into_inner(),
        read: parts.read_buf,
        headers: std::mem::take(response.headers_mut()),
    })
}

/// RFC 6455, section 4.1: what a client checks before it believes a 101.
fn is_good(headers: &HeaderMap, expected: &str, offered: &[HeaderValue]) -> bool {
    let only = |name: header::HeaderName| {
        let mut all = headers.get_all(name).iter();
        match (all.next(), all.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    };
    let upgrade = only(header::UPGRADE).is_some_and(|it| it.eq_ignore_ascii_case("websocket"));
    let connection = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .any(|it| it.trim().eq_ignore_ascii_case("upgrade"));
    let accept = only(header::SEC_WEBSOCKET_ACCEPT) == Some(expected);
    let extension = headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS);
    let protocol = !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL)
        || only(header::SEC_WEBSOCKET_PROTOCOL).is_some_and(|chosen| {
            offered
                .iter()
                .filter_map(|it| it.to_str().ok())
                .flat_map(|it| it.split(','))
                .any(|it| it.trim() == chosen)
        });
    upgrade && connection && accept && !extension && protocol
}

/// `Sec-WebSocket-Accept` for a key.
pub fn accept_for(key: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(GUID);
    STANDARD.encode(context.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        // RFC 6455, section 1.3.
        assert_eq!(
            accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn s8_a_101_is_believed_only_in_full() {
        let answer = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            is_good(&headers, "good", &[HeaderValue::from_static("a, b")])
        };
        let (up, con, acc) = (
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "good"),
        );
        assert!(answer(&[up, con, acc]));
        assert!(answer(&[up, con, acc, ("sec-websocket-protocol", "b")]));
        assert!(
            !answer(&[up, con, acc, ("sec-websocket-protocol", "c")]),
            "never offered"
        );
        assert!(!answer(&[
            up,
            con,
            acc,
            ("sec-websocket-extensions", "permessage-deflate")
        ]));
        assert!(!answer(&[up, con, ("sec-websocket-accept", "bad")]));
        assert!(!answer(&[up, acc]));
        assert!(!answer(&[con, acc]));
        assert!(!answer(&[up, con, acc, acc]), "repeated");
    }
}
