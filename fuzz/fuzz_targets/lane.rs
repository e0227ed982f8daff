//! One direction of a socket. The first byte says which (`u`, `d`: Engine.IO; `U`, `D`: a plain
//! WebSocket) and the rest are frames; in capitals after a `:`, lines of text are framed here
//! (`+` in front: a part that is not the last). However the bytes are cut, the same goes on; and
//! what goes on is frames.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use portcullis::socket::{
    Refused, Way,
    frame::{self, Opcode, Sequence},
    guard::Guard,
    lane::{Lane, Mode},
};
use portcullis_fuzz::{pieces, socketio::check_up, terms};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let (way, engine) = match kind {
        b'u' => (Way::Up, true),
        b'd' => (Way::Down, true),
        b'U' => (Way::Up, false),
        b'D' => (Way::Down, false),
        _ => return,
    };
    let framed;
    let input = match rest.split_first() {
        Some((b':', lines)) => {
            framed = frames(lines, way);
            &framed
        }
        _ => rest,
    };
    let run = |cut: &[&[u8]]| {
        let mut mode = if engine {
            opened(way)
        } else {
            Mode::Plain {
                max_frame: 1 << 17,
            }
        };
        feed(&mut Lane::new(way, &mode), &mut mode, cut)
    };
    let (sent, end) = run(&[input]);
    let said = read(&sent, way, engine);
    for cut in [pieces(input), input.chunks(1).collect()] {
        let (sent, other) = run(&cut);
        assert_eq!(end, other, "the verdict hangs on the cuts");
        assert!(said == read(&sent, way, engine), "what goes on hangs on the cuts");
    }
    if !engine {
        assert!(input.starts_with(&sent), "a plain socket was changed");
    } else if way == Way::Up {
        for message in said.iter().filter(|it| it.starts_with(b"4")) {
            let text = std::str::from_utf8(message).expect("text is UTF-8");
            check_up(text, &terms(&[]), &|_| Some("me".to_owned()));
        }
    }
});

/// An Engine.IO connection that is open, with the namespace `/app` on it whose socket is `me`.
fn opened(way: Way) -> Mode {
    let mut guard = Guard::open(Arc::new(terms(&[])));
    let begin = [
        (Way::Down, r#"0{"sid":"abc"}"#),
        (Way::Up, "40/app,"),
        (Way::Down, r#"40/app,{"sid":"me"}"#),
    ];
    // Downstream it is the open packet itself that is judged.
    for (way, text) in begin.into_iter().take(if way == Way::Up { 3 } else { 0 }) {
        let judged = guard.text(way, text.as_bytes(), &mut Vec::new());
        judged.expect("an honest beginning");
    }
    Mode::EngineIo(Box::new(guard))
}

/// As the relay does it: what was not consumed waits for more.
fn feed(lane: &mut Lane, mode: &mut Mode, cut: &[&[u8]]) -> (Vec<u8>, Option<Refused>) {
    let (mut sent, mut inbox) = (Vec::new(), Vec::new());
    for piece in cut {
        inbox.extend_from_slice(piece);
        loop {
            let mut out = Vec::new();
            let run = match lane.run(&inbox, mode, &mut out) {
                Ok(run) => run,
                Err(refused) => return (sent, Some(refused)),
            };
            assert!(run.verbatim <= run.consumed && run.consumed <= inbox.len());
            sent.extend_from_slice(&inbox[..run.verbatim]);
            sent.extend_from_slice(&out);
            inbox.drain(..run.consumed);
            if run.consumed == 0 || inbox.is_empty() {
                break;
            }
        }
    }
    (sent, None)
}

/// The messages in `sent`, control frames among them; on a plain socket the last may be cut.
fn read(sent: &[u8], way: Way, engine: bool) -> Vec<Vec<u8>> {
    let (mut out, mut part, mut at) = (Vec::new(), Vec::new(), 0);
    let mut sequence = Sequence::default();
    while at < sent.len() {
        let Some(header) = frame::parse(&sent[at..], way).expect("frames go on") else {
            assert!(!engine, "half a frame goes on");
            break;
        };
        let payload = header.payload(&sent[at..]);
        assert!(!engine || payload.len() as u64 == header.payload, "half a frame");
        let data = sequence.accept(&header).expect("frames in order");
        let mut plain = Vec::new();
        frame::unmask_into(&header, payload, &mut plain);
        if data.is_none() {
            out.push([b"control ".to_vec(), plain].concat());
        } else {
            part.append(&mut plain);
            let binary = data == Some(frame::Kind::Binary);
            if header.fin {
                let mark = if binary { b"binary ".to_vec() } else { Vec::new() };
                out.push([mark, std::mem::take(&mut part)].concat());
            }
        }
        at = at.saturating_add(header.total());
    }
    if engine {
        assert!(part.is_empty(), "half a message goes on");
    }
    out.push(part);
    out
}

fn frames(lines: &[u8], way: Way) -> Vec<u8> {
    let (mut out, mut open) = (Vec::new(), false);
    for line in lines.split(|it| *it == b'\n') {
        let (fin, line) = match line.strip_prefix(b"+") {
            Some(rest) => (false, rest),
            None => (true, line),
        };
        let at = out.len();
        let opcode = if open { Opcode::Continuation } else { Opcode::Text };
        frame::write(&mut out, way, opcode, line);
        if !fin {
            out[at] &= 0x7f;
        }
        open = !fin;
    }
    out
}
