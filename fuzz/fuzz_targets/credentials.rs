//! Cookies, `Authorization` and subprotocols: ours are taken out, whatever stands around them,
//! and everything else stays as it was. Each line is a header's: `c` for a cookie, `a` for an
//! authorization, `p` for subprotocols.

#![no_main]

use http::{HeaderMap, HeaderValue, Request, header};
use libfuzzer_sys::fuzz_target;
use portcullis::{
    body::Body,
    intake::{Arrival, IntakeFacts, Repeated, admit},
    token,
};

fuzz_target!(|bytes: &[u8]| {
    let mut raw = Request::builder().uri("/").header("host", "a.example.com");
    let mut crumbs: Vec<Vec<u8>> = Vec::new();
    for line in bytes.split(|it| *it == b'\n') {
        let Some((kind, value)) = line.split_first() else {
            continue;
        };
        let name = match kind {
            b'c' => header::COOKIE,
            b'a' => header::AUTHORIZATION,
            _ => header::SEC_WEBSOCKET_PROTOCOL,
        };
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return;
        };
        if name == header::COOKIE {
            crumbs.extend(split(value.as_bytes()));
        }
        raw = raw.header(name, value);
    }
    let Ok(raw) = raw.body(Body::Empty) else {
        return;
    };
    let before = raw.headers().clone();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 443));
    let arrival = Arrival {
        peer: address,
        local: address,
        tls: Some(None),
    };
    let facts = IntakeFacts {
        trusted_proxies: Vec::new(),
        body: 0,
        // No bounds: this is about what is read, not how much.
        header: usize::MAX,
        headers: usize::MAX,
        guarded: true,
        is_ours: |it| token::is_ours(it),
    };
    let inbound = admit(raw, &arrival, &facts).expect("its form is good");
    let left: Vec<Vec<u8>> = lines(&inbound.headers, header::COOKIE.as_str())
        .into_iter()
        .flat_map(split)
        .collect();
    let (ours, others): (Vec<_>, Vec<_>) = crumbs.into_iter().partition(|it| is_ours(it));
    assert_eq!(left, others, "a cookie that is not ours was changed");
    let sessions = ours.iter().filter(|it| name(it) == b"__Host-portcullis");
    match (sessions.count(), &inbound.credentials.cookie) {
        (0, None) | (1, Some(Ok(_))) | (2.., Some(Err(Repeated))) => {}
        found => panic!("cookies and what was found of them: {found:?}"),
    }
    for line in lines(&inbound.headers, "authorization") {
        assert!(!token::is_ours(line), "a token of ours goes on");
    }
    for line in lines(&inbound.headers, "sec-websocket-protocol") {
        for offer in line.split(|it| *it == b',').map(<[u8]>::trim_ascii) {
            assert!(
                !offer.starts_with(b"portcullis.token.") || std::str::from_utf8(line).is_err(),
                "a token of ours goes on"
            );
        }
    }
    let untouched = inbound.credentials.bearer.is_none();
    let same = lines(&before, "authorization") == lines(&inbound.headers, "authorization");
    assert_eq!(untouched, same, "an authorization that is not ours was changed");
});

fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    let all = headers.get_all(name).iter();
    all.map(HeaderValue::as_bytes).collect()
}

/// The cookies of a line; empty ones do not count.
fn split(line: &[u8]) -> Vec<Vec<u8>> {
    line.split(|it| *it == b';')
        .map(|it| it.trim_ascii().to_vec())
        .filter(|it| !it.is_empty())
        .collect()
}

fn name(crumb: &[u8]) -> &[u8] {
    crumb
        .split(|it| *it == b'=')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

fn is_ours(crumb: &[u8]) -> bool {
    let name = name(crumb);
    name == b"__Host-portcullis" || name.starts_with(b"__Host-portcullis-")
}
