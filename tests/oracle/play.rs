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
        guard::Guard,
        notice::{Notice, Topic},
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
        "allow": it.terms.namespaces.first().cloned().unwrap_or_default(),
        "annotate": it.terms.annotate.then_some(r#"{"userValidated":false}"#),
        "resumed": resumed,
        "steps": it.steps,
    });
    (written, it.made)
}

impl Play<'_> {
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
            match guard.binary(way) {
                Ok(verdict) => self.binary(way, &bytes, verdict),
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
            let judged = polling::judge_answer(&mut whole, &self.terms, true, opening.as_bytes());
            match judged {
                Ok(judged) => self.opened(&opening, &text_of(judged.body.unwrap().to_vec())),
                Err(why) => return self.refused_body(Way::Down, &opening, why),
            }
        }
        let mut bodies: Vec<(Way, String)> = self.beginning();
        for _ in 0..=self.chance.below(3) {
            let way = self.way();
            bodies.push((way, self.made_body(way)));
        }
        for (way, body) in bodies {
            self.made += body.split('\u{1e}').count() as u64;
            let judged = match way {
                Way::Up => polling::judge_post(&mut whole, &self.terms, body.as_bytes()),
                Way::Down => polling::judge_answer(&mut whole, &self.terms, false, body.as_bytes()),
            };
            match judged {
                Ok(judged) => self.by_body(&mut single, way, &body, &judged),
                Err(why) => return self.refused_body(way, &body, why),
            }
        }
    }

    /// A body that passed, and its packets one by one.
    fn by_body(&mut self, single: &mut Conversation, way: Way, body: &str, judged: &Judged) {
        let after = judged
            .body
            .as_ref()
            .map_or_else(|| body.to_owned(), |it| text_of(it.to_vec()));
        self.steps.push(json!({
            "t": "body",
            "s": body,
            "packets": packets(body),
            "o": after,
            "left": packets(&after),
        }));
        let mut left: Vec<String> = Vec::new();
        for packet in body.split('\u{1e}').filter(|_| !body.is_empty()) {
            let mut out = Vec::new();
            if packet.starts_with('4') {
                let verdict = single
                    .message(way, packet, &self.terms, &mut out)
                    .expect("what passes among others passes alone");
                let goes_on = goes_on(verdict, packet, out);
                self.judged(way, packet, goes_on.as_deref());
                left.extend(goes_on);
            } else if let Some(bytes) = packet.strip_prefix('b') {
                let verdict = single.binary(way).expect("an attachment that is due");
                self.binary(way, &STANDARD.decode(bytes).unwrap(), verdict);
                if verdict != Verdict::Drop {
                    left.push(packet.to_owned());
                }
            } else {
                left.push(packet.to_owned());
            }
        }
        if way == Way::Down {
            let replies = single.take_replies();
            self.ours(way, &replies);
            left.extend(replies);
        }
        assert_eq!(after, left.join("\u{1e}"), "of {body:?}");
    }

    fn way(&mut self) -> Way {
        if self.chance.percent(80) {
            Way::Up
        } else {
            Way::Down
        }
    }

    fn message(&mut self, way: Way) -> String {
        make::message(&mut self.chance, &self.place.pool, way == Way::Up, "me")
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

    fn made_body(&mut self, way: Way) -> String {
        let mut parts = Vec::new();
        for _ in 0..=self.chance.below(4) {
            let text = self.message(way);
            let due = text
                .get(1..)
                .and_then(|it| socketio::read(it, 0).ok())
                .map_or(0, |it| it.attachments.min(3));
            parts.push(text);
            for _ in 0..due {
                let bytes = STANDARD.encode(self.bytes());
                parts.push(match self.chance.below(100) {
                    0 => format!("b{}", bytes.trim_end_matches('=')),
                    1 => format!("b{bytes}="),
                    2 => "bAB==".to_owned(),
                    3 => "bA-_A".to_owned(),
                    4 => "bAA AA".to_owned(),
                    5 => "bAAAA\n".to_owned(),
                    6 => continue,
                    _ => format!("b{bytes}"),
                });
            }
        }
        let mut body = parts.join("\u{1e}");
        while self.chance.percent(8) {
            body = make::spoiled(&mut self.chance, &body);
        }
        body
    }

    fn bytes(&mut self) -> Vec<u8> {
        let bytes = self.chance.next().to_be_bytes();
        let length = self.chance.below(9);
        bytes[..length].to_vec()
    }

    /// Writes down a Socket.IO packet that was judged; how many attachments it announces.
    fn judged(&mut self, way: Way, text: &str, goes_on: Option<&str>) -> u32 {
        let packet = socketio::read(text, 1).unwrap();
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
        let sealed = self.terms.seal.seal(Kind::Sid, REPLICA, &own);
        self.steps
            .push(json!({ "t": "opened", "s": opening, "o": goes_on, "sid": sealed }));
    }

    fn ours(&mut self, way: Way, messages: &[String]) {
        for text in messages {
            let packet = socketio::read(text, 1).unwrap();
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
        self.refuse(way, text, None, false, why);
    }

    fn refused_body(&mut self, way: Way, body: &str, why: Refused) {
        self.refuse(way, body, None, true, why);
    }

    fn refused_bytes(&mut self, way: Way, bytes: &[u8], why: Refused) {
        self.refuse(way, "", Some(&hex(bytes)), false, why);
    }

    fn refuse(&mut self, way: Way, text: &str, hex: Option<&str>, body: bool, why: Refused) {
        self.steps.push(json!({
            "t": "refused",
            "w": way as u8,
            "s": text,
            "hex": hex,
            "body": body,
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

/// The packets of a polling body, binary ones as `b` and what they are in hexadecimal digits.
fn packets(body: &str) -> Vec<String> {
    body.split('\u{1e}')
        .map(|it| match it.strip_prefix('b') {
            Some(bytes) => format!("b{}", hex(&STANDARD.decode(bytes).unwrap())),
            None => it.to_owned(),
        })
        .collect()
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
