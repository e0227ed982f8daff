//! What of a tenant's answer does not pass: it would speak for the gateway or for a sibling.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::name::HostName;

const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Dropped wherever a guarded host's answer has them: they reach beyond the tenant.
const DROPPED: [&str; 6] = [
    "clear-site-data",
    "strict-transport-security",
    "alt-svc",
    "service-worker-allowed",
    "x-portcullis-assertion",
    "proxy-authenticate",
];

/// Hop-by-hop (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes what belongs to one connection only.
pub fn hop_by_hop(headers: &mut HeaderMap) {
    if let Some(named) = headers
        .get(header::CONNECTION)
        .and_then(|it| it.to_str().ok())
    {
        let named: Vec<HeaderName> = named
            .split(',')
            .filter_map(|it| it.trim().parse().ok())
            // Naming these would break the answer's own framing.
            .filter(|it| *it != header::CONTENT_LENGTH && *it != header::CONTENT_TYPE)
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Cleans a guarded tenant's answer and adds our own words.
pub fn guarded(headers: &mut HeaderMap, host: &HostName) {
    for name in DROPPED {
        headers.remove(name);
    }
    cookies(headers, host);
    let framed = headers.contains_key(header::X_FRAME_OPTIONS)
        || headers
            .get_all(header::CONTENT_SECURITY_POLICY)
            .iter()
            .any(|it| memchr::memmem::find(it.as_bytes(), b"frame-ancestors").is_some());
    if !framed {
        // A policy of its own beside the tenant's: browsers apply both.
        headers.append(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("frame-ancestors 'self'"),
        );
    }
    if !headers.contains_key(&CORP) {
        headers.insert(CORP, HeaderValue::from_static("same-origin"));
    }
    headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
}

/// Drops cookies with our names, and those for more hosts than the tenant's own.
fn cookies(headers: &mut HeaderMap, host: &HostName) {
    let passes = |it: &HeaderValue| is_harmless(it.as_bytes(), host);
    if headers.get_all(header::SET_COOKIE).iter().all(passes) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .filter(|it| passes(it))
        .cloned()
        .collect();
    headers.remove(header::SET_COOKIE);
    for cookie in kept {
        headers.append(header::SET_COOKIE, cookie);
    }
}

fn is_harmless(cookie: &[u8], host: &HostName) -> bool {
    let mut parts = cookie.split(|it| *it == b';');
    let name = parts
        .next()
        .and_then(|it| it.split(|it| *it == b'=').next())
        .unwrap_or_default()
        .trim_ascii();
    // Browsers compare the prefix without regard to case; a nameless cookie can pose as any.
    if name.is_empty() || name.to_ascii_lowercase().starts_with(b"__host-portcullis") {
        return false;
    }
    parts.all(|attribute| {
        let mut pair = attribute.splitn(2, |it| *it == b'=');
        let name = pair.next().unwrap_or_default().trim_ascii();
        if !name.eq_ignore_ascii_case(b"domain") {
            return true;
        }
        let value = pair.next().unwrap_or_default().trim_ascii();
        let value = value.strip_prefix(b".").unwrap_or(value);
        value.is_empty() || value.eq_ignore_ascii_case(host.as_str().as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostName {
        HostName::parse("b.example.net").unwrap()
    }

    #[test]
    fn h13_a_tenant_speaks_for_nobody_else() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-portcullis-assertion", "forged"),
            ("set-cookie", "__Host-portcullis=forged; Path=/; Secure"),
            ("set-cookie", "__HOST-Portcullis-login-00000000=x"),
            ("set-cookie", "=__Host-portcullis=x"),
            ("set-cookie", "x=1; Domain=example.net"),
            ("set-cookie", "y=1; domain = .b.example.net"),
            ("set-cookie", "z=1; Path=/"),
            ("clear-site-data", "\"*\""),
            ("strict-transport-security", "max-age=0"),
            ("alt-svc", "h3=\":1\""),
            ("service-worker-allowed", "/"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        guarded(&mut headers, &host());
        let cookies: Vec<_> = headers.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["y=1; domain = .b.example.net", "z=1; Path=/"]);
        for gone in [
            "x-portcullis-assertion",
            "clear-site-data",
            "alt-svc",
            "service-worker-allowed",
        ] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_eq!(
            headers[header::STRICT_TRANSPORT_SECURITY],
            "max-age=31536000"
        );
    }

    #[test]
    fn a_tenant_may_say_itself_who_frames_it() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'self'; frame-ancestors https://x.test"),
        );
        guarded(&mut headers, &host());
        assert_eq!(
            headers
                .get_all(header::CONTENT_SECURITY_POLICY)
                .iter()
                .count(),
            1
        );
        let mut silent = HeaderMap::new();
        guarded(&mut silent, &host());
        assert_eq!(
            silent[header::CONTENT_SECURITY_POLICY],
            "frame-ancestors 'self'"
        );
        assert_eq!(silent[CORP], "same-origin");
    }

    #[test]
    fn what_connection_names_is_not_passed_on() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONNECTION,
            HeaderValue::from_static("close, X-Odd, Content-Length"),
        );
        headers.insert("x-odd", HeaderValue::from_static("1"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("2"));
        hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key(header::CONTENT_LENGTH));
    }
}
