//! Packets out of a seed: what encoders write, what they do not, and both spoiled.

use std::fmt::Write as _;

/// Numbers that are the same for the same seed (splitmix64).
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap()
    }

    pub(crate) fn pick_of(&mut self, from: &[u8]) -> u8 {
        from[self.below(from.len())]
    }

    /// So many times out of a hundred.
    pub(crate) fn percent(&mut self, of_a_hundred: usize) -> bool {
        self.below(100) < of_a_hundred
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// What a generator may write into a packet besides what everybody may: see `main.rs`.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Sealed `pid`s, good and bad.
    pub(crate) pids: Vec<String>,
    /// Tokens of the gateway's own form.
    pub(crate) tokens: Vec<String>,
}

const NAMESPACES: [&str; 22] = [
    "/app?x=1,",
    "/app?,",
    "/,",
    "//x,",
    "/a/../app,",
    "/./app,",
    "/a b,",
    "/é,",
    "/app",
    "/\u{feff}app,",
    "/App,",
    "/__proto__,",
    "/a\"b,",
    "/a\u{0}b,",
    "/app/,",
    "/app#,",
    "/%61pp,",
    "/a\\b,",
    "/x;y,",
    "/-~._,",
    "/1,",
    ",",
];
const IDS: [&str; 17] = [
    "007",
    "00",
    "999999999999999",
    "9007199254740993",
    "99999999999999999999",
    "1e3",
    " 5",
    "5 ",
    "-1",
    "1.5",
    "\u{feff}1",
    "٣",
    "0x10",
    "Infinity",
    "\t",
    "1\n",
    "+1",
];
const COUNTS: [&str; 18] = [
    "01-", "0-", "-", "1e1-", " 1-", "+1-", "0x1-", "256-", "257-", "9999-", "10000-", "1.0-", "1",
    "1--", "٣-", "\u{a0}1-", "-1-", "1_0-",
];
const KEYS: [&str; 24] = [
    "user",
    "token",
    "clientId",
    "tabId",
    "pathName",
    "pageName",
    "pid",
    "offset",
    "sid",
    "_client",
    "_socketId",
    "_auth",
    "jwt",
    "uibuilderCtrl",
    "__proto__",
    "constructor",
    "toString",
    "",
    "a",
    "0",
    "10",
    "payload",
    "_placeholder",
    "topic",
];
const NAMES: [&str; 16] = [
    "uiBuilderClient",
    "uiBuilderClient",
    "uiBuilderClient",
    "uiBuilderControl",
    "a",
    "message",
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
    "__proto__",
    "",
    "uibuilderclient",
    "error",
];
const NUMBERS: [&str; 26] = [
    "0",
    "-0",
    "1",
    "1e308",
    "1e400",
    "-1E-400",
    "12345678901234567890",
    "0.1",
    "5e-324",
    "1E+2",
    "0e0",
    "-0.0e-0",
    "1.7976931348623159e308",
    "01",
    "1.",
    ".5",
    "+1",
    "-",
    "1e",
    "0x10",
    "NaN",
    "Infinity",
    "-Infinity",
    "1_0",
    "1n",
    "٣",
];
const TEXTS: [&str; 30] = [
    "hello",
    "",
    "\\ud800",
    "\\udc00\\ud800",
    "\\ud83d\\ude00",
    "\\uD83D\\uDE00",
    "😀",
    "\u{feff}",
    "\\ufeff",
    "\\u0000",
    "\u{2028}\u{2029}",
    "\u{7f}",
    "\\/",
    "\\\\",
    "\\\"",
    "\\b\\f\\n\\r\\t",
    "\u{10ffff}",
    "\u{fffd}",
    "e\u{301}",
    "\\u00e9",
    "\u{0}",
    "\u{1f}",
    "\t",
    "\\x41",
    "\\u12",
    "\\u00zz",
    "\\'",
    "\\",
    "auth",
    "\u{1e}",
];
/// What stands between two tokens: JSON's white space, and what is none of it.
const SPACES: [&str; 9] = [
    " ", "\t", "\n", "\r", "\u{a0}", "\u{feff}", "\u{b}", "\u{c}", "\u{2028}",
];
const SPOIL: [&str; 30] = [
    "\"", "\\", "{", "}", "[", "]", ",", ":", "/", "-", ".", "0", "7", "b", "4", " ", "\n",
    "\u{0}", "\u{feff}", "\u{a0}", "\u{1e}", "é", "😀", "\\u0061", "\\ud800", "user", "_client",
    "null", "?", "\u{2028}",
];

/// A Socket.IO packet as an Engine.IO message. `sid`: the visitor's own `socket.id`, where there
/// is one.
pub(crate) fn message(chance: &mut Chance, pool: &Pool, up: bool, sid: &str) -> String {
    let mut text = if chance.percent(2) {
        chance
            .pick(&["3", "2", "1", "6", "5", "0{}", "b", "bAAAA", "2probe", ""])
            .to_owned()
    } else {
        packet(chance, pool, up, sid)
    };
    while chance.percent(28) {
        text = spoiled(chance, &text);
    }
    text
}

fn packet(chance: &mut Chance, pool: &Pool, up: bool, sid: &str) -> String {
    let kind = match chance.below(100) {
        0..=19 => "0",
        20..=23 => "1",
        24..=63 => "2",
        64..=71 => "3",
        72..=74 => "4",
        75..=90 => "5",
        91..=95 => "6",
        _ => chance.pick(&["7", "8", "9", "", "b", "٣", " 2", "02"]),
    };
    let binary = matches!(kind, "5" | "6");
    let count = match (binary, chance.percent(88)) {
        (true, true) => chance.pick(&["1-", "1-", "2-", "3-"]),
        (true, false) => chance.pick(&COUNTS),
        (false, false) if chance.percent(20) => "1-",
        (false, _) => "",
    };
    let namespace = match chance.below(100) {
        0..=69 => "/app,",
        70..=84 => "",
        85..=91 => "/b/c.d~e_f-1,",
        _ => chance.pick(&NAMESPACES),
    };
    let wants_id = match kind {
        "3" | "6" => chance.percent(95),
        "2" | "5" => chance.percent(30),
        _ => chance.percent(4),
    };
    let id = match (wants_id, chance.percent(85)) {
        (true, true) => chance.pick(&["0", "7", "12", "123456"]),
        (true, false) => chance.pick(&IDS),
        (false, _) => "",
    };
    let payload = match kind {
        "0" if chance.percent(15) => String::new(),
        "0" | "4" if chance.percent(95) => connect(chance, pool, up),
        "1" if chance.percent(90) => String::new(),
        "2" | "5" if chance.percent(95) => event(chance, pool, sid),
        "3" | "6" if chance.percent(95) => list(chance),
        _ => any(chance, 0),
    };
    format!("4{kind}{count}{namespace}{id}{payload}")
}

/// What CONNECT says in either direction.
fn connect(chance: &mut Chance, pool: &Pool, up: bool) -> String {
    let mut members = Vec::new();
    for _ in 0..chance.below(5) {
        let word = KEYS[chance.below(KEYS.len())];
        let value = match word {
            "pid" if !pool.pids.is_empty() && chance.percent(80) => {
                let mut pid = pool.pids[chance.below(pool.pids.len())].clone();
                if chance.percent(10) {
                    pid = disguised(chance, &pid);
                }
                format!("\"{pid}\"")
            }
            "offset" | "clientId" | "tabId" | "pathName" | "pageName" if chance.percent(75) => {
                text(chance)
            }
            "sid" => format!("\"{}\"", chance.pick(&["me", "other", "m\\u0065", "é"])),
            _ => any(chance, 2),
        };
        members.push(member(chance, word, &value));
    }
    if !up && chance.percent(80) {
        members.push("\"sid\":\"me\"".to_owned());
    }
    object(chance, &members)
}

/// An event's list: its name and what it says.
fn event(chance: &mut Chance, pool: &Pool, sid: &str) -> String {
    let name = NAMES[chance.below(NAMES.len())];
    let name = match chance.below(100) {
        0..=88 => format!("\"{name}\""),
        89..=93 => format!("\"{}\"", disguised(chance, name)),
        _ => any(chance, 3),
    };
    let mut parts = vec![name];
    for at in 0..chance.below(4) {
        let part = if at == 0 && chance.percent(75) {
            said(chance, pool, sid)
        } else {
            any(chance, 2)
        };
        parts.push(part);
    }
    bracketed(chance, &parts)
}

/// A message as uibuilder's client sends it, more or less.
fn said(chance: &mut Chance, pool: &Pool, sid: &str) -> String {
    let mut members = Vec::new();
    for _ in 0..chance.below(5) {
        let word = KEYS[chance.below(KEYS.len())];
        let value = match word {
            "_socketId" if chance.percent(80) => {
                format!("\"{}\"", [sid, "other"][chance.below(2)])
            }
            "_auth" if chance.percent(80) => auth(chance, pool),
            "uibuilderCtrl" => format!("\"{}\"", chance.pick(&["auth", "authorise", "ready"])),
            _ => any(chance, 2),
        };
        members.push(member(chance, word, &value));
    }
    object(chance, &members)
}

fn auth(chance: &mut Chance, pool: &Pool) -> String {
    let mut members = Vec::new();
    for _ in 0..chance.below(4) {
        let value = if chance.percent(70) {
            let mut token = pool.tokens[chance.below(pool.tokens.len())].clone();
            if chance.percent(8) {
                token = disguised(chance, &token);
            }
            format!("\"{token}\"")
        } else {
            any(chance, 4)
        };
        let key = chance.pick(&["jwt", "jwt", "jwt", "id", "info", "userValidated"]);
        members.push(member(chance, key, &value));
    }
    object(chance, &members)
}

fn list(chance: &mut Chance) -> String {
    let parts: Vec<String> = (0..chance.below(4)).map(|_| any(chance, 1)).collect();
    bracketed(chance, &parts)
}

fn any(chance: &mut Chance, depth: usize) -> String {
    match chance.below(if depth > 4 { 60 } else { 100 }) {
        0..=24 => text(chance),
        25..=44 => {
            let most = if chance.percent(70) {
                13
            } else {
                NUMBERS.len()
            };
            NUMBERS[chance.below(most)].to_owned()
        }
        45..=54 => chance.pick(&["true", "false", "null"]).to_owned(),
        55..=59 => chance
            .pick(&["undefined", "tru", "True", "nulll", "", "'a'", "/**/1"])
            .to_owned(),
        60..=74 => {
            let parts: Vec<String> = (0..chance.below(3))
                .map(|_| any(chance, depth + 1))
                .collect();
            bracketed(chance, &parts)
        }
        75..=82 => format!(
            "{{\"_placeholder\":{},\"num\":{}}}",
            chance.pick(&["true", "true", "true", "1"]),
            chance.pick(&["0", "0", "1", "2", "-1", "1e0", "\"0\"", "0.5"])
        ),
        83..=84 => {
            let deep = 55 + chance.below(12);
            format!("{}{}", "[".repeat(deep), "]".repeat(deep))
        }
        _ => {
            let members: Vec<String> = (0..chance.below(4))
                .map(|_| {
                    let word = KEYS[chance.below(KEYS.len())];
                    let value = any(chance, depth + 1);
                    member(chance, word, &value)
                })
                .collect();
            object(chance, &members)
        }
    }
}

fn text(chance: &mut Chance) -> String {
    let mut out = String::from("\"");
    for _ in 0..chance.below(4) {
        // (Mostly what is allowed in a string; the last few are not.)
        let most = if chance.percent(92) { 20 } else { TEXTS.len() };
        out.push_str(TEXTS[chance.below(most)]);
    }
    out.push('"');
    out
}

fn member(chance: &mut Chance, word: &str, value: &str) -> String {
    let key = if chance.percent(5) {
        disguised(chance, word)
    } else {
        word.to_owned()
    };
    let (before, after) = (space(chance), space(chance));
    format!("\"{key}\"{before}:{after}{value}")
}

/// The same word for whoever reads escapes.
fn disguised(chance: &mut Chance, word: &str) -> String {
    let mut out = String::new();
    for c in word.chars() {
        if chance.percent(30) {
            write!(out, "\\u{:04x}", u32::from(c)).unwrap();
        } else {
            out.push(c);
        }
    }
    out
}

fn space(chance: &mut Chance) -> &'static str {
    match chance.below(200) {
        0..=9 => SPACES[chance.below(4)],
        10 => SPACES[chance.below(SPACES.len())],
        _ => "",
    }
}

fn joined(chance: &mut Chance, parts: &[String]) -> String {
    let mut out = space(chance).to_owned();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push(',');
            out.push_str(space(chance));
        }
        out.push_str(part);
        out.push_str(space(chance));
    }
    out
}

fn object(chance: &mut Chance, members: &[String]) -> String {
    format!("{{{}}}", joined(chance, members))
}

fn bracketed(chance: &mut Chance, parts: &[String]) -> String {
    format!("[{}]", joined(chance, parts))
}

/// `text` with something left out, doubled, put in or cut off.
pub(crate) fn spoiled(chance: &mut Chance, text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = chance.below(chars.len() + 1);
    let to = (at + 1 + chance.below(4)).min(chars.len());
    let at = at.min(to);
    let (front, part, rest) = (&chars[..at], &chars[at..to], &chars[to..]);
    let put: Vec<char> = SPOIL[chance.below(SPOIL.len())].chars().collect();
    let pieces: Vec<&[char]> = match chance.below(7) {
        0 => vec![front, rest],
        1 => vec![front, part, part, rest],
        2 => vec![front],
        3 => vec![front, &put, part, rest],
        4 => vec![front, &put, rest],
        5 => vec![&put, front, part, rest],
        _ => vec![front, part, rest, &put],
    };
    pieces.concat().into_iter().collect()
}
