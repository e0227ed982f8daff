//! Socket.IO as its own servers and clients read it (socket.io-parser 4), leniently, and what must
//! hold of every packet that goes on.

use portcullis::socket::{conversation::Terms, seal::Kind};
use serde_json::Value;

/// Names that no client may emit.
const RESERVED: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// A packet as socket.io-parser hands it on.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading<'a> {
    /// 0 to 6.
    pub kind: u8,
    /// How many binary messages it waits for.
    pub attachments: u64,
    /// The namespace.
    pub namespace: &'a str,
    /// Whether it has an ack id.
    pub has_ack: bool,
    /// What follows the head, if anything does.
    pub payload: Option<&'a str>,
}

/// What JavaScript's `Number(c) == c` is true for: digits, and white space.
fn is_number_like(c: char) -> bool {
    c.is_ascii_digit() || c.is_whitespace() || c == '\u{feff}'
}

/// Reads `text` (without Engine.IO's `4`) step by step as `decodeString` does.
pub fn read(text: &str) -> Option<Reading<'_>> {
    let kind = text.chars().next()?.to_digit(10).filter(|it| *it <= 6)? as u8;
    let mut rest = &text[1..];
    let mut attachments = 0;
    if kind >= 5 {
        let (count, after) = rest.split_once('-')?;
        let count = count.trim();
        attachments = if count.is_empty() {
            0
        } else {
            count.parse().ok()?
        };
        rest = after;
    }
    let mut namespace = "/";
    if rest.starts_with('/') {
        let (name, after) = rest.split_once(',').unwrap_or((rest, ""));
        (namespace, rest) = (name, after);
    }
    let digits = rest
        .find(|c| !is_number_like(c))
        .unwrap_or(rest.len());
    let (id, after) = rest.split_at(digits);
    Some(Reading {
        kind,
        attachments,
        namespace,
        has_ack: !id.is_empty(),
        payload: (!after.is_empty()).then_some(after),
    })
}

/// Parses as JavaScript does: half a surrogate pair is no error there. `None`: not JSON.
/// `Some(None)`: JSON with a number that does not fit here.
pub fn parse(json: &str) -> Option<Option<Value>> {
    serde_json::from_str::<serde::de::IgnoredAny>(json).ok()?;
    Some(serde_json::from_str(&without_surrogates(json)).ok())
}

fn without_surrogates(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        let is_half = escape.get(1..4).is_some_and(|it| {
            let it = it.as_bytes();
            it[0] == b'u' && it[1].eq_ignore_ascii_case(&b'd') && it[2].to_ascii_lowercase() >= b'8'
        });
        let length = match escape.as_bytes().get(1) {
            Some(b'u') => 6,
            _ => 2,
        };
        let end = escape
            .char_indices()
            .nth(length)
            .map_or(escape.len(), |(at, _)| at);
        out.push_str(if is_half { "A" } else { &escape[..end] });
        rest = &escape[end..];
    }
    out.push_str(rest);
    out
}

/// What the visitor's side of one namespace is known by.
pub type OwnSid<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Panics where a message of a visitor's that goes on to a tenant says what nobody may say.
/// `text` begins with Engine.IO's `4`.
pub fn check_up(text: &str, terms: &Terms, own_sid: OwnSid<'_>) {
    let packet = read(&text[1..]).unwrap_or_else(|| panic!("no packet goes up: {text:?}"));
    let allowed = |it: &Vec<String>| it.is_empty() || it.iter().any(|one| one == packet.namespace);
    assert!(
        terms.namespaces.iter().all(allowed) || packet.kind != 0,
        "a namespace that is not allowed is opened: {text:?}"
    );
    let data = match packet.payload {
        None => None,
        Some(json) => Some(parse(json).unwrap_or_else(|| panic!("no JSON goes up: {text:?}"))),
    };
    let Some(Some(data)) = data else {
        assert!(
            data.is_some() || packet.kind <= 1,
            "nothing where something is due: {text:?}"
        );
        return;
    };
    match packet.kind {
        0 => {
            let auth = data.as_object();
            let auth = auth.unwrap_or_else(|| panic!("auth is no object: {text:?}"));
            for key in ["user", "token"] {
                assert!(!auth.contains_key(key), "auth.{key} goes up: {text:?}");
            }
            for key in ["clientId", "tabId", "pathName", "pageName"] {
                let it = auth.get(key);
                assert!(
                    it.is_none_or(|it| it.is_string() || it.is_null()),
                    "auth.{key} is no string: {text:?}"
                );
            }
            assert!(
                auth.get("pid").is_none_or(Value::is_string),
                "auth.pid is no string: {text:?}"
            );
        }
        2 | 5 => {
            let items = data.as_array();
            let items = items.unwrap_or_else(|| panic!("an event is no list: {text:?}"));
            let name = items.first().and_then(Value::as_str);
            let name = name.unwrap_or_else(|| panic!("an event without a name: {text:?}"));
            assert!(!RESERVED.contains(&name), "a reserved event: {text:?}");
            let message = items.get(1).and_then(Value::as_object);
            let token = message.and_then(|it| it.get("_auth")?.get("jwt")?.as_str());
            assert!(!token.is_some_and(is_ours), "a token of ours goes up: {text:?}");
            let message = message.filter(|_| name == "uiBuilderClient" || name == "uiBuilderControl");
            if let Some(message) = message {
                assert!(!message.contains_key("_client"), "_client goes up: {text:?}");
                let socket = message.get("_socketId").map(|it| it.as_str());
                assert!(
                    socket.is_none_or(|it| it.is_some() && it == own_sid(packet.namespace).as_deref()),
                    "another's _socketId goes up: {text:?}"
                );
            }
        }
        1 | 4 => panic!("more than there may be: {text:?}"),
        _ => assert!(data.is_array(), "an ack is no list: {text:?}"),
    }
}

fn is_ours(token: &str) -> bool {
    portcullis::token::is_ours(format!("Bearer {token}"))
}

/// Panics where of a visitor's event more was changed than the members that we answer for.
pub fn check_kept(came: &str, goes_on: &str, annotated: bool) {
    let (Some(before), Some(after)) = (event(came), event(goes_on)) else {
        return;
    };
    let to_uibuilder = matches!(before[0].as_str(), Some("uiBuilderClient" | "uiBuilderControl"));
    let mut before = before;
    if annotated && to_uibuilder {
        wrap(&mut before);
    }
    assert_eq!(kept(before), kept(after), "{came:?} became {goes_on:?}");
}

/// The name and the arguments, if it is an event whose numbers fit here.
fn event(text: &str) -> Option<Vec<Value>> {
    let packet = read(&text[1..]).filter(|it| it.kind == 2 || it.kind == 5)?;
    match parse(packet.payload?)?? {
        Value::Array(items) if !items.is_empty() => Some(items),
        _ => None,
    }
}

/// As uibuilder does it with what is no object, and we before we add to it.
fn wrap(event: &mut Vec<Value>) {
    let Some(message) = event.get_mut(1) else {
        event.push(serde_json::json!({}));
        return;
    };
    let is_plain = message
        .as_object()
        .is_some_and(|it| !it.contains_key("_placeholder"));
    if !is_plain {
        *message = serde_json::json!({ "payload": message.take() });
    }
}

/// Without what may be taken out of an event or put into it.
fn kept(mut event: Vec<Value>) -> Vec<Value> {
    if let Some(message) = event.get_mut(1).and_then(Value::as_object_mut) {
        for key in ["_client", "_socketId", "_auth"] {
            message.remove(key);
        }
    }
    event
}

/// Panics where a message of a tenant's that goes on to a visitor says what it may not. Gives
/// back the namespace and the `sid` that it opens, if it does.
pub fn check_down(text: &str, terms: &Terms) -> Option<(String, Option<String>)> {
    let packet = read(&text[1..]).unwrap_or_else(|| panic!("no packet goes down: {text:?}"));
    if packet.kind != 0 {
        return None;
    }
    let mut sid = None;
    if let Some(json) = packet.payload {
        let data = parse(json).unwrap_or_else(|| panic!("no JSON goes down: {text:?}"));
        if let Some(data) = data {
            let pid = data.get("pid").map(|it| it.as_str().unwrap_or_default());
            assert!(
                pid.is_none_or(|it| terms.seal.open(Kind::Pid, it).is_some()),
                "an open pid goes down: {text:?}"
            );
            sid = data.get("sid").and_then(Value::as_str).map(str::to_owned);
        }
    }
    Some((packet.namespace.to_owned(), sid))
}

/// Panics where a message to uibuilder goes on without one `_auth`, ours, in its first argument, or
/// where one to anybody else was annotated. (Ours is that of a request without a session: the
/// terms here have no owner.)
pub fn check_annotated(came: &str, goes_on: &str) {
    let packet = read(&goes_on[1..]).unwrap_or_else(|| panic!("no packet: {goes_on:?}"));
    let Some(json) = packet.payload.filter(|_| packet.kind == 2 || packet.kind == 5) else {
        return;
    };
    let Ok(event) = serde_json::from_str::<Vec<Shape>>(&without_surrogates(json)) else {
        return; // a number that does not fit here: `check_up` has seen that it is JSON
    };
    let Some(Shape::Text(name)) = event.first() else {
        panic!("an event without a name: {goes_on:?}");
    };
    let ours = r#""_auth":{"userValidated":false}"#;
    if name != "uiBuilderClient" && name != "uiBuilderControl" {
        assert!(!goes_on.contains(ours) || came.contains(ours), "annotated: {goes_on:?}");
        return;
    }
    let Some(Shape::Object(members)) = event.get(1) else {
        panic!("nothing to hold an annotation: {goes_on:?}");
    };
    let mut found = members.iter().filter(|it| it.0 == "_auth");
    let Some((_, Shape::Object(auth))) = found.next() else {
        panic!("no annotation: {goes_on:?}");
    };
    assert!(found.next().is_none(), "two of them: {goes_on:?}");
    let [(key, Shape::Other)] = &auth[..] else {
        panic!("not ours: {goes_on:?}");
    };
    assert!(key == "userValidated" && goes_on.contains(ours), "not ours: {goes_on:?}");
}

/// JSON, with every member of an object, those too that a map would hold once.
#[derive(Debug)]
enum Shape {
    Object(Vec<(String, Shape)>),
    Text(String),
    Other,
}

impl<'de> serde::Deserialize<'de> for Shape {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> serde::de::Visitor<'de> for Visitor {
    type Value = Shape;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = map.next_entry()? {
            all.push(member);
        }
        Ok(Shape::Object(all))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        while seq.next_element::<Shape>()?.is_some() {}
        Ok(Shape::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
}
