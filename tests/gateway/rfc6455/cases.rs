//! The cases: what is sent, and what must come of it. Each is tried in both directions, unless it
//! is about one of them.

use portcullis::socket::Way;

/// Largest frame of a plain WebSocket here.
pub(super) const MAX_FRAME: usize = 128 << 10;
/// Largest message of a guarded one here.
pub(super) const MAX_MESSAGE: usize = 16 << 10;

const FIN: u8 = 0x80;
const MORE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// The longest that a control frame may carry.
const LONG: [u8; 125] = [b'*'; 125];
const GOOD: &[u8] = b"good";
const WAYS: [Way; 2] = [Way::Up, Way::Down];

/// Frames: first byte and payload.
type Frames = Vec<(u8, &'static [u8])>;

/// What must come of a case.
#[derive(Debug, Clone)]
pub(super) enum Expected {
    /// It comes out as it went in.
    Same,
    /// This much of it comes out, and nothing after it.
    Front(Vec<u8>),
    /// These frames come out: first byte and payload.
    Messages(Vec<(u8, Vec<u8>)>),
    /// So much comes out; then both ends are closed with this code.
    Closed { code: u16, before: Vec<u8> },
}

/// One case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    /// Of RFC 6455.
    pub(super) section: &'static str,
    pub(super) way: Way,
    /// On an Engine.IO connection, whose messages are looked into.
    pub(super) guarded: bool,
    pub(super) sent: Vec<u8>,
    /// Sent in pieces of so many bytes.
    pub(super) chop: Option<usize>,
    /// It ends with a close frame of its own.
    pub(super) closes_itself: bool,
    pub(super) expected: Expected,
}

/// A frame whose first byte is `first`, masked where it goes up.
pub(super) fn frame(way: Way, first: u8, payload: &[u8]) -> Vec<u8> {
    let wide = match payload.len() {
        0..126 => 0,
        126..65_536 => 2,
        _ => 8,
    };
    framed(
        first,
        payload,
        wide,
        way == Way::Up,
        [0x37, 0xfa, 0x21, 0x3d],
    )
}

/// A frame whose length is written in `wide` further bytes.
fn framed(first: u8, payload: &[u8], wide: usize, masked: bool, mask: [u8; 4]) -> Vec<u8> {
    let length = payload.len() as u64;
    let short = match wide {
        0 => u8::try_from(length).unwrap(),
        2 => 126,
        _ => 127,
    };
    let mut out = vec![first, short | if masked { 0x80 } else { 0 }];
    out.extend_from_slice(&length.to_be_bytes()[8 - wide..]);
    if masked {
        out.extend_from_slice(&mask);
        out.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(it, by)| it ^ by),
        );
    } else {
        out.extend_from_slice(payload);
    }
    out
}

/// Frames one after the other.
fn run(way: Way, frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames
        .iter()
        .flat_map(|(first, payload)| frame(way, *first, payload))
        .collect()
}

fn case(section: &'static str, name: &str, way: Way, sent: Vec<u8>, expected: Expected) -> Case {
    let arrow = match way {
        Way::Up => "up",
        Way::Down => "down",
    };
    Case {
        name: format!("{name}, {arrow}"),
        section,
        way,
        guarded: false,
        sent,
        chop: None,
        closes_itself: false,
        expected,
    }
}

fn same(section: &'static str, name: &str, way: Way, sent: Vec<u8>) -> Case {
    case(section, name, way, sent, Expected::Same)
}

fn refused(section: &'static str, name: &str, way: Way, sent: Vec<u8>, code: u16) -> Case {
    let before = Vec::new();
    case(section, name, way, sent, Expected::Closed { code, before })
}

/// What passes a plain WebSocket, byte by byte.
pub(super) fn passing() -> Vec<Case> {
    let mut all = Vec::new();
    let sequences = [sequences(), unread()].concat();
    for way in WAYS {
        for size in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537] {
            for (opcode, kind) in [(TEXT, "letters"), (BINARY, "bytes")] {
                let sent = frame(way, FIN | opcode, &vec![b'*'; size]);
                all.push(same("5.2", &format!("{size} {kind}"), way, sent));
            }
        }
        for (size, chop) in [(126, 1), (5_000, 7), (65_536, 997), (65_537, 8_191)] {
            all.push(Case {
                chop: Some(chop),
                ..same(
                    "5.2",
                    &format!("{size} bytes, {chop} at a time"),
                    way,
                    frame(way, FIN | BINARY, &vec![b'*'; size]),
                )
            });
        }
        for (section, name, frames) in &sequences {
            all.push(same(section, name, way, run(way, frames)));
        }
        all.push(Case {
            chop: Some(1),
            ..same(
                "5.4",
                "parts and pings, byte by byte",
                way,
                run(way, &[(TEXT, b"a"), (PING, b"p"), (FIN, b"b")]),
            )
        });
    }
    for mask in [[0; 4], [255; 4], [0, 0, 0, 1]] {
        let sent = framed(FIN | TEXT, b"masked", 0, true, mask);
        all.push(same("5.3", &format!("a mask of {mask:?}"), Way::Up, sent));
    }
    all
}

/// Frames that may follow one another.
fn sequences() -> Vec<(&'static str, &'static str, Frames)> {
    let many: Frames = vec![(PING, b"many"); 10];
    let in_64: Frames = (0..64)
        .map(|at| {
            let first = match at {
                0 => TEXT,
                63 => FIN,
                _ => MORE,
            };
            (first, &b"part"[..])
        })
        .collect();
    vec![
        ("5.5.2", "a ping of nothing", vec![(PING, b"")]),
        ("5.5.2", "a ping", vec![(PING, b"are you there")]),
        (
            "5.5.2",
            "a ping of bytes",
            vec![(PING, &[0, 255, 254, 253, 0, 251])],
        ),
        ("5.5.2", "a ping of 125 bytes", vec![(PING, &LONG)]),
        ("5.5.2", "ten pings", many),
        ("5.5.3", "a pong nobody asked for", vec![(PONG, b"")]),
        ("5.5.3", "a pong of 125 bytes", vec![(PONG, &LONG)]),
        (
            "5.5.3",
            "a pong, then a ping",
            vec![(PONG, b"a"), (PING, b"b")],
        ),
        (
            "5.4",
            "text in two parts",
            vec![(TEXT, b"frag"), (FIN, b"ment")],
        ),
        (
            "5.4",
            "bytes in two parts",
            vec![(BINARY, b"frag"), (FIN, b"ment")],
        ),
        (
            "5.4",
            "parts of nothing",
            vec![(TEXT, b""), (MORE, b""), (FIN, b"")],
        ),
        (
            "5.4",
            "a part in the middle",
            vec![(TEXT, b""), (MORE, b"mid"), (FIN, b"")],
        ),
        ("5.4", "64 parts", in_64),
        (
            "5.4",
            "a ping between parts",
            vec![(TEXT, b"a"), (PING, b"p"), (FIN, b"b")],
        ),
        (
            "5.4",
            "a pong between parts",
            vec![(BINARY, b"a"), (PONG, b"p"), (FIN, b"b")],
        ),
        (
            "5.4",
            "two pings between five parts",
            vec![
                (TEXT, b"1"),
                (MORE, b"2"),
                (PING, b"p"),
                (MORE, b"3"),
                (MORE, b"4"),
                (PING, b"q"),
                (FIN, b"5"),
            ],
        ),
        (
            "5.4",
            "a message after one in parts",
            vec![(TEXT, b"a"), (FIN, b"b"), (FIN | TEXT, b"c")],
        ),
        (
            "5.4",
            "text, then bytes",
            vec![(FIN | TEXT, b"a"), (FIN | BINARY, b"b")],
        ),
    ]
}

/// The two ends look at their text themselves: between them it is bytes.
fn unread() -> Vec<(&'static str, &'static str, Frames)> {
    vec![
        (
            "8.1",
            "text of more bytes than letters",
            vec![(FIN | TEXT, "κόσμε 😀".as_bytes())],
        ),
        (
            "8.1",
            "a letter cut in two",
            vec![(TEXT, b"\xce"), (FIN, b"\xba")],
        ),
        (
            "8.1",
            "a letter cut in two by a ping",
            vec![(TEXT, b"\xf0\x9f"), (PING, b""), (FIN, b"\x98\x80")],
        ),
        (
            "8.1",
            "text that is not UTF-8",
            vec![(FIN | TEXT, b"\xff\xfe")],
        ),
        (
            "8.1",
            "a letter that never ends",
            vec![(TEXT, b"\xe2\x82"), (FIN, b"")],
        ),
    ]
}

/// What is no frame, or not now.
pub(super) fn malformed() -> Vec<Case> {
    let each = |way| [reserved(way), misplaced(way), of_control(way), lengths(way)].concat();
    WAYS.into_iter().flat_map(each).collect()
}

/// Reserved bits and opcodes.
fn reserved(way: Way) -> Vec<Case> {
    let mut all = Vec::new();
    for bits in [0x40, 0x20, 0x10, 0x70] {
        for (first, what) in [
            (FIN | TEXT, "text"),
            (FIN | BINARY, "bytes"),
            (PING, "a ping"),
            (CLOSE, "a close"),
        ] {
            let sent = frame(way, first | bits, b"");
            all.push(refused(
                "5.2",
                &format!("reserved bits {bits:02x} on {what}"),
                way,
                sent,
                1002,
            ));
        }
    }
    let mut sent = run(way, &[(TEXT, GOOD)]);
    let before = sent.clone();
    sent.extend(frame(way, FIN | 0x40, GOOD));
    all.push(case(
        "5.2",
        "a reserved bit on the last part",
        way,
        sent,
        Expected::Closed { code: 1002, before },
    ));
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let sent = frame(way, FIN | opcode, b"");
        all.push(refused("5.2", &format!("opcode {opcode}"), way, sent, 1002));
        let before = frame(way, FIN | TEXT, GOOD);
        let sent = [
            before.clone(),
            frame(way, FIN | opcode, GOOD),
            before.clone(),
        ]
        .concat();
        all.push(case(
            "5.2",
            &format!("opcode {opcode} after a message"),
            way,
            sent,
            Expected::Closed { code: 1002, before },
        ));
    }
    all
}

/// Parts of messages where none may be.
fn misplaced(way: Way) -> Vec<Case> {
    let mut all = Vec::new();
    for (name, frames, passes) in [
        ("a last part of nothing", vec![(FIN, GOOD)], 0),
        ("a part of nothing", vec![(MORE, GOOD)], 0),
        (
            "a part after the last",
            vec![(TEXT, GOOD), (FIN, GOOD), (FIN, GOOD)],
            2,
        ),
        (
            "a part after a whole message",
            vec![(FIN | TEXT, GOOD), (MORE, GOOD)],
            1,
        ),
        (
            "text inside text",
            vec![(TEXT, GOOD), (FIN | TEXT, GOOD)],
            1,
        ),
        (
            "text begun inside text",
            vec![(TEXT, GOOD), (TEXT, GOOD)],
            1,
        ),
        (
            "bytes inside text",
            vec![(TEXT, GOOD), (MORE, GOOD), (FIN | BINARY, GOOD)],
            2,
        ),
        ("text inside bytes", vec![(BINARY, GOOD), (TEXT, GOOD)], 1),
    ] {
        let expected = Expected::Closed {
            code: 1002,
            before: run(way, &frames[..passes]),
        };
        all.push(case("5.4", name, way, run(way, &frames), expected));
    }
    all
}

/// Control frames that are none, and masks on the wrong side.
fn of_control(way: Way) -> Vec<Case> {
    let mut all = Vec::new();
    for (opcode, name) in [(8, "close"), (9, "ping"), (10, "pong")] {
        let sent = frame(way, opcode, b"");
        all.push(refused(
            "5.5",
            &format!("a {name} in parts"),
            way,
            sent,
            1002,
        ));
        let sent = frame(way, FIN | opcode, &[b'*'; 126]);
        all.push(refused(
            "5.5",
            &format!("a {name} of 126 bytes"),
            way,
            sent,
            1002,
        ));
        let sent = framed(FIN | opcode, b"", 8, way == Way::Up, [0; 4]);
        all.push(refused(
            "5.5",
            &format!("a {name} with a long length"),
            way,
            sent,
            1002,
        ));
        // The mask is there exactly where it must not be.
        let sent = framed(FIN | opcode, b"", 0, way == Way::Down, [1; 4]);
        all.push(refused(
            "5.1",
            &format!("a {name} masked the wrong way"),
            way,
            sent,
            1002,
        ));
    }
    for (opcode, name) in [(TEXT, "text"), (BINARY, "bytes")] {
        let sent = framed(FIN | opcode, GOOD, 0, way == Way::Down, [1; 4]);
        all.push(refused(
            "5.1",
            &format!("{name} masked the wrong way"),
            way,
            sent,
            1002,
        ));
    }
    all
}

/// Lengths that are not written the short way.
fn lengths(way: Way) -> Vec<Case> {
    let mut all = Vec::new();
    for (size, wide) in [
        (0, 2),
        (1, 2),
        (125, 2),
        (0, 8),
        (125, 8),
        (126, 8),
        (65_535, 8),
    ] {
        let sent = framed(
            FIN | BINARY,
            &vec![b'*'; size],
            wide,
            way == Way::Up,
            [7; 4],
        );
        all.push(refused(
            "5.2",
            &format!("{size} bytes with {wide} bytes of length"),
            way,
            sent,
            1002,
        ));
    }
    let mask = if way == Way::Up { 0x80 } else { 0 };
    let sent = [&[0x82, 127 | mask, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8]].concat();
    all.push(refused("5.2", "a length of 64 bits", way, sent, 1002));
    all
}

/// Close frames, and what comes after them.
pub(super) fn closing() -> Vec<Case> {
    let mut all = Vec::new();
    for way in WAYS {
        let close = |payload: &[u8]| frame(way, CLOSE, payload);
        let coded = |code: u16, reason: &[u8]| [&code.to_be_bytes()[..], reason].concat();
        let mut passes = |section, name: &str, sent: Vec<u8>, guarded: bool| {
            all.push(Case {
                closes_itself: true,
                guarded,
                ..same(section, name, way, sent)
            });
        };
        passes("5.5.1", "a close without a code", close(b""), false);
        passes("5.5.1", "a close without a code, guarded", close(b""), true);
        for code in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999,
            4000, 4999,
        ] {
            passes(
                "7.4",
                &format!("code {code}"),
                close(&coded(code, b"")),
                false,
            );
        }
        passes(
            "7.4",
            "code 1000, guarded",
            close(&coded(1000, b"bye")),
            true,
        );
        passes(
            "7.4",
            "code 4000, guarded",
            close(&coded(4000, b"bye")),
            true,
        );
        passes(
            "5.5.1",
            "a reason",
            close(&coded(1000, "à bientôt".as_bytes())),
            false,
        );
        passes(
            "5.5.1",
            "a reason of 123 bytes",
            close(&coded(1000, &[b'*'; 123])),
            false,
        );
        let amid = run(way, &[(TEXT, b"half"), (CLOSE, b"\x03\xe8")]);
        passes("5.4", "a close amid a message", amid, false);
        for guarded in [false, true] {
            let mut refuses = |section, name: &str, payload: &[u8], code: u16| {
                let name = format!("{name}{}", if guarded { ", guarded" } else { "" });
                all.push(Case {
                    guarded,
                    ..refused(section, &name, way, close(payload), code)
                });
            };
            for code in [
                0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
            ] {
                refuses("7.4.1", &format!("code {code}"), &coded(code, b""), 1002);
            }
            refuses("5.5.1", "half a code", b"\x03", 1002);
            refuses(
                "5.5.1",
                "a reason of 124 bytes",
                &coded(1000, &[b'*'; 124]),
                1002,
            );
            refuses(
                "5.5.1",
                "a reason that is not UTF-8",
                &coded(1000, b"\xff"),
                1007,
            );
            refuses(
                "5.5.1",
                "a reason cut amid a letter",
                &coded(1000, b"\xe2\x82"),
                1007,
            );
        }
        all.extend(after_close(way));
    }
    all
}

/// Nothing counts after a close frame.
fn after_close(way: Way) -> Vec<Case> {
    let mut all = Vec::new();
    let close = |payload: &[u8]| frame(way, CLOSE, payload);
    for (name, after) in [
        ("text", frame(way, FIN | TEXT, b"late")),
        ("a ping", frame(way, PING, b"late")),
        ("another close", close(b"")),
        ("what is no frame", vec![0xff; 9]),
    ] {
        let front = close(b"\x03\xe8");
        let sent = [front.clone(), after].concat();
        all.push(Case {
            closes_itself: true,
            ..case(
                "5.5.1",
                &format!("{name} after a close"),
                way,
                sent,
                Expected::Front(front),
            )
        });
    }
    all
}

/// On an Engine.IO connection text is looked into: whole, and UTF-8.
pub(super) fn text() -> Vec<Case> {
    let mut all = Vec::new();
    let said = "42[\"κ😀\"]".as_bytes();
    for way in WAYS {
        let mut guarded = |section, name: &str, sent: Vec<u8>, expected: Expected| {
            all.push(Case {
                guarded: true,
                ..case(section, name, way, sent, expected)
            });
        };
        guarded(
            "8.1",
            "letters of more bytes",
            frame(way, FIN | TEXT, said),
            Expected::Same,
        );
        for cut in 1..said.len() {
            let sent = run(way, &[(TEXT, &said[..cut]), (FIN, &said[cut..])]);
            let whole = vec![(FIN | TEXT, said.to_vec())];
            guarded(
                "8.1",
                &format!("cut at byte {cut}"),
                sent,
                Expected::Messages(whole),
            );
        }
        let each: Vec<(u8, &[u8])> = said
            .chunks(1)
            .enumerate()
            .flat_map(|(at, it)| {
                let first = if at == 0 {
                    TEXT
                } else if at + 1 == said.len() {
                    FIN
                } else {
                    MORE
                };
                [(first, it), (PING, &b"p"[..])]
            })
            .collect();
        // A ping goes on at once, the message when it is whole.
        let mut out = vec![(PING, b"p".to_vec()); said.len() - 1];
        out.extend([(FIN | TEXT, said.to_vec()), (PING, b"p".to_vec())]);
        guarded(
            "5.4",
            "a ping after each byte",
            run(way, &each),
            Expected::Messages(out),
        );
        for (name, bytes) in [
            ("a byte that is none", &b"\xff"[..]),
            ("a lone continuation", b"\x80"),
            ("two bytes for one", b"\xc0\xaf"),
            ("three bytes for one", b"\xe0\x80\xaf"),
            ("four bytes for one", b"\xf0\x80\x80\xaf"),
            ("half a surrogate pair", b"\xed\xa0\x80"),
            ("a surrogate pair", b"\xed\xa0\x80\xed\xb0\x80"),
            ("beyond the last letter", b"\xf4\x90\x80\x80"),
            ("five bytes", b"\xf8\x88\x80\x80\x80"),
            ("a letter cut off", b"\xe2\x82"),
        ] {
            let text = [b"42[\"", bytes, b"\"]"].concat();
            let closed = || Expected::Closed {
                code: 1007,
                before: Vec::new(),
            };
            guarded("8.1", name, frame(way, FIN | TEXT, &text), closed());
            let parts = run(way, &[(TEXT, &text[..5]), (FIN, &text[5..])]);
            guarded("8.1", &format!("{name}, in parts"), parts, closed());
        }
        let closed = |code| Expected::Closed {
            code,
            before: Vec::new(),
        };
        guarded(
            "5.4",
            "a message that never ends, then a close",
            run(way, &[(TEXT, b"4"), (CLOSE, b"\x03\xe8")]),
            Expected::Messages(Vec::new()),
        );
        guarded(
            "5.6",
            "bytes that nobody announced",
            frame(way, FIN | BINARY, b"\x04"),
            closed(1008),
        );
        guarded(
            "5.6",
            "text of nothing",
            frame(way, FIN | TEXT, b""),
            closed(1008),
        );
    }
    all
}

/// How large things may be.
pub(super) fn limits() -> Vec<Case> {
    let mut all = Vec::new();
    let say = |size: usize| {
        let mut text = format!("42[\"{}", "*".repeat(size - 6)).into_bytes();
        text.extend_from_slice(b"\"]");
        text
    };
    for way in WAYS {
        let sent = frame(way, FIN | BINARY, &vec![b'*'; MAX_FRAME]);
        all.push(same("10.4", "the largest frame", way, sent));
        // The head alone is enough to be refused.
        let sent = frame(way, FIN | BINARY, &vec![b'*'; MAX_FRAME + 1])[..20].to_vec();
        all.push(refused("10.4", "a frame too large", way, sent, 1009));
        let mask = if way == Way::Up { 0x80 } else { 0 };
        let sent = [&[0x82, 127 | mask, 0x7f][..], &[0xff; 7], &[0; 8]].concat();
        all.push(refused(
            "10.4",
            "the largest length there is",
            way,
            sent,
            1009,
        ));
        let guarded = |it: Case| Case {
            guarded: true,
            ..it
        };
        let most = say(MAX_MESSAGE);
        all.push(guarded(same(
            "10.4",
            "the largest message",
            way,
            frame(way, FIN | TEXT, &most),
        )));
        let more = say(MAX_MESSAGE + 1);
        let sent = frame(way, FIN | TEXT, &more)[..20].to_vec();
        all.push(guarded(refused(
            "10.4",
            "a message too large",
            way,
            sent,
            1009,
        )));
        let (front, back) = most.split_at(100);
        let whole = Expected::Messages(vec![(FIN | TEXT, most.clone())]);
        all.push(guarded(case(
            "10.4",
            "the largest message in parts",
            way,
            run(way, &[(TEXT, front), (FIN, back)]),
            whole,
        )));
        let (front, back) = more.split_at(MAX_MESSAGE);
        all.push(guarded(refused(
            "10.4",
            "a message too large in parts",
            way,
            run(way, &[(TEXT, front), (FIN, back)]),
            1009,
        )));
    }
    all
}
