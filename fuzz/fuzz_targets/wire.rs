//! A connection's bytes before hyper. The verdict does not hang on how they are cut; and what
//! is let through, hyper's own parser reads as messages with one length and one host.

#![no_main]

use httparse::{EMPTY_HEADER, Status};
use libfuzzer_sys::fuzz_target;
use portcullis::intake::{
    Malformed,
    wire::{Bounds, Wire},
};
use portcullis_fuzz::pieces;

const BOUNDS: Bounds = Bounds {
    head: 4 << 10,
    line: 1 << 10,
    lines: 20,
};

fuzz_target!(|bytes: &[u8]| {
    let mut wire = Wire::new(BOUNDS);
    let whole = wire.feed(bytes).map_err(|it| (it.at, it.why));
    for cut in [pieces(bytes), bytes.chunks(1).collect()] {
        let (mut again, mut before) = (Wire::new(BOUNDS), 0);
        let mut found = Ok(());
        for piece in cut {
            if let Err(fault) = again.feed(piece) {
                found = Err((before + fault.at, fault.why));
                break;
            }
            before += piece.len();
        }
        // One piece may be counted whole before it is found too large, and a fault behind the
        // bound is seen before the bound where both come at once.
        let same = match (whole, found) {
            (Ok(()), Ok(())) => true,
            (Err((_, one)), Err((_, two))) => {
                one == two || one == Malformed::TooLarge || two == Malformed::TooLarge
            }
            _ => false,
        };
        assert!(same, "whole {whole:?}, in pieces {found:?}");
    }
    let good = whole.map_or_else(|(at, _)| at, |()| bytes.len());
    let mut stream = bytes[..good].to_vec();
    if let Err((_, why)) = whole {
        stream.extend(wire.poison(why));
    }
    follow(&stream, good);
});

/// Goes through the stream as hyper does. Nothing that ends in the poison may be whole.
fn follow(stream: &[u8], good: usize) {
    let mut at = 0;
    while at < stream.len() {
        let mut headers = [EMPTY_HEADER; BOUNDS.lines];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(Status::Complete(head)) = request.parse(&stream[at..]) else {
            return;
        };
        assert!(at + head <= good, "a head was made whole by the poison");
        let text = &stream[at..at + head];
        let bare = text.iter().enumerate().any(|(i, b)| {
            *b == b'\n' && (i == 0 || text[i - 1] != b'\r')
        });
        assert!(!bare, "a bare line feed in a head");
        let all = |name: &str| -> Vec<&[u8]> {
            let it = request.headers.iter();
            it.filter(|it| it.name.eq_ignore_ascii_case(name))
                .map(|it| it.value)
                .collect()
        };
        let (hosts, lengths, codings) =
            (all("host"), all("content-length"), all("transfer-encoding"));
        assert!(hosts.len() <= 1, "two hosts");
        assert!(lengths.len() + codings.len() <= 1, "two lengths");
        at += head;
        if let [coding] = codings[..] {
            assert!(coding.eq_ignore_ascii_case(b"chunked"), "a coding");
            assert_eq!(request.version, Some(1), "chunked in HTTP/1.0");
            match chunks(&stream[at..]) {
                Some(length) => at += length,
                None => return,
            }
            assert!(at <= good, "a body was made whole by the poison");
        } else if let [length] = lengths[..] {
            let length: u64 = std::str::from_utf8(length)
                .ok()
                .filter(|it| it.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|it| it.parse().ok())
                .expect("a length in digits");
            let left = (stream.len() - at) as u64;
            if length > left {
                assert_eq!(stream.len(), good, "a fault inside a body");
                return;
            }
            at += length as usize;
        }
    }
}

/// How long the chunked body at the front is; `None`: it does not end, or is wrong.
fn chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let Ok(Status::Complete((head, size))) = httparse::parse_chunk_size(&bytes[at..]) else {
            return None;
        };
        // (`httparse` takes a bare line feed in an extension; hyper has a reader of its own, which does not.)
        let line = bytes.get(at..at + head - 2)?;
        if line.contains(&b'\n') {
            return None;
        }
        at += head;
        if size == 0 {
            break;
        }
        at = at.checked_add(usize::try_from(size).ok()?)?;
        if bytes.get(at..at.checked_add(2)?)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    let mut trailers = [EMPTY_HEADER; 1024];
    match httparse::parse_headers(&bytes[at..], &mut trailers) {
        Ok(Status::Complete((length, found))) => {
            for one in found {
                for name in ["content-length", "transfer-encoding", "host"] {
                    assert!(!one.name.eq_ignore_ascii_case(name), "a ruling trailer");
                }
            }
            Some(at + length)
        }
        _ => None,
    }
}
