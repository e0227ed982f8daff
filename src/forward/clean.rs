//! What of an upstream's answer may reach a browser. A tenant is not trusted with what concerns
//! its siblings or the gateway.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
        TRANSFER_ENCODING, UPGRADE, X_FRAME_OPTIONS,
    },
    response::Parts,
};

use crate::{
    forward::Stamp,
    intake::{Inbound, Level, strip::is_hop_by_hop},
    route::HostRoute,
};

const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const FRAME_ANCESTORS: HeaderValue = HeaderValue::from_static("frame-ancestors 'self'");
const OURS: &str = "x-portcullis-";
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What an answer is cleaned by.
#[derive(Debug, Clone)]
pub struct Rules {
    level: Level,
    host: crate::name::HostName,
    hsts: bool,
}

impl Rules {
    /// For a host of this level; `hsts`: it is told to browsers.
    pub fn new(level: Level, host: crate::name::HostName, hsts: bool) -> Self {
        Self { level, host, hsts }
    }

    /// For the answer to this request.
    pub fn of(route: &HostRoute, stamp: &Stamp, inbound: &Inbound) -> Self {
        Self {
            level: stamp.level,
            host: inbound.host.clone(),
            // nginx-proxy sends none where plain HTTP is answered too.
            hsts: inbound.https && (stamp.level == Level::Guarded || !route.plain_http),
        }
    }
}

/// Cleans an answer's head.
pub fn clean(head: &mut Parts, rules: &Rules) {
    let headers = &mut head.headers;
    if matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        headers.remove(CONTENT_LENGTH);
    }
    drop_hop_by_hop(headers);
    match rules.level {
        Level::Guarded => {
            drop_cookies(headers, rules);
            drop_reserved(headers);
            guard(headers);
            if rules.hsts {
                headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
            }
        }
        Level::OpenHost | Level::OpenMode => {
            if rules.level == Level::OpenHost {
                drop_cookies(headers, rules);
                drop_ours(headers);
            }
            if rules.hsts && !headers.contains_key(STRICT_TRANSPORT_SECURITY) {
                headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
            }
        }
    }
}

/// Drops what only the gateway says.
fn drop_ours(headers: &mut HeaderMap) {
    drop_all(headers, |it| it.as_str().starts_with(OURS));
}

/// Drops the headers that a tenant has no business to send.
pub(super) fn drop_reserved(headers: &mut HeaderMap) {
    drop_all(headers, |it| is_reserved(it.as_str()));
}

fn drop_all(headers: &mut HeaderMap, is_bad: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|it| is_bad(it)).cloned() {
        headers.remove(name);
    }
}

fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "clear-site-data" | "strict-transport-security" | "alt-svc" | "service-worker-allowed"
    ) || name.starts_with(OURS)
}

/// `Trailer` stays: hyper sends the trailers that it names.
fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .map(str::trim)
        // What nearly every answer says; `Keep-Alive` itself is among our own.
        .filter(|it| !it.eq_ignore_ascii_case("keep-alive") && !it.eq_ignore_ascii_case("close"))
        .filter_map(|it| it.parse().ok())
        .filter(|it: &HeaderName| *it != SET_COOKIE && !it.as_str().starts_with("content-"))
        .collect();
    drop_all(headers, |it| is_hop_by_hop(it) && it.as_str() != "trailer");
    for name in named {
        headers.remove(name);
    }
    headers.remove(UPGRADE);
}

fn drop_cookies(headers: &mut HeaderMap, rules: &Rules) {
    // An open host's cookies are its own affair, as long as they are not ours.
    let host = (rules.level == Level::Guarded).then_some(rules.host.as_str());
    let bad = |it: &HeaderValue| is_bad_cookie(it.as_bytes(), host);
    if !headers.get_all(SET_COOKIE).iter().any(bad) {
        return;
    }
    let good: Vec<HeaderValue> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter(|it| !bad(it))
        .cloned()
        .collect();
    headers.remove(SET_COOKIE);
    for value in good {
        headers.append(SET_COOKIE, value);
    }
}

/// One of ours, or one that siblings would get. Browsers compare the prefix without regard to
/// case, and take a cookie without a name for one.
fn is_bad_cookie(line: &[u8], host: Option<&str>) -> bool {
    const COOKIE: &[u8] = b"__host-portcullis";
    let mut parts = line.split(|it| *it == b';');
    let pair = parts.next().unwrap_or_default();
    let name = pair
        .iter()
        .position(|it| !matches!(it, b'=' | b' ' | b'\t'))
        .and_then(|it| pair.get(it..))
        .unwrap_or_default();
    let ours = name
        .get(..COOKIE.len())
        .is_some_and(|it| it.eq_ignore_ascii_case(COOKIE));
    ours || host.is_some_and(|host| parts.any(|it| is_foreign_domain(it, host)))
}

fn is_foreign_domain(attribute: &[u8], host: &str) -> bool {
    let mut parts = attribute.splitn(2, |it| *it == b'=');
    let name = parts.next().unwrap_or_default().trim_ascii();
    let value = parts.next().unwrap_or_default().trim_ascii();
    let value = value.strip_prefix(b".").unwrap_or(value);
    name.eq_ignore_ascii_case(b"domain")
        && !value.is_empty()
        && !value.eq_ignore_ascii_case(host.as_bytes())
}

/// What a tenant that says nothing of it is protected by.
fn guard(headers: &mut HeaderMap) {
    let says_who_may_frame = headers.contains_key(X_FRAME_OPTIONS)
        || headers.get_all(CONTENT_SECURITY_POLICY).iter().any(|it| {
            let lower = it.as_bytes().to_ascii_lowercase();
            memchr::memmem::find(&lower, b"frame-ancestors").is_some()
        });
    if !says_who_may_frame {
        headers.append(CONTENT_SECURITY_POLICY, FRAME_ANCESTORS);
    }
    if !headers.contains_key(CORP) {
        headers.insert(CORP, SAME_ORIGIN);
    }
}
