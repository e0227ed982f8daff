//! Admission: what comes in is well formed, or goes no further.

use http::{HeaderMap, Method, Request, Uri, Version, header, request::Parts};
use http_body::Body as _;
use ipnet::IpNet;

use crate::{
    body::Body,
    intake::{
        Arrival, Credentials, Inbound, Malformed, client, credentials, handshake, host, path,
    },
    name::HostName,
    random,
};

/// What admission has to know; the same for all requests under one configuration.
#[derive(Debug, Clone)]
pub struct IntakeFacts {
    /// Whose `X-Forwarded-*` count.
    pub trusted_proxies: Vec<IpNet>,
    /// Largest body, in bytes; 0: any.
    pub body: u64,
    /// Whether credentials of ours exist at all: they are taken out on every host of a guarded
    /// gateway, and left alone in open mode.
    pub guarded: bool,
    /// Whether an `Authorization` value carries a token of ours: `token::is_ours`.
    pub is_ours: fn(&str) -> bool,
}

/// The longest method that is served, in bytes.
const LONGEST_METHOD: usize = 20;

/// Lets a request in, or says what is wrong with its form.
pub fn admit(
    raw: Request<Body>,
    arrival: &Arrival,
    facts: &IntakeFacts,
) -> Result<Inbound, Malformed> {
    let (mut head, body) = raw.into_parts();
    let length = content_length(&head.headers)?;
    let has_body = !body.is_end_stream() && length != Some(0);
    let http2 = head.version == Version::HTTP_2;
    // The `:method` of a WebSocket over HTTP/2 is CONNECT.
    let websocket = handshake::is_handshake(&head, has_body && !http2)?;
    check_method(&head.method, websocket)?;
    let (host, port) = find_host(&head)?;
    check_server_name(arrival, &host)?;
    if facts.body > 0 && length.is_some_and(|it| it > facts.body) {
        return Err(Malformed::BodyTooLarge);
    }
    let target = find_target(&head.uri)?;
    let path = path::decide(head.uri.path())?;
    let upgrade = websocket.then(|| {
        let on = head.extensions.remove::<hyper::upgrade::OnUpgrade>();
        head.extensions.clear();
        on
    });
    let mut headers = head.headers;
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    credentials::join_cookies(&mut headers);
    let credentials = if facts.guarded {
        credentials::take(&mut headers, facts.is_ours)
    } else {
        Credentials::default()
    };
    let (client, forwarded) = client::find(arrival.peer, &headers, &facts.trusted_proxies);
    let https = forwarded
        .as_ref()
        .and_then(|it| it.https)
        .unwrap_or(arrival.tls.is_some());
    let standard = if https { 443 } else { 80 };
    Ok(Inbound {
        id: random::id(),
        arrival: arrival.clone(),
        client,
        https,
        host,
        port: port.filter(|it| *it != standard),
        // To whoever decides and to the upstream every handshake is a GET.
        method: if websocket { Method::GET } else { head.method },
        target,
        path,
        headers,
        forwarded,
        credentials,
        websocket,
        http2,
        body,
        upgrade: upgrade.flatten(),
    })
}

/// One `Content-Length`, in digits. (On HTTP/1 the wire saw to it already.)
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    let digits = line.to_str().map_err(|_| Malformed::Framing)?;
    if lines.next().is_some() || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return Err(Malformed::Framing);
    }
    digits.parse().map(Some).map_err(|_| Malformed::Framing)
}

fn check_method(method: &Method, websocket: bool) -> Result<(), Malformed> {
    let name = method.as_str();
    let refused = matches!(name, "CONNECT" | "TRACE" | "TRACK" | "PRI");
    if websocket || (!refused && name.len() <= LONGEST_METHOD) {
        Ok(())
    } else {
        Err(Malformed::Method)
    }
}

/// The host asked for. Where the target has an authority too (absolute form, HTTP/2), both must
/// say the same.
fn find_host(head: &Parts) -> Result<(HostName, Option<u16>), Malformed> {
    let mut lines = head.headers.get_all(header::HOST).iter();
    let line = match (lines.next(), lines.next()) {
        (Some(line), None) => {
            let text = line.to_str().map_err(|_| Malformed::Host)?;
            Some(host::parse(text)?)
        }
        (None, _) => None,
        (Some(_), Some(_)) => return Err(Malformed::Host),
    };
    let Some(authority) = head.uri.authority() else {
        return line.ok_or(Malformed::Host);
    };
    let target = host::parse(authority.as_str())?;
    match line {
        Some(line) if line != target => Err(Malformed::Authority),
        // HTTP/1 must send `Host` whatever the target is (RFC 9112, section 3.2).
        None if head.version != Version::HTTP_2 => Err(Malformed::Host),
        Some(_) | None => Ok(target),
    }
}

/// A TLS connection is for the name it was made for; one without a name is for any.
fn check_server_name(arrival: &Arrival, host: &HostName) -> Result<(), Malformed> {
    match &arrival.tls {
        Some(Some(name)) if name != host => Err(Malformed::Misdirected),
        Some(_) | None => Ok(()),
    }
}

/// Path and query as they came.
fn find_target(uri: &Uri) -> Result<String, Malformed> {
    let honest_scheme = uri
        .scheme_str()
        .is_none_or(|it| it == "http" || it == "https");
    match uri.path_and_query() {
        Some(target) if honest_scheme && target.as_str().starts_with('/') => {
            Ok(target.as_str().to_owned())
        }
        _ => Err(Malformed::Target),
    }
}
