//! A request's method and target: is it Engine.IO? A server reads the query as browsers write it
//! (`URLSearchParams`); whatever it would take for Engine.IO, so do we, and the query that we
//! write has one reading. After a line break: an open packet to seal.

#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use portcullis::socket::engineio::{self, Version};
use portcullis_fuzz::{REPLICA, socketio, terms};

fuzz_target!(|text: &str| {
    let (line, packet) = text.split_once('\n').unwrap_or((text, ""));
    open(packet);
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let websocket = method == "WS";
    let Ok(method) = Method::from_bytes(if websocket { b"GET" } else { method.as_bytes() }) else {
        return;
    };
    let read = |target: &str| -> Vec<(String, String)> {
        let query = target.split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect()
    };
    let pairs = read(target);
    let is_engine = pairs.iter().any(|(key, value)| {
        key == "EIO"
            || (key == "transport"
                && matches!(value.as_str(), "polling" | "websocket" | "webtransport"))
    });
    for eio3 in [false, true] {
        match engineio::recognise(&method, target, websocket, eio3) {
            Ok(None) => assert!(!is_engine, "Engine.IO passes for something else"),
            Err(_) => {}
            Ok(Some(request)) => {
                // (A path of socket.io's own is enough where version 3 is served.)
                assert!(is_engine || eio3);
                let sent = request.target(Some("OWN"));
                let one = |pairs: &[(String, String)], key: &str| {
                    let mut found = pairs.iter().filter(|it| it.0 == key);
                    let value = found.next().map(|it| it.1.clone());
                    assert!(found.next().is_none(), "{key} twice: {sent}");
                    value
                };
                let after = read(&sent);
                // As a server of both tells them apart.
                let is_four = one(&pairs, "EIO").as_deref() == Some("4");
                assert_eq!(request.version == Version::Four, is_four);
                assert!(is_four || eio3, "version 3 where nobody asked for it");
                let digit = if is_four { "4" } else { "3" };
                assert_eq!(one(&after, "EIO").as_deref(), Some(digit));
                assert_eq!(one(&after, "sid").as_deref(), Some("OWN"));
                assert_eq!(one(&after, "transport"), one(&pairs, "transport"));
                assert_eq!(one(&after, "j"), None, "JSONP");
                assert_eq!(one(&pairs, "sid"), request.sid);
                assert!(websocket || request.sid.is_some() || method == Method::GET);
                let path = |it: &str| it.split('?').next().map(str::to_owned);
                assert_eq!(path(&sent), path(target));
                let again = engineio::recognise(&method, &sent, websocket, eio3);
                let again = again.expect("it is served").expect("it is Engine.IO");
                assert_eq!(again.target(Some("OWN")), sent);
            }
        }
    }
});

fn open(packet: &str) {
    let (terms, mut out) = (terms(&[]), Vec::new());
    if !packet.starts_with('0') {
        return;
    }
    let (version, seal) = (Version::Four, &terms.seal);
    let Ok(opening) = engineio::seal_open(version, packet, seal, REPLICA, &mut out) else {
        return;
    };
    let out = std::str::from_utf8(&out).expect("text stays text");
    let opened = seal.open(version.sid(), &opening.sealed).expect("ours");
    assert_eq!((opened.id, opened.replica), (opening.own.as_str(), REPLICA));
    let after = socketio::parse(&out[1..]).expect("JSON stays JSON");
    let before = socketio::parse(&packet[1..]).expect("JSON was sealed");
    if let (Some(before), Some(after)) = (before, after) {
        assert_eq!(before["sid"], opening.own.as_str());
        assert_eq!(after["sid"], opening.sealed.as_str());
    }
}
