//! One connection out of a seed, judged packet by packet as the gateway does, and written down for
//! the other reading.

use std::{fmt::Write as _, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis::{
    config::{SocketIo, SocketRules},
    name::{HostName, TenantId, UserId},
    route::Tighten,
    secret::SealingKey,
    socket::{
        Refused, Way,
        conversation::{Conversation, Terms, Verdict},
        engineio::Version,
        guard::Guard,
        notice::{Notice, Topic},
        payload::{Form, Part, Parts},
        polling::{self, Judged},
        seal::{Kind, Owner, Sealer},
        socketio,
    },
};
use serde_json::{Value, json};

use crate::{
    make::{self, Chance, Pool},
    value,
};

const REPLICA: &str = "0a0b0c0d";
const NOTICE: Notice<'_> = Notice {
    event: "uiBuilderControl",
    topic: Topic::SessionInvalid,
    reason: Some("revoked"),
    login_url: "https://auth.example.com/login",
    auth: None,
};

/// What every connection has in common.
#[derive(Debug)]
pub(crate) struct Place {
    terms: Terms,
    pool: Pool,
    /// For the other side: what each good `pid` opens to, and the tokens that are the gateway's.
    pub(crate) lists: Value,
}

impl Place {
    pub(crate) fn new() -> Self {
        let sealer = Sealer::new(&SealingKey::from_bytes([7; 32]));
        let seal_of = |user: &str| {
            sealer.for_owner(&Owner {
                host: &HostName::parse("r1.example.com").unwrap(),
                tenant: &TenantId::from("t1"),
                user: Some(&UserId::from(user)),
                login: Some([1; 32]),
            })
        };
        let seal = seal_of("alice");
        let pid = |replica, id| seal.seal(Kind::Pid, replica, id).unwrap();
        let good = [pid(REPLICA, "p1"), pid(REPLICA, "p~2.x")];
        let mut pids = good.to_vec();
        pids.extend([
            pid("ffff0000", "p1"),
            seal.seal(Kind::Sid, REPLICA, "p1").unwrap(),
            seal_of("bob").seal(Kind::Pid, REPLICA, "p1").unwrap(),
            "p1".to_owned(),
            "p 1".to_owned(),
        ]);
        let token = |typ: &str| {
            let header = json!({ "alg": "HS256", "typ": typ, "kid": "k1" }).to_string();
            let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
            format!("{header}.e30.c2ln")
        };
        let ours = vec![
            token("portcullis-session+jwt"),
            token("portcullis-access+jwt"),
        ];
        let lists = json!({
            "pids": { good[0].as_str(): "p1", good[1].as_str(): "p~2.x" },
            "tokens": ours,
        });
        let mut tokens = ours;
        tokens.extend([token("JWT"), "x".to_owned()]);
        let rules = SocketRules {
            max_polling_packets: 12,
            ..SocketRules::default()
        };
        Self {
            terms: Terms::new(
                seal,
                REPLICA.to_owned(),
                None,
                &SocketIo::default(),
                &Tighten::default(),
                &rules,
            ),
            pool: Pool { pids, tokens },
            lists,
        }
    }
}

/// A connection, written down as it goes.
struct Play<'a> {
    chance: Chance,
    place: &'a Place,
    terms: Terms,
    steps: Vec<Value>,
    /// A client's message still waits for attachments.
    amid: bool,
    /// Packets that were made up for it.
    made: u64,
}

/// Plays the connection of `seed`: how it went, and how many packets it had.
pub(crate) fn play(place: &Place, seed: u64) -> (Value, u64) {
    let mut chance = Chance::new(seed);
    let mut terms = place.terms.clone();
    terms.annotate = chance.percent(30);
    if chance.percent(20) {
        terms.namespaces = vec![vec!["/".to_owned(), "/app".to_owned()]];
    }
    if chance.percent(35) {
        terms = terms.of(Version::Three);
    }
    let resumed = chance.percent(8);
    let by_polling = resumed || chance.percent(40);
    let mut it = Play {
        chance,
        place,
        terms,
        steps: Vec::new(),
        amid: false,
        made: 0,
    };
    if by_polling {
        it.polling(resumed);
    } else {
        it.websocket();
    }
    let written = json!({
        "seed": seed,
        "version": if it.is_three() { 3 } else { 4 },
        "allow": it.terms.namespaces.first().cloned().unwrap_or_default(),
        "annotate": it.terms.annotate.then_some(r#"{"userValidated":false}"#),
        "resumed": resumed,
        "steps": it.steps,
    });
    (written, it.made)
}

impl Play<'_> {
    fn is_three(&self) -> bool {
        self.terms.version == Version::Three
    }

    fn websocket(&mut self) {
        let mut guard = Guard::open(Arc::new(self.terms.clone()));
        let opening = self.opening();
        let mut out = Vec::new();
        match guard.text(Way::Down, opening.as_bytes(), &mut out) {
            Ok(_) => self.opened(&opening, &text_of(out)),
            Err(why) => return self.refused(Way::Down, &opening, why),
        }
        for (way, text) in self.beginning() {
            if !self.by_websocket(&mut guard, way, &text) {
                return;
            }
        }
        for _ in 0..self.chance.below(14) {
            let way = self.way();
            let text = self.message(way);
            if !self.by_websocket(&mut guard, way, &text) {
                return;
            }
        }
        // (Amid attachments the last words are nothing that a decoder expects.)
        if !guard.is_amid_attachments() && !self.amid {
            let (down, up) = guard.farewell(Some(&NOTICE));
            self.ours(Way::Down, &down);
            self.ours(Way::Up, &up);
        }
    }

    /// One text message and the attachments that it announces. Whether it goes on after it.
    fn by_websocket(&mut self, guard: &mut Guard, way: Way, text: &str) -> bool {
        self.made += 1;
        let mut out = Vec::new();
        let verdict = match guard.text(way, text.as_bytes(), &mut out) {
            Ok((verdict, _)) => verdict,
            Err(why) => {
                self.refused(way, text, why);
                return false;
            }
        };
        if !text.starts_with('4') {
            self.steps.push(json!({ "t": "transport", "s": text }));
            return true;
        }
        let goes_on = goes_on(verdict, text, out);
        let mut due = self.judged(way, text, goes_on.as_deref());
        if due == 0 {
            let replies = guard.take_replies();
            self.ours(Way::Down, &replies);
            return true;
        }
        // (Now and then one too few, or one too many.)
        match self.chance.below(100) {
            0..=2 => {
                due -= 1;
                self.amid = way == Way::Up;
            }
            3..=5 => due += 1,
            _ => {}
        }
        for _ in 0..due {
            let bytes = self.bytes();
            // (Version 3 says in front of them what they are; now and then something else.)
            let mut frame = bytes.clone();
            if self.is_three() {
                let kind = if self.chance.percent(97) {
                    4
                } else {
                    self.chance.pick_of(&[0, 1, 2, 3, 5, 6, 7, b'4', 255])
                };
                frame.insert(0, kind);
            }
            match guard.binary(way, frame.first().copied()) {
                Ok(verdict) => {
                    self.frame(&frame, verdict);
                    self.binary(way, &bytes, verdict);
                }
                Err(why) => {
                    self.refused_bytes(way, &bytes, why);
                    return false;
                }
            }
        }
        true
    }

    fn polling(&mut self, resumed: bool) {
        let made = || {
            if resumed {
                Conversation::resumed()
            } else {
                Conversation::default()
            }
        };
        // The second judges packet by packet what the first judges body by body.
        let (mut whole, mut single) = (made(), made());
        if !resumed {
            let opening = self.opening();
            let form = Form::plain(self.terms.version);
            let mut body = Vec::new();
            form.append(&mut body, &opening);
            let judged = polling::judge_answer(&mut whole, &self.terms, true, (form, &body));
            match judged {
                Ok(judged) => {
                    let left = pieces(form, &judged.body.unwrap());
                    let text = match &left[..] {
                        [(Piece::Text(goes_on), _)] => Some(goes_on),
                        _ => None,
                    };
                    assert!(text.is_some(), "one packet of text: {left:?}");
                    self.opened(&opening, text.unwrap());
                }
                Err(why) => return self.refused_body(Way::Down, form, &body, why),
            }
        }
        let mut bodies: Vec<(Way, Form, Vec<u8>)> = Vec::new();
        for (way, text) in self.beginning() {
            let form = Form::plain(self.terms.version);
            let mut body = Vec::new();
            form.append(&mut body, &text);
            bodies.push((way, form, body));
        }
        for _ in 0..=self.chance.below(3) {
            let way = self.way();
            let (form, body) = self.made_body(way);
            bodies.push((way, form, body));
        }
        for (way, form, body) in bodies {
            let judged = match way {
                Way::Up => polling::judge_post(&mut whole, &self.terms, (form, &body)),
                Way::Down => polling::judge_answer(&mut whole, &self.terms, false, (form, &body)),
            };
            match judged {
                Ok(judged) => self.by_body(&mut single, way, form, &body, &judged),
                Err(why) => {
                    self.made += 1;
                    return self.refused_body(way, form, &body, why);
                }
            }
        }
    }

    /// A body that passed, and its packets one by one.
    fn by_body(
        &mut self,
        single: &mut Conversation,
        way: Way,
        form: Form,
        body: &[u8],
        judged: &Judged,
    ) {
        let after = judged
            .body
            .as_ref()
            .map_or_else(|| body.to_vec(), |it| it.to_vec());
        self.steps.push(json!({
            "t": "body",
            "bytes": form == Form::ThreeBytes,
            "s": shown(form, body),
            "packets": packets(form, body),
            "o": shown(form, &after),
            "left": packets(form, &after),
        }));
        let all = pieces(form, body);
        self.made += all.len() as u64;
        let mut left = Vec::new();
        for (piece, raw) in &all {
            match piece {
                Piece::Text(packet) if packet.starts_with('4') => {
                    let mut out = Vec::new();
                    let verdict = single
                        .message(way, packet, &self.terms, &mut out)
                        .expect("what passes among others passes alone");
                    let goes_on = goes_on(verdict, packet, out);
                    self.judged(way, packet, goes_on.as_deref());
                    match verdict {
                        Verdict::Pass => form.append_raw(&mut left, raw),
                        Verdict::Changed => form.append(&mut left, &goes_on.unwrap()),
                        Verdict::Drop => {}
                    }
                }
                Piece::Text(_) => form.append_raw(&mut left, raw),
                Piece::Bytes(bytes) => {
                    let verdict = single.binary(way).expect("an attachment that is due");
                    self.binary(way, bytes, verdict);
                    if verdict != Verdict::Drop {
                        form.append_raw(&mut left, raw);
                    }
                }
            }
        }
        if way == Way::Down {
            let replies = single.take_replies();
            self.ours(way, &replies);
            for reply in &replies {
                form.append(&mut left, reply);
            }
            if left.is_empty() && !all.is_empty() {
                form.append(&mut left, "6");
            }
        }
        if !all.is_empty() {
            assert_eq!(after, left, "of {body:?}");
        }
    }

    fn way(&mut self) -> Way {
        if self.chance.percent(80) {
            Way::Up
        } else {
            Way::Down
        }
    }

    fn message(&mut self, way: Way) -> String {
        let text = make::message(&mut self.chance, &self.place.pool, way == Way::Up, "me");
        // What version 3 says of a namespace is its name and maybe a query.
        match text.split_once(',') {
            Some((front, _)) if self.is_three() && text.starts_with("40/") => {
                let queries = ["", "", "?a=1", "?a=b&c=%2C", "?", "?x?y", "?é", "?/app"];
                format!("{front}{},", self.chance.pick(&queries))
            }
            _ => text,
        }
    }

    fn opening(&mut self) -> String {
        let mut text = self
            .chance
            .pick(&[
                r#"0{"sid":"6_apJ","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#,
                r#"0{"upgrades":[],"sid":"a-b.c~d"}"#,
                r#"0{ "sid" : "x" }"#,
            ])
            .to_owned();
        while self.chance.percent(6) {
            text = make::spoiled(&mut self.chance, &text);
        }
        text
    }

    /// How a connection begins nearly always: `/app` is opened.
    fn beginning(&mut self) -> Vec<(Way, String)> {
        if self.is_three() {
            let query = self.chance.pick(&["", "", "?token=x"]);
            let mut all = vec![
                (Way::Down, "40".to_owned()),
                (Way::Up, format!("40/app{query},")),
                (Way::Down, "40/app,".to_owned()),
            ];
            if self.chance.percent(8) {
                all.truncate(self.chance.below(all.len()));
            }
            return all;
        }
        let mut all = vec![
            (Way::Up, r#"40/app,{"clientId":"c1"}"#.to_owned()),
            (Way::Down, r#"40/app,{"sid":"me","pid":"p1"}"#.to_owned()),
        ];
        if self.chance.percent(40) {
            all.push((Way::Up, "40".to_owned()));
            all.push((Way::Down, r#"40{"sid":"root"}"#.to_owned()));
        }
        if self.chance.percent(8) {
            all.truncate(self.chance.below(all.len()));
        }
        all
    }

    fn made_body(&mut self, way: Way) -> (Form, Vec<u8>) {
        let form = match (self.is_three(), self.chance.percent(50)) {
            (false, _) => Form::Four,
            (true, true) => Form::ThreeText,
            (true, false) => Form::ThreeBytes,
        };
        let mut body = Vec::new();
        for _ in 0..=self.chance.below(4) {
            let text = self.message(way);
            let due = text
                .get(1..)
                .and_then(|it| socketio::read(self.terms.version, it, 0).ok())
                .map_or(0, |it| it.attachments.min(3));
            form.append(&mut body, &text);
            for _ in 0..due {
                let bytes = self.bytes();
                if form == Form::ThreeBytes {
                    body.push(1);
                    body.extend((bytes.len() + 1).to_string().bytes().map(|it| it - b'0'));
                    body.push(255);
                    body.push(if self.chance.percent(97) { 4 } else { 2 });
                    body.extend(bytes);
                    continue;
                }
                let bytes = STANDARD.encode(bytes);
                let kind = match (form, self.chance.percent(97)) {
                    (Form::Four, _) => "b",
                    (_, true) => "b4",
                    (_, false) => self.chance.pick(&["b", "b2", "b44", "4b"]),
                };
                let written = match self.chance.below(100) {
                    0 => format!("{kind}{}", bytes.trim_end_matches('=')),
                    1 => format!("{kind}{bytes}="),
                    2 => format!("{kind}AB=="),
                    3 => format!("{kind}A-_A"),
                    4 => format!("{kind}AA AA"),
                    5 => format!("{kind}AAAA\n"),
                    6 => continue,
                    _ => format!("{kind}{bytes}"),
                };
                form.append(&mut body, &written);
            }
        }
        if form == Form::ThreeBytes {
            while self.chance.percent(8) {
                let at = self.chance.below(body.len());
                body[at] = self
                    .chance
                    .pick_of(&[0, 1, 2, 9, 10, 255, b'4', b'b', 0xc3]);
            }
            return (form, body);
        }
        let mut text = text_of(body);
        while self.chance.percent(8) {
            text = make::spoiled(&mut self.chance, &text);
        }
        (form, text.into_bytes())
    }

    fn bytes(&mut self) -> Vec<u8> {
        let bytes = self.chance.next().to_be_bytes();
        let length = self.chance.below(9);
        bytes[..length].to_vec()
    }

    /// Writes down a Socket.IO packet that was judged; how many attachments it announces.
    fn judged(&mut self, way: Way, text: &str, goes_on: Option<&str>) -> u32 {
        let packet = socketio::read(self.terms.version, text, 1).unwrap();
        if goes_on.is_none() {
            self.steps.push(json!({ "t": "dropped" }));
            return packet.attachments;
        }
        let looked_into = way == Way::Up || packet.kind == socketio::Kind::Connect;
        let data = match packet.payload {
            None => Some(String::new()),
            Some(at) if looked_into => Some(value::spelled(text, at).unwrap()),
            Some(_) => None,
        };
        let pid = packet
            .payload
            .filter(|_| packet.kind == socketio::Kind::Connect && way == Way::Down)
            .and_then(|at| value::string_member(text, at, "pid"));
        let seal = pid.and_then(|it| self.terms.seal.seal(Kind::Pid, REPLICA, &it));
        self.steps.push(json!({
            "t": "message",
            "w": way as u8,
            "s": text,
            "o": goes_on,
            "seal": seal,
            "read": {
                "type": number(packet.kind),
                "nsp": packet.namespace,
                "id": ack_id(text, &packet),
                "attachments": packet.attachments,
                "data": data,
            },
        }));
        packet.attachments
    }

    /// A WebSocket's binary message as it came, with what version 3 has in front of it.
    fn frame(&mut self, bytes: &[u8], verdict: Verdict) {
        if self.is_three() && verdict != Verdict::Drop {
            self.steps.push(json!({ "t": "frame", "hex": hex(bytes) }));
        }
    }

    fn binary(&mut self, way: Way, bytes: &[u8], verdict: Verdict) {
        self.steps.push(match verdict {
            Verdict::Drop => json!({ "t": "dropped" }),
            Verdict::Pass | Verdict::Changed => {
                json!({ "t": "binary", "w": way as u8, "hex": hex(bytes) })
            }
        });
    }

    fn opened(&mut self, opening: &str, goes_on: &str) {
        let own = value::string_member(opening, 1, "sid").unwrap();
        let sealed = self
            .terms
            .seal
            .seal(self.terms.version.sid(), REPLICA, &own);
        self.steps
            .push(json!({ "t": "opened", "s": opening, "o": goes_on, "sid": sealed }));
    }

    fn ours(&mut self, way: Way, messages: &[String]) {
        for text in messages {
            let packet = socketio::read(self.terms.version, text, 1).unwrap();
            self.steps.push(json!({
                "t": "ours",
                "w": way as u8,
                "s": text,
                "nsp": packet.namespace,
                "type": number(packet.kind),
            }));
        }
    }

    fn refused(&mut self, way: Way, text: &str, why: Refused) {
        self.refuse(way, text, None, None, why);
    }

    fn refused_body(&mut self, way: Way, form: Form, body: &[u8], why: Refused) {
        self.refuse(way, &shown(form, body), None, Some(form), why);
    }

    fn refused_bytes(&mut self, way: Way, bytes: &[u8], why: Refused) {
        self.refuse(way, "", Some(&hex(bytes)), None, why);
    }

    fn refuse(
        &mut self,
        way: Way,
        text: &str,
        hex: Option<&str>,
        body: Option<Form>,
        why: Refused,
    ) {
        self.steps.push(json!({
            "t": "refused",
            "w": way as u8,
            "s": text,
            "hex": hex,
            "body": body.is_some(),
            "bytes": body == Some(Form::ThreeBytes),
            "why": why.to_string(),
        }));
    }
}

fn goes_on(verdict: Verdict, text: &str, out: Vec<u8>) -> Option<String> {
    match verdict {
        Verdict::Pass => Some(text.to_owned()),
        Verdict::Changed => Some(text_of(out)),
        Verdict::Drop => None,
    }
}

/// A packet of a body.
#[derive(Debug)]
enum Piece {
    Text(String),
    /// An attachment, without what says that it is one.
    Bytes(Vec<u8>),
}

/// The packets of a polling body, and each as it stands there.
fn pieces(form: Form, body: &[u8]) -> Vec<(Piece, Vec<u8>)> {
    if form == Form::Four {
        let text = std::str::from_utf8(body).unwrap();
        return text
            .split('\u{1e}')
            .filter(|_| !text.is_empty())
            .map(|it| {
                let piece = match it.strip_prefix('b') {
                    Some(bytes) => Piece::Bytes(STANDARD.decode(bytes).unwrap()),
                    None => Piece::Text(it.to_owned()),
                };
                (piece, it.as_bytes().to_vec())
            })
            .collect();
    }
    let mut found = Vec::new();
    for part in Parts::new(form, body).unwrap() {
        let (part, at) = part.unwrap();
        let raw = body[at].to_vec();
        let piece = match part {
            Part::Text(text) => Piece::Text(text.to_owned()),
            Part::Bytes(_) if form == Form::ThreeText => {
                let at = raw.iter().position(|it| *it == b':').unwrap();
                Piece::Bytes(STANDARD.decode(&raw[at + 3..]).unwrap())
            }
            Part::Bytes(_) => {
                let at = raw.iter().position(|it| *it == 255).unwrap();
                Piece::Bytes(raw[at + 2..].to_vec())
            }
        };
        found.push((piece, raw));
    }
    found
}

/// The packets of a polling body, binary ones as `b` and what they are in hexadecimal digits.
fn packets(form: Form, body: &[u8]) -> Vec<String> {
    pieces(form, body)
        .into_iter()
        .map(|(piece, _)| match piece {
            Piece::Text(text) => text,
            Piece::Bytes(bytes) => format!("b{}", hex(&bytes)),
        })
        .collect()
}

/// A body as it is written down: in hexadecimal digits where it is no text.
fn shown(form: Form, body: &[u8]) -> String {
    match form {
        Form::Four | Form::ThreeText => text_of(body.to_vec()),
        Form::ThreeBytes => hex(body),
    }
}

fn number(kind: socketio::Kind) -> u8 {
    match kind {
        socketio::Kind::Connect => 0,
        socketio::Kind::Disconnect => 1,
        socketio::Kind::Event => 2,
        socketio::Kind::Ack => 3,
        socketio::Kind::ConnectError => 4,
    }
}

/// The digits in front of the payload.
fn ack_id(text: &str, packet: &socketio::Packet<'_>) -> Option<u64> {
    let mut head = &text[2..packet.payload?];
    if packet.attachments > 0 {
        head = head.split_once('-')?.1;
    }
    if packet.namespace != "/" {
        head = head.split_once(',')?.1;
    }
    packet.has_ack.then(|| head.parse().unwrap())
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        write!(out, "{byte:02x}").unwrap();
    }
    out
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
