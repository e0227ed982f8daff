//! A request's method and target: is it Engine.IO? A server reads the query as browsers write it
//! (`URLSearchParams`); whatever it would take for Engine.IO, so do we, and the query that we
//! write has one reading. After a line break: an open packet to seal.

#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use portcullis::socket::{engineio, seal::Kind};
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
    match engineio::recognise(&method, target, websocket) {
        Ok(None) => assert!(!is_engine, "Engine.IO passes for something else"),
        Err(_) => {}
        Ok(Some(request)) => {
            assert!(is_engine);
            let sent = request.target(Some("OWN"));
            let one = |pairs: &[(String, String)], key: &str| {
                let mut found = pairs.iter().filter(|it| it.0 == key);
                let value = found.next().map(|it| it.1.clone());
                assert!(found.next().is_none(), "{key} twice: {sent}");
                value
            };
            let after = read(&sent);
            assert_eq!(one(&after, "EIO").as_deref(), Some("4"));
            assert_eq!(one(&after, "sid").as_deref(), Some("OWN"));
            assert_eq!(one(&after, "transport"), one(&pairs, "transport"));
            assert_eq!(one(&after, "j"), None, "JSONP");
            assert_eq!(one(&pairs, "sid"), request.sid);
            assert!(websocket || request.sid.is_some() || method == Method::GET);
            let path = |it: &str| it.split('?').next().map(str::to_owned);
            assert_eq!(path(&sent), path(target));
            let again = engineio::recognise(&method, &sent, websocket);
            let again = again.expect("it is served").expect("it is Engine.IO");
            assert_eq!(again.target(Some("OWN")), sent);
        }
    }
});

fn open(packet: &str) {
    let (terms, mut out) = (terms(&[]), Vec::new());
    if !packet.starts_with('0') {
        return;
    }
    let Ok(opening) = engineio::seal_open(packet, &terms.seal, REPLICA, &mut out) else {
        return;
    };
    let out = std::str::from_utf8(&out).expect("text stays text");
    let opened = terms.seal.open(Kind::Sid, &opening.sealed).expect("ours");
    assert_eq!((opened.id, opened.replica), (opening.own.as_str(), REPLICA));
    let after = socketio::parse(&out[1..]).expect("JSON stays JSON");
    let before = socketio::parse(&packet[1..]).expect("JSON was sealed");
    if let (Some(before), Some(after)) = (before, after) {
        assert_eq!(before["sid"], opening.own.as_str());
        assert_eq!(after["sid"], opening.sealed.as_str());
    }
}
