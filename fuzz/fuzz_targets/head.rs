//! A request's head: a request line (`h2` at its end: over HTTP/2), then header lines, as text.
//! What is admitted has one host, one target and one path; and what is left of its headers says
//! nothing that only the gateway says.

#![no_main]

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Request, Uri, Version};
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use portcullis::{
    authz::sibling::Fetch,
    body::Body,
    intake::{Arrival, IntakeFacts, Level, admit, path::Decided},
    name::HostName,
    token,
};

/// What the gateway alone says to a tenant.
const RESERVED: [&str; 12] = [
    "remote-user",
    "x-remote-user",
    "x-forwarded-for",
    "x-forwarded-user",
    "x-portcullis-assertion",
    "x-real-ip",
    "x-original-url",
    "x-request-id",
    "forwarded",
    "proxy",
    "connection",
    "transfer-encoding",
];

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|it| *it == b'\n');
    let Some(Ok(first)) = lines.next().map(std::str::from_utf8) else {
        return;
    };
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return;
    };
    let (Ok(uri), version) = (
        Uri::try_from(target),
        match words.next() {
            Some("h2") => Version::HTTP_2,
            Some("old") => Version::HTTP_10,
            _ => Version::HTTP_11,
        },
    ) else {
        return;
    };
    let server_name = words.next().and_then(|it| HostName::parse(it).ok());
    let raw_path = uri.path().to_owned();
    let mut raw = Request::builder().method(method).uri(uri).version(version);
    for line in lines {
        let Some(colon) = line.iter().position(|it| *it == b':') else {
            return;
        };
        let (name, value) = line.split_at(colon);
        raw = raw.header(
            HeaderName::from_bytes(name).unwrap_or(HeaderName::from_static("x")),
            HeaderValue::from_bytes(value[1..].trim_ascii()).unwrap_or(HeaderValue::from_static("")),
        );
    }
    let Ok(raw) = raw.body(Body::Empty) else {
        return;
    };
    let asked = Fetch::read(raw.headers());
    assert!(asked.present || asked.site.is_none());
    let arrival = Arrival {
        peer: SocketAddr::from(([10, 0, 0, 1], 40_000)),
        local: SocketAddr::from(([10, 0, 0, 2], 443)),
        tls: Some(server_name.clone()),
    };
    let facts = IntakeFacts {
        trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
        body: 1 << 20,
        header: 16 << 10,
        headers: 100,
        guarded: true,
        is_ours: |it| token::is_ours(it),
    };
    let Ok(mut inbound) = admit(raw, &arrival, &facts) else {
        return;
    };
    assert!(server_name.is_none_or(|it| it == inbound.host), "misdirected");
    let again = HostName::parse(inbound.host.as_str());
    assert_eq!(again.as_ref(), Ok(&inbound.host), "a host with two spellings");
    assert!(inbound.target.starts_with('/'));
    if let Decided::Plain(path) = &inbound.path {
        let decoded = percent_decode_str(&raw_path).decode_utf8().expect("UTF-8");
        assert_eq!(*path, decoded, "a path that is read otherwise");
        let mut segments: Vec<&str> = path.split('/').skip(1).collect();
        segments.pop_if(|it| it.is_empty());
        let odd = |it: &&str| matches!(it.split(';').next(), Some("" | "." | ".."));
        assert!(
            !segments.iter().any(|it| odd(it) && !it.starts_with(';')),
            "a segment that leads elsewhere: {path:?}"
        );
        assert!(!path.contains('\\') && !path.chars().any(|c| c.is_ascii_control()));
    }
    inbound.strip(Level::Guarded, &[]);
    for name in inbound.headers.keys() {
        let plain = name.as_str().replace(['_', '.'], "-");
        assert!(!RESERVED.contains(&plain.as_str()), "{name} is left");
    }
});
