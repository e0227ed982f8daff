//! What was judged and waits to be written; it knows where frames begin, so that an end can be
//! put between two of them.

use crate::socket::{
    Way,
    frame::{self, Opcode},
};

/// Bytes on their way out.
#[derive(Debug)]
pub(super) struct Outbox {
    way: Way,
    bytes: Vec<u8>,
    at: usize,
    /// Bytes still to be written of the frame whose beginning is on the wire already; more than
    /// are here when it is passed on as it arrives. 0: the wire is between two frames.
    inside: usize,
}

/// How an outbox can end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remains {
    /// The rest of the frame that was begun; `None` when it is not here: the leg must be cut.
    pub(super) rest: Option<Vec<u8>>,
    /// The first data frame that is dropped, if any.
    pub(super) dropped: Option<Opcode>,
}

impl Outbox {
    pub(super) fn new(way: Way) -> Self {
        Self {
            way,
            bytes: Vec::new(),
            at: 0,
            inside: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn push_text(&mut self, text: &str) {
        frame::write_text(&mut self.bytes, self.way, text);
    }

    /// Takes note that the first `written` bytes of what waits are on the wire.
    pub(super) fn advance(&mut self, written: usize) {
        self.inside = left(self.rest(), self.way, self.inside, written);
        self.at += written;
        if self.is_empty() {
            (self.bytes, self.at) = (Vec::new(), 0);
        }
    }

    /// Takes note that, with nothing waiting, the first `written` of `bytes` went out; keeps
    /// the others.
    pub(super) fn wrote(&mut self, bytes: &[u8], written: usize) {
        self.inside = left(bytes, self.way, self.inside, written);
        self.push(bytes.get(written..).unwrap_or_default());
    }

    /// What must still be written to end between two frames.
    pub(super) fn remains(self) -> Remains {
        let rest = self.rest().get(..self.inside).map(<[u8]>::to_vec);
        let mut dropped = None;
        let mut after = self.rest().get(self.inside..).unwrap_or_default();
        while let Ok(Some(header)) = frame::parse(after, self.way) {
            if !header.opcode.is_control() {
                dropped = Some(header.opcode);
                break;
            }
            after = after.get(header.total()..).unwrap_or_default();
        }
        Remains { rest, dropped }
    }
}

/// How much of a frame is left when `written` bytes went out, which began with the last
/// `inside` bytes of one.
fn left(bytes: &[u8], way: Way, inside: usize, written: usize) -> usize {
    let mut end = inside;
    while end < written {
        match frame::parse(bytes.get(end..).unwrap_or_default(), way) {
            Ok(Some(header)) => end = end.saturating_add(header.total()),
            // Cannot be: these bytes were judged. Then better to cut than to write inside a frame.
            Ok(None) | Err(_) => return usize::MAX,
        }
    }
    end - written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_always_ends_between_two_frames(
            sizes in proptest::collection::vec(0usize..300, 1..6),
            writes in proptest::collection::vec(1usize..200, 0..12),
        ) {
            let (mut all, mut ends) = (Vec::new(), vec![0]);
            for size in sizes {
                frame::write(&mut all, Way::Up, Opcode::Binary, &vec![1; size]);
                ends.push(all.len());
            }
            let mut outbox = Outbox::new(Way::Up);
            outbox.push(&all);
            let mut written = 0;
            for size in writes {
                let size = size.min(all.len() - written);
                if size > 0 {
                    outbox.advance(size);
                    written += size;
                }
            }
            let rest = outbox.remains().rest.unwrap();
            prop_assert!(ends.contains(&(written + rest.len())));
            prop_assert_eq!(&all[written..written + rest.len()], &rest[..]);
        }
    }

    #[test]
    fn what_is_dropped_is_the_first_that_is_not_the_transports_own() {
        for opcode in [Opcode::Text, Opcode::Binary] {
            let mut all = Vec::new();
            frame::write(&mut all, Way::Down, Opcode::Ping, b"?");
            frame::write(&mut all, Way::Down, opcode, b"4");
            let mut outbox = Outbox::new(Way::Down);
            outbox.push(&all);
            let remains = Remains {
                rest: Some(Vec::new()),
                dropped: Some(opcode),
            };
            assert_eq!(outbox.remains(), remains);
        }
    }

    #[test]
    fn a_frame_that_is_not_all_here_must_be_cut() {
        let mut all = Vec::new();
        frame::write(&mut all, Way::Down, Opcode::Text, &[b'x'; 100]);
        let mut outbox = Outbox::new(Way::Down);
        outbox.wrote(&all[..60], 60);
        assert_eq!(outbox.remains().rest, None);
    }
}
