//! Polling bodies both ways: `>` a POST of the visitor's, `<` the upstream's answer, with a line
//! break in front of each. What goes on is packets that would pass one by one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::socket::{
    conversation::{Conversation, Verdict},
    polling::{judge_answer, judge_post},
    seal::Kind,
};
use portcullis_fuzz::{
    socketio::{check_down, check_up},
    terms,
};

fuzz_target!(|bytes: &[u8]| {
    let terms = terms(&[]);
    let (mut conversation, mut first) = (Conversation::default(), true);
    let mut opened: Vec<(String, Option<String>)> = Vec::new();
    let mut rest = bytes;
    while let Some((mark, after)) = rest.split_first() {
        let next = after
            .windows(2)
            .position(|it| it[0] == b'\n' && (it[1] == b'>' || it[1] == b'<'))
            .unwrap_or(after.len());
        let (body, after) = after.split_at(next);
        rest = after.get(1..).unwrap_or_default();
        let up = match mark {
            b'>' => true,
            b'<' => false,
            _ => return,
        };
        let judged = if up {
            judge_post(&mut conversation, &terms, body)
        } else {
            judge_answer(&mut conversation, &terms, std::mem::take(&mut first), body)
        };
        let Ok(judged) = judged else { return };
        if let Some(it) = &judged.opening {
            let found = terms.seal.open(Kind::Sid, &it.sealed).map(|it| it.id);
            assert_eq!(found, Some(it.own.as_str()));
        }
        let goes_on = judged.body.as_deref().unwrap_or(body);
        let text = std::str::from_utf8(goes_on).expect("text stays text");
        if text.is_empty() {
            continue;
        }
        let packets: Vec<&str> = text.split('\u{1e}').collect();
        assert!(packets.len() <= terms.max_packets + 64);
        for packet in packets {
            match packet.as_bytes().first() {
                Some(b'4') if up => check_up(packet, &terms, &|name| {
                    let it = opened.iter().rev().find(|(it, _)| it == name);
                    it.and_then(|(_, sid)| sid.clone())
                }),
                Some(b'4') => opened.extend(check_down(packet, &terms)),
                Some(b'0') => assert!(!up && judged.opening.is_some()),
                Some(b'b' | b'1' | b'2' | b'3' | b'6') => {}
                _ => panic!("no packet goes on: {packet:?}"),
            }
        }
    }
    // Once told, nothing more.
    conversation.farewell_up();
    assert!(conversation.farewell_up().is_empty());
    let mut out = Vec::new();
    let late = conversation.message(portcullis::socket::Way::Up, "40/late,", &terms, &mut out);
    assert!(!matches!(late, Ok(Verdict::Changed)));
});
