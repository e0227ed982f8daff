//! Polling bodies both ways, in either version: `>` a POST of the visitor's, `<` the upstream's
//! answer, and for version 3's form of bytes `]` and `[`; with a line break in front of each.

use portcullis::socket::{
    conversation::{Conversation, Verdict},
    engineio::Version,
    payload::{Form, Part, Parts},
    polling::{judge_answer, judge_post},
};

use crate::{
    socketio::{check_down, check_up},
    terms,
};

/// Panics where something goes on that would not pass packet by packet.
pub fn run(bytes: &[u8], version: Version) {
    let terms = terms(&[]).of(version);
    let marks: &[u8] = match version {
        Version::Three => b"><][",
        Version::Four => b"><",
    };
    let (mut conversation, mut first) = (Conversation::default(), true);
    let mut opened: Vec<(String, Option<String>)> = Vec::new();
    let mut rest = bytes;
    while let Some((mark, after)) = rest.split_first() {
        let next = after
            .windows(2)
            .position(|it| it[0] == b'\n' && marks.contains(&it[1]))
            .unwrap_or(after.len());
        let (body, after) = after.split_at(next);
        rest = after.get(1..).unwrap_or_default();
        if !marks.contains(mark) {
            return;
        }
        let up = matches!(mark, b'>' | b']');
        let form = match (version, mark) {
            (Version::Four, _) => Form::Four,
            (Version::Three, b'>' | b'<') => Form::ThreeText,
            (Version::Three, _) => Form::ThreeBytes,
        };
        let judged = if up {
            judge_post(&mut conversation, &terms, (form, body))
        } else {
            let first = std::mem::take(&mut first);
            judge_answer(&mut conversation, &terms, first, (form, body))
        };
        let Ok(judged) = judged else { return };
        if let Some(it) = &judged.opening {
            let found = terms.seal.open(version.sid(), &it.sealed).map(|it| it.id);
            assert_eq!(found, Some(it.own.as_str()));
        }
        let goes_on = judged.body.as_deref().unwrap_or(body);
        let (mut count, mut bytes) = (0, 0);
        for part in Parts::new(form, goes_on).expect("what goes on is a body") {
            let (part, at) = part.expect("what goes on is packets");
            (count, bytes) = (count + 1, at.end);
            let packet = match part {
                Part::Text(packet) => packet,
                Part::Bytes(first) => {
                    assert!(version == Version::Four || first == Some(4));
                    continue;
                }
            };
            match packet.as_bytes().first() {
                Some(b'4') if up => check_up(packet, &terms, &|name| {
                    let it = opened.iter().rev().find(|(it, _)| it == name);
                    it.and_then(|(_, sid)| sid.clone())
                }),
                Some(b'4') => opened.extend(check_down(packet, &terms)),
                Some(b'0') => assert!(!up && judged.opening.is_some()),
                Some(b'1' | b'2' | b'3' | b'6') => assert_eq!(packet.len(), 1),
                _ => panic!("no packet goes on: {packet:?}"),
            }
        }
        assert!(count == 0 || bytes == goes_on.len(), "something is left over");
        assert!(!up || count <= terms.max_packets);
    }
    // Once told, nothing more.
    conversation.farewell_up();
    assert!(conversation.farewell_up().is_empty());
    let mut out = Vec::new();
    let late = conversation.message(portcullis::socket::Way::Up, "40/late,", &terms, &mut out);
    assert!(!matches!(late, Ok(Verdict::Changed)));
}
