//! What is Engine.IO, told from the request line alone, and its packets.
//!
//! A server takes `EIO`, `transport` and `sid` from the decoded query; so do we, and refuse
//! whatever could be read in two ways. The query is rebuilt for the upstream, with its own `sid`
//! in place of the sealed one.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::{
    intake::Malformed,
    socket::{
        Refused,
        json::{self, Same},
        seal::{Kind, Seal},
    },
};

/// A version of the Engine.IO protocol. Between them differ how packets stand in a polling body, who
/// pings, what an attachment begins with, and who opens the first namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// Socket.IO 1 and 2, where a tenant asks for it.
    Three,
    /// Socket.IO 3 and 4.
    #[default]
    Four,
}

impl Version {
    fn digit(self) -> &'static str {
        match self {
            Self::Three => "3",
            Self::Four => "4",
        }
    }

    /// The kind of a sealed `sid`: one of a version is worth nothing in another, in which the same
    /// bytes may read differently.
    pub fn sid(self) -> Kind {
        match self {
            Self::Three => Kind::SidThree,
            Self::Four => Kind::Sid,
        }
    }
}

/// How an Engine.IO connection is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// GETs that wait and POSTs.
    Polling,
    /// A WebSocket.
    WebSocket,
}

/// An Engine.IO request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Of which version.
    pub version: Version,
    /// How it is carried.
    pub transport: Transport,
    /// The connection it belongs to, as we sealed it; not verified yet. `None`: a new one.
    pub sid: Option<String>,
    path: String,
    pairs: Vec<String>,
}

/// Why an Engine.IO request is not served. Always 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// A key that matters is encoded or repeated.
    #[error("the Engine.IO query is malformed")]
    Query,
    /// Not version 4, on a tenant that did not ask for version 3 (`socketio.eio3`).
    #[error("only version 4 of Engine.IO is served here (socket.io-client 3 or newer)")]
    Version,
    /// JSONP, in any version: decision 18.
    #[error("JSONP polling is not served")]
    Jsonp,
    /// No transport of ours, or not with this kind of request.
    #[error("the Engine.IO transport does not fit the request")]
    Transport,
}

impl From<NotServed> for Malformed {
    fn from(_: NotServed) -> Self {
        Self::EngineIo
    }
}

/// The keys that the protocol acts on.
const KEYS: [&str; 5] = ["EIO", "transport", "sid", "j", "b64"];

/// Says whether the request for `target` (path and query as they came) is Engine.IO.
/// `websocket`: it is a WebSocket handshake; `eio3`: version 3 is served here too.
pub fn recognise(
    method: &Method,
    target: &str,
    websocket: bool,
    eio3: bool,
) -> Result<Option<Request>, NotServed> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter(|it| !it.is_empty());
    let mut found: [Option<Cow<'_, str>>; 5] = Default::default();
    let (mut twisted, mut by_transport) = (false, false);
    for (raw, value) in pairs.clone().map(split) {
        let key = decoded(raw);
        // Of several one server takes the last, another the first: any of them tells.
        by_transport |= key == "transport"
            && matches!(&*decoded(value), "polling" | "websocket" | "webtransport");
        let place = KEYS.iter().zip(&mut found).find(|(it, _)| **it == key);
        if let Some((_, place)) = place {
            twisted |= raw != key || place.is_some();
            *place = Some(decoded(value));
        }
    }
    let [eio, transport, sid, jsonp, _] = found;
    if eio.is_none() && !by_transport {
        let script = matches!(*method, Method::GET | Method::HEAD)
            && !websocket
            && transport.is_none()
            && sid.is_none();
        if script || !has_segment(path) {
            return Ok(None);
        }
    }
    if twisted {
        return Err(NotServed::Query);
    }
    // A server of both takes everything but this for version 3.
    let version = match eio.as_deref() {
        Some("4") => Version::Four,
        _ if eio3 => Version::Three,
        _ => return Err(NotServed::Version),
    };
    let transport = match transport.as_deref() {
        Some("websocket") if websocket => Transport::WebSocket,
        Some("polling") if !websocket => Transport::Polling,
        _ => return Err(NotServed::Transport),
    };
    if jsonp.is_some() {
        return Err(NotServed::Jsonp);
    }
    let fits = match transport {
        Transport::WebSocket => true,
        Transport::Polling => *method == Method::GET || (*method == Method::POST && sid.is_some()),
    };
    if !fits {
        return Err(NotServed::Transport);
    }
    Ok(Some(Request {
        version,
        transport,
        sid: sid.map(Cow::into_owned),
        path: path.to_owned(),
        pairs: pairs.map(str::to_owned).collect(),
    }))
}

impl Request {
    /// Path and query for the upstream: all as it came but the `sid`, which becomes the
    /// upstream's own, from [`Seal::open`].
    pub fn target(&self, sid: Option<&str>) -> String {
        self.target_for(self.transport, sid)
    }

    /// The same for a polling request of ours on the same connection.
    pub fn polling_target(&self, sid: &str) -> String {
        self.target_for(Transport::Polling, Some(sid))
    }

    fn target_for(&self, transport: Transport, sid: Option<&str>) -> String {
        let transport = match transport {
            Transport::Polling => "polling",
            Transport::WebSocket => "websocket",
        };
        let version = self.version.digit();
        let mut out = format!("{}?EIO={version}&transport={transport}", self.path);
        if let Some(sid) = sid {
            out.push_str("&sid=");
            out.push_str(sid);
        }
        for pair in &self.pairs {
            if !["EIO", "transport", "sid"].contains(&split(pair).0) {
                out.push('&');
                out.push_str(pair);
            }
        }
        out
    }
}

fn split(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['+', '%']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

fn has_segment(path: &str) -> bool {
    percent_decode_str(path)
        .decode_utf8_lossy()
        .split('/')
        .any(|it| matches!(it, "socket.io" | "engine.io"))
}

/// An open packet (`0{...}`) with its `sid` sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The upstream's own `sid`.
    pub own: String,
    /// What we hand out.
    pub sealed: String,
}

/// Reads an open packet and appends it to `out` with the `sid` sealed.
pub fn seal_open(
    version: Version,
    packet: &str,
    seal: &Seal,
    replica: &str,
    out: &mut Vec<u8>,
) -> Result<Opening, Refused> {
    let bad = Refused::Grammar("an open packet");
    let (mut sid, mut repeated) = (None, false);
    let mut reader = json::Reader::new(packet, 1);
    reader
        .object(0, |member| {
            match json::means(packet.get(member.key).unwrap_or_default(), "sid") {
                Same::No => (),
                Same::Plainly => repeated |= sid.replace(member.value).is_some(),
                Same::Disguised => repeated = true,
            }
        })
        .map_err(|_| bad)?;
    let (Some(sid), true, false) = (sid, reader.is_done(), repeated) else {
        return Err(bad);
    };
    let quoted = packet.get(sid.clone()).unwrap_or_default();
    let own = json::inner(quoted);
    let sealed = seal
        .seal(version.sid(), replica, own)
        .filter(|_| own.len() + 2 == quoted.len())
        .ok_or(bad)?;
    out.extend_from_slice(packet.get(..=sid.start).unwrap_or_default().as_bytes());
    out.extend_from_slice(sealed.as_bytes());
    out.extend_from_slice(packet.get(sid.end - 1..).unwrap_or_default().as_bytes());
    Ok(Opening {
        own: own.to_owned(),
        sealed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::seal::tests::seal_of;
    use proptest::prelude::*;

    fn get(target: &str) -> Result<Option<Request>, NotServed> {
        recognise(&Method::GET, target, false, false)
    }

    #[test]
    fn a_poll_is_recognised_and_rebuilt() {
        let request =
            get("/uibuilder/vendor/socket.io/?x=1&EIO=4&transport=polling&t=abc&sid=s.r.m")
                .unwrap()
                .unwrap();
        assert_eq!(request.transport, Transport::Polling);
        assert_eq!(request.sid.as_deref(), Some("s.r.m"));
        assert_eq!(
            request.target(Some("s")),
            "/uibuilder/vendor/socket.io/?EIO=4&transport=polling&sid=s&x=1&t=abc"
        );
    }

    #[test]
    fn the_client_script_and_other_paths_are_not_engine_io() {
        for target in [
            "/socket.io/socket.io.js",
            "/uibuilder/vendor/socket.io/socket.io.min.js?v=4",
            "/",
            "/x?transport=car",
            "/x?sid=1",
        ] {
            assert_eq!(get(target), Ok(None), "{target}");
        }
        // A WebSocket there is never the script.
        assert_eq!(
            recognise(&Method::GET, "/socket.io/", true, false),
            Err(NotServed::Version)
        );
        assert_eq!(
            recognise(&Method::POST, "/a/engine.io/", false, false),
            Err(NotServed::Version)
        );
        assert_eq!(get("/socket%2Eio/?sid=1"), Err(NotServed::Version));
    }

    #[test]
    fn w10b_a_disguised_or_repeated_key_is_refused() {
        for target in [
            "/?%45IO=4&transport=polling",
            "/?EIO=4&EIO=4&transport=polling",
            "/?EIO=3&EIO=4&transport=polling",
            "/?EIO=4&transport=polling&transport=websocket",
            "/?transport=polling&transport=x",
            "/?transport=x&transport=websocket",
            "/?EIO=4&transport=polling&s%69d=x",
            "/?EIO=4&transport=polling&sid=x&sid=y",
        ] {
            assert_eq!(get(target), Err(NotServed::Query), "{target}");
        }
        for target in [
            "/?transport=websocket",
            "/?EIO=3&transport=polling",
            "/?EIO=04&transport=polling",
            "/?EIO",
        ] {
            assert_eq!(get(target), Err(NotServed::Version), "{target}");
        }
    }

    #[test]
    fn w12_jsonp_and_odd_requests_are_refused() {
        assert_eq!(get("/?EIO=4&transport=polling&j=0"), Err(NotServed::Jsonp));
        for (method, target, websocket) in [
            (Method::POST, "/?EIO=4&transport=polling", false),
            (Method::PUT, "/?EIO=4&transport=polling&sid=a", false),
            (Method::GET, "/?EIO=4&transport=websocket", false),
            (Method::GET, "/?EIO=4&transport=polling", true),
            (Method::GET, "/?EIO=4&transport=webtransport", true),
            (Method::GET, "/?EIO=4", false),
        ] {
            assert_eq!(
                recognise(&method, target, websocket, false),
                Err(NotServed::Transport),
                "{method} {target}"
            );
        }
    }

    #[test]
    fn w10b_where_version_3_is_served_whatever_is_not_exactly_4_is_version_3() {
        let three = |target: &str, websocket| recognise(&Method::GET, target, websocket, true);
        for eio in ["EIO=3&", "EIO=04&", "EIO=&", "EIO&", "EIO=4x&", ""] {
            let target = format!("/socket.io/?{eio}transport=websocket&b64=1");
            let request = three(&target, true).unwrap().unwrap();
            assert_eq!(request.version, Version::Three, "{target}");
            assert_eq!(
                request.target(None),
                "/socket.io/?EIO=3&transport=websocket&b64=1"
            );
        }
        let request = three("/socket.io/?EIO=4&transport=polling", false);
        assert_eq!(request.unwrap().unwrap().version, Version::Four);
        // What is refused of version 4 is refused of it too.
        for (target, why) in [
            ("/?EIO=3&EIO=4&transport=polling", NotServed::Query),
            ("/?%45IO=3&transport=polling", NotServed::Query),
            ("/?EIO=3&transport=polling&j=0", NotServed::Jsonp),
            ("/?EIO=3", NotServed::Transport),
        ] {
            assert_eq!(three(target, false), Err(why), "{target}");
        }
    }

    #[test]
    fn w11_a_sid_of_one_version_is_worth_nothing_in_the_other() {
        let seal = seal_of("alice", 1);
        let packet = r#"0{"sid":"abc","upgrades":["websocket"]}"#;
        for (version, other) in [
            (Version::Three, Version::Four),
            (Version::Four, Version::Three),
        ] {
            let opening = seal_open(version, packet, &seal, "r1", &mut Vec::new()).unwrap();
            assert!(seal.open(version.sid(), &opening.sealed).is_some());
            assert_eq!(seal.open(other.sid(), &opening.sealed), None);
        }
    }

    #[test]
    fn w11_the_open_packet_carries_a_sealed_sid() {
        let seal = seal_of("alice", 1);
        let mut out = Vec::new();
        let packet = r#"0{"sid":"6_apJ","upgrades":["websocket"],"maxPayload":1000000}"#;
        let opening = seal_open(Version::Four, packet, &seal, "r1", &mut out).unwrap();
        assert_eq!(opening.own, "6_apJ");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, packet.replace("6_apJ", &opening.sealed));
        assert_eq!(seal.open(Kind::Sid, &opening.sealed).unwrap().id, "6_apJ");
        for bad in [
            "0{}",
            "0{\"sid\":1}",
            "0{\"sid\":\"a\",\"sid\":\"b\"}",
            "0{\"sid\":\"a\"}x",
            "0",
            "0[]",
            "0{\"s\\u0069d\":\"a\"}",
            "0{\"sid\":\"a b\"}",
        ] {
            assert!(
                seal_open(Version::Four, bad, &seal, "r1", &mut Vec::new()).is_err(),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_target_makes_it_fall_over(target in "/[ -~é]{0,40}") {
            for (websocket, eio3) in [(false, false), (false, true), (true, false), (true, true)] {
                if let Ok(Some(request)) = recognise(&Method::GET, &target, websocket, eio3) {
                    // What the upstream gets is read by us as we read it the first time.
                    let again = recognise(&Method::GET, &request.target(request.sid.as_deref()), websocket, eio3);
                    prop_assert!(matches!(again, Ok(Some(it)) if it.transport == request.transport && it.version == request.version));
                    prop_assert!(eio3 || request.version == Version::Four);
                }
            }
        }

        #[test]
        fn a_rebuilt_query_reads_the_same(extra in "[a-z0-9%=&+]{0,20}", sid in "[a-z0-9]{1,8}") {
            let target = format!("/socket.io/?{extra}&EIO=4&sid={sid}&transport=polling");
            if let Ok(Some(request)) = get(&target) {
                let again = get(&request.target(Some(&sid))).unwrap().unwrap();
                prop_assert_eq!(again.sid.as_deref(), Some(sid.as_str()));
            }
        }
    }
}
