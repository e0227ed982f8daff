//! WebSocket handshakes: well formed, or none (RFC 6455, section 4.2.1; RFC 8441 for HTTP/2).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, Version, header, request::Parts};

use crate::intake::Malformed;

/// Whether a request is a WebSocket handshake. One that means to be and is not well formed is
/// an error; one that only carries an `Upgrade` header is an ordinary request, and the header
/// is taken out with the hop-by-hop ones.
pub(super) fn is_handshake(head: &Parts, has_body: bool) -> Result<bool, Malformed> {
    let version = head.headers.get_all(header::SEC_WEBSOCKET_VERSION);
    let right_version = || {
        let mut lines = version.iter();
        lines.next().is_some_and(|it| it.as_bytes() == b"13") && lines.next().is_none()
    };
    if head.version == Version::HTTP_2 {
        return match head.extensions.get::<hyper::ext::Protocol>() {
            None => Ok(false),
            Some(it) if it.as_str() != "websocket" => Err(Malformed::Method),
            Some(_) if right_version() && head.method == Method::CONNECT => Ok(true),
            Some(_) => Err(Malformed::Handshake),
        };
    }
    let asks = names(&head.headers, &header::UPGRADE, "websocket")
        && names(&head.headers, &header::CONNECTION, "upgrade");
    if !asks {
        return Ok(false);
    }
    let good = head.method == Method::GET
        && head.version == Version::HTTP_11
        && !has_body
        && right_version()
        && has_key(&head.headers);
    if good {
        Ok(true)
    } else {
        Err(Malformed::Handshake)
    }
}

/// Whether any of the lines of a list header has this token.
fn names(headers: &HeaderMap, header: &header::HeaderName, token: &str) -> bool {
    headers
        .get_all(header)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .any(|it| it.trim().eq_ignore_ascii_case(token))
}

/// One key of 16 bytes.
fn has_key(headers: &HeaderMap) -> bool {
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) => STANDARD.decode(key).is_ok_and(|it| it.len() == 16),
        _ => false,
    }
}
