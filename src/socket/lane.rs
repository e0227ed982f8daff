//! One direction of a socket: bytes in, and what of them goes on. No I/O.
//!
//! Whole frames that pass are handed on as one run of the bytes they came in. A large frame of a
//! plain WebSocket is passed on as it arrives; everything else is held until it is whole.

use crate::socket::{
    Refused, Way,
    conversation::Verdict,
    frame::{self, Header, Kind, Opcode, Sequence},
    guard::{Guard, Use},
};

/// Frames of a plain WebSocket up to this payload, in bytes, are held until they are whole.
pub const HELD: u64 = 64 << 10;
/// How an upstream's first message begins when it speaks Engine.IO.
const ENGINE_OPENS: &[u8] = b"0{\"sid\":";

/// What is judged.
#[derive(Debug)]
pub enum Mode {
    /// Frames alone.
    Plain {
        /// Largest frame, in bytes.
        max_frame: usize,
    },
    /// Every message.
    EngineIo(Box<Guard>),
}

impl Mode {
    /// Whether the last message has something to tell whoever moves the bytes.
    pub fn has_news(&self) -> bool {
        match self {
            Self::Plain { .. } => false,
            Self::EngineIo(guard) => guard.has_news(),
        }
    }
}

/// What became of the front of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run {
    /// So many bytes go on as they came; then what was written to `out`.
    pub verbatim: usize,
    /// So many bytes are done with. 0: more are needed.
    pub consumed: usize,
    /// Messages (or parts) among them that a person may have sent.
    pub used: u32,
    /// Messages that passed as they came, were changed, and were dropped.
    pub counts: [u32; 3],
}

/// One direction.
#[derive(Debug)]
pub struct Lane {
    way: Way,
    sequence: Sequence,
    /// Bytes still to come of a frame that is passed on as it arrives.
    rest: u64,
    /// The parts of a message that is looked at when it is whole.
    parts: Vec<u8>,
    /// A plain upstream's first message has not been seen yet: what of it was held back.
    first: Option<Vec<u8>>,
    refused: Option<Refused>,
}

impl Lane {
    /// The direction `way`, at its beginning.
    pub fn new(way: Way, mode: &Mode) -> Self {
        Self {
            way,
            sequence: Sequence::default(),
            rest: 0,
            parts: Vec::new(),
            first: (way == Way::Down && matches!(mode, Mode::Plain { .. })).then(Vec::new),
            refused: None,
        }
    }

    /// Bytes still to come of the frame that is being passed on; 0 between frames.
    pub fn rest(&self) -> u64 {
        self.rest
    }

    /// Whether the close frame has passed: whatever follows is thrown away.
    pub fn is_closed(&self) -> bool {
        self.sequence.is_closed()
    }

    /// Takes from the front of `input` what can be judged now. After an error nothing more.
    pub fn run(
        &mut self,
        input: &[u8],
        mode: &mut Mode,
        out: &mut Vec<u8>,
    ) -> Result<Run, Refused> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let mut run = Run::default();
        if self.rest > 0 {
            let now = usize::try_from(self.rest)
                .unwrap_or(usize::MAX)
                .min(input.len());
            self.rest -= now as u64;
            (run.verbatim, run.consumed) = (now, now);
            return Ok(run);
        }
        loop {
            if self.is_closed() {
                run.consumed = input.len();
                return Ok(run);
            }
            match self.step(
                input.get(run.verbatim..).unwrap_or_default(),
                mode,
                out,
                &mut run,
            ) {
                Ok(Step::Pass(bytes)) => run.verbatim += bytes,
                Ok(Step::Need) => {
                    run.consumed = run.verbatim;
                    return Ok(run);
                }
                Ok(Step::Part(bytes)) => {
                    run.verbatim += bytes;
                    run.consumed = run.verbatim;
                    return Ok(run);
                }
                Ok(Step::Instead(bytes)) => {
                    run.consumed = run.verbatim + bytes;
                    return Ok(run);
                }
                Err(refused) => {
                    self.refused = Some(refused);
                    if run.verbatim == 0 {
                        return Err(refused);
                    }
                    // What came before it was good.
                    run.consumed = run.verbatim;
                    return Ok(run);
                }
            }
        }
    }

    fn step(
        &mut self,
        input: &[u8],
        mode: &mut Mode,
        out: &mut Vec<u8>,
        run: &mut Run,
    ) -> Result<Step, Refused> {
        let Some(header) = frame::parse(input, self.way)? else {
            return Ok(Step::Need);
        };
        let limit = match mode {
            Mode::Plain { max_frame } => *max_frame,
            Mode::EngineIo(guard) => guard.max_message(),
        };
        if header.payload > limit as u64 {
            return Err(Refused::TooLarge);
        }
        let payload = header.payload(input);
        let whole = payload.len() as u64 == header.payload;
        let progressive = header.payload > HELD && matches!(mode, Mode::Plain { .. });
        let begins = progressive && payload.len() >= ENGINE_OPENS.len() && run.verbatim == 0;
        if !(whole || begins) {
            return Ok(Step::Need);
        }
        if header.opcode == Opcode::Close {
            // (Before it counts: the other side is still to be told why.)
            let mut plain = Vec::new();
            frame::unmask_into(&header, payload, &mut plain);
            frame::check_close(&plain)?;
        }
        let Some(kind) = self.sequence.accept(&header)? else {
            if let Mode::EngineIo(guard) = mode {
                guard.small_talk(self.way)?;
            }
            return self.small(&header, input, out);
        };
        match mode {
            Mode::Plain { .. } => {
                run.used += 1;
                run.counts[0] += 1;
                if let Some(held) = self.first.take() {
                    return self.first_message(held, &header, kind, input, out);
                }
                Ok(self.pass(&header, input))
            }
            Mode::EngineIo(guard) => self.message(&header, kind, payload, guard, out, run),
        }
    }

    /// A control frame. Between the parts of a first message that is held it is held with them, so
    /// that what goes on is in the order that it came in.
    fn small(&mut self, header: &Header, input: &[u8], out: &mut Vec<u8>) -> Result<Step, Refused> {
        let total = header.total();
        let Some(held) = self.first.as_mut().filter(|it| !it.is_empty()) else {
            return Ok(Step::Pass(total));
        };
        hold(held, input.get(..total).unwrap_or_default())?;
        if header.opcode == Opcode::Close {
            // Nothing follows that could make the message one of Engine.IO.
            out.append(held);
        }
        Ok(Step::Instead(total))
    }

    fn pass(&mut self, header: &Header, input: &[u8]) -> Step {
        let total = header.total();
        if total <= input.len() {
            return Step::Pass(total);
        }
        self.rest = (total - input.len()) as u64;
        Step::Part(input.len())
    }

    /// A plain upstream's first message: is it Engine.IO after all?
    fn first_message(
        &mut self,
        mut held: Vec<u8>,
        header: &Header,
        kind: Kind,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, Refused> {
        if kind == Kind::Text {
            let room = ENGINE_OPENS.len().saturating_sub(self.parts.len());
            let payload = header.payload(input);
            self.parts
                .extend_from_slice(payload.get(..room.min(payload.len())).unwrap_or_default());
            if self.parts.starts_with(ENGINE_OPENS) {
                return Err(Refused::Grammar("Engine.IO where none was announced"));
            }
            if !header.fin && ENGINE_OPENS.starts_with(&self.parts) {
                let frame = input.get(..header.total()).unwrap_or_default();
                hold(&mut held, frame)?;
                self.first = Some(held);
                return Ok(Step::Instead(frame.len()));
            }
        }
        self.parts = Vec::new();
        if held.is_empty() {
            return Ok(self.pass(header, input));
        }
        out.append(&mut held);
        // (This frame is passed on as it came, after what was held: by the next step's rule it
        // would go in front.)
        let now = input.len().min(header.total());
        out.extend_from_slice(input.get(..now).unwrap_or_default());
        self.rest = (header.total() - now) as u64;
        Ok(Step::Instead(now))
    }

    fn message(
        &mut self,
        header: &Header,
        kind: Kind,
        payload: &[u8],
        guard: &mut Guard,
        out: &mut Vec<u8>,
        run: &mut Run,
    ) -> Result<Step, Refused> {
        let total = header.total();
        let in_parts = !header.fin || header.opcode == Opcode::Continuation;
        let kept = self.parts.len();
        if in_parts && kept + payload.len() > guard.max_message() {
            return Err(Refused::TooLarge);
        }
        if in_parts || kind == Kind::Text {
            frame::unmask_into(header, payload, &mut self.parts);
        }
        if !header.fin {
            guard.small_talk(self.way)?;
            return Ok(Step::Instead(total));
        }
        let mut changed = Vec::new();
        let judged = match kind {
            Kind::Text => guard.text(self.way, &self.parts, &mut changed)?,
            Kind::Binary => {
                let first = if in_parts {
                    self.parts.first().copied()
                } else {
                    frame::first_byte(header, payload)
                };
                (guard.binary(self.way, first)?, Use::User)
            }
        };
        run.used += u32::from(judged.1 == Use::User);
        let opcode = match kind {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        };
        let (place, step) = match judged.0 {
            Verdict::Pass if !in_parts => (0, Step::Pass(total)),
            Verdict::Pass => {
                frame::write(out, self.way, opcode, &self.parts);
                (0, Step::Instead(total))
            }
            Verdict::Changed => {
                frame::write(out, self.way, opcode, &changed);
                (1, Step::Instead(total))
            }
            Verdict::Drop => (2, Step::Instead(total)),
        };
        if let Some(count) = run.counts.get_mut(place) {
            *count += 1;
        }
        self.parts.clear();
        Ok(step)
    }

    /// Frees what an idle socket need not hold.
    pub fn rest_easy(&mut self) {
        if self.parts.is_empty() {
            self.parts = Vec::new();
        }
    }
}

/// Adds a frame to what is held of a first message.
fn hold(held: &mut Vec<u8>, frame: &[u8]) -> Result<(), Refused> {
    if held.len() as u64 > HELD {
        return Err(Refused::Grammar("a first message in too many parts"));
    }
    held.extend_from_slice(frame);
    Ok(())
}

enum Step {
    /// A whole frame, as it came.
    Pass(usize),
    /// The beginning of a frame, as it came.
    Part(usize),
    /// So many bytes are done with; what goes on in their place was written.
    Instead(usize),
    /// More is needed.
    Need,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::socket::conversation::tests::terms_of;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn plain() -> Mode {
        Mode::Plain {
            max_frame: 16 << 20,
        }
    }

    pub(crate) fn engine() -> Mode {
        Mode::EngineIo(Box::new(Guard::open(Arc::new(terms_of("alice", 1)))))
    }

    pub(crate) fn frame(way: Way, fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::write(&mut out, way, opcode, payload);
        if !fin {
            out[0] &= 0x7f;
        }
        out
    }

    fn text(way: Way, text: &str) -> Vec<u8> {
        frame(way, true, Opcode::Text, text.as_bytes())
    }

    /// Feeds `input` in pieces that end at `cuts`, and gives all that goes on.
    fn feed(
        lane: &mut Lane,
        mode: &mut Mode,
        input: &[u8],
        cuts: &[usize],
    ) -> Result<Vec<u8>, (Vec<u8>, Refused)> {
        let (mut sent, mut inbox, mut from) = (Vec::new(), Vec::new(), 0);
        let mut ends: Vec<usize> = cuts.iter().map(|it| it % (input.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(input.len());
        for end in ends {
            inbox.extend_from_slice(&input[from..end]);
            from = end;
            loop {
                let mut out = Vec::new();
                let run = match lane.run(&inbox, mode, &mut out) {
                    Ok(run) => run,
                    Err(refused) => return Err((sent, refused)),
                };
                sent.extend_from_slice(&inbox[..run.verbatim]);
                sent.extend_from_slice(&out);
                inbox.drain(..run.consumed);
                if run.consumed == 0 || inbox.is_empty() {
                    break;
                }
            }
        }
        Ok(sent)
    }

    fn opened() -> (Lane, Mode) {
        let mut mode = engine();
        let mut down = Lane::new(Way::Down, &mode);
        feed(
            &mut down,
            &mut mode,
            &text(Way::Down, r#"0{"sid":"abc"}"#),
            &[],
        )
        .unwrap();
        (Lane::new(Way::Up, &mode), mode)
    }

    #[test]
    fn w17_a_plain_websocket_passes_untouched() {
        let mut input = text(Way::Up, "hello");
        input.extend(frame(Way::Up, false, Opcode::Binary, &[1, 2]));
        input.extend(frame(Way::Up, true, Opcode::Ping, b"?"));
        input.extend(frame(
            Way::Up,
            true,
            Opcode::Continuation,
            &vec![7; 100_000],
        ));
        input.extend(frame(Way::Up, true, Opcode::Close, &1000u16.to_be_bytes()));
        let mut mode = plain();
        let mut lane = Lane::new(Way::Up, &mode);
        let mut after = input.clone();
        after.extend_from_slice(b"garbage");
        assert_eq!(feed(&mut lane, &mut mode, &after, &[]).unwrap(), input);
        assert!(lane.is_closed());
    }

    #[test]
    fn w10b_an_upstream_that_opens_engine_io_on_a_plain_websocket_is_refused() {
        for parts in [
            vec![r#"0{"sid":"x"}"#],
            vec!["0", "{\"s", "", "id\":\"x\"}"],
            vec!["0{\"sid\":"],
        ] {
            let mut input = Vec::new();
            for (at, part) in parts.iter().enumerate() {
                let opcode = if at == 0 {
                    Opcode::Text
                } else {
                    Opcode::Continuation
                };
                input.extend(frame(
                    Way::Down,
                    at + 1 == parts.len(),
                    opcode,
                    part.as_bytes(),
                ));
            }
            let mut mode = plain();
            let mut lane = Lane::new(Way::Down, &mode);
            let found = feed(&mut lane, &mut mode, &input, &[]);
            assert!(
                matches!(found, Err((sent, _)) if sent.is_empty()),
                "{parts:?}"
            );
        }
        for parts in [vec!["0{\"sib"], vec!["0", "{", "}"], vec!["", "x"]] {
            let mut input = Vec::new();
            for (at, part) in parts.iter().enumerate() {
                let opcode = if at == 0 {
                    Opcode::Text
                } else {
                    Opcode::Continuation
                };
                input.extend(frame(
                    Way::Down,
                    at + 1 == parts.len(),
                    opcode,
                    part.as_bytes(),
                ));
            }
            input.extend(text(Way::Down, r#"0{"sid":"x"}"#)); // only the first message counts
            let mut mode = plain();
            let mut lane = Lane::new(Way::Down, &mode);
            assert_eq!(feed(&mut lane, &mut mode, &input, &[]).unwrap(), input);
        }
    }

    #[test]
    fn w14_a_control_frame_among_held_parts_keeps_its_place() {
        let (ping, part) = (
            frame(Way::Down, true, Opcode::Ping, b"?"),
            frame(Way::Down, false, Opcode::Text, b"0{"),
        );
        let mut front = part.clone();
        front.extend_from_slice(&ping);
        // Held, until it is clear what the message is; then all of it goes on as it came.
        for end in [
            frame(Way::Down, true, Opcode::Continuation, b"}"),
            frame(Way::Down, true, Opcode::Close, &1000u16.to_be_bytes()),
        ] {
            let mut mode = plain();
            let mut lane = Lane::new(Way::Down, &mode);
            assert_eq!(feed(&mut lane, &mut mode, &front, &[]).unwrap(), b"");
            let sent = feed(&mut lane, &mut mode, &end, &[]).unwrap();
            assert_eq!(sent, [&front[..], &end].concat());
        }
        // And no further than that.
        let mut input = front;
        input.extend(ping.repeat(usize::try_from(HELD).unwrap() / ping.len() + 1));
        let mut mode = plain();
        let mut lane = Lane::new(Way::Down, &mode);
        let found = feed(&mut lane, &mut mode, &input, &[]);
        assert!(matches!(found, Err((sent, Refused::Grammar(_))) if sent.is_empty()));
    }

    #[test]
    fn w14_a_message_in_parts_is_judged_whole() {
        let (mut lane, mut mode) = opened();
        let mut input = Vec::new();
        for (at, part) in ["4", "0{\"us", "er\":1", "}"].iter().enumerate() {
            let opcode = if at == 0 {
                Opcode::Text
            } else {
                Opcode::Continuation
            };
            input.extend(frame(Way::Up, at == 3, opcode, part.as_bytes()));
            input.extend(frame(Way::Up, true, Opcode::Ping, b""));
        }
        let sent = feed(&mut lane, &mut mode, &input, &[]).unwrap();
        let mut messages = Vec::new();
        let mut at = 0;
        while at < sent.len() {
            let header = frame::parse(&sent[at..], Way::Up).unwrap().unwrap();
            if header.opcode == Opcode::Text {
                frame::unmask_into(&header, header.payload(&sent[at..]), &mut messages);
            }
            at += header.total();
        }
        assert_eq!(messages, b"40{}");
    }

    #[test]
    fn w14_a_close_frame_that_is_none_does_not_count_as_one() {
        for payload in [&b"\x03"[..], b"\x03\xed", b"\x03\xe8\xff"] {
            let mut mode = plain();
            let mut lane = Lane::new(Way::Up, &mode);
            let input = frame(Way::Up, true, Opcode::Close, payload);
            assert!(feed(&mut lane, &mut mode, &input, &[]).is_err());
            // So whoever it was meant for is still told that this is the end.
            assert!(!lane.is_closed(), "{payload:x?}");
        }
    }

    #[test]
    fn w13_a_large_message_is_refused_before_it_has_come() {
        let (mut lane, mut mode) = opened();
        let head = &frame(Way::Up, true, Opcode::Text, &vec![b'4'; (1 << 20) + 1])[..14];
        let found = feed(&mut lane, &mut mode, head, &[]);
        assert_eq!(found, Err((Vec::new(), Refused::TooLarge)));
        let (mut lane, mut mode) = opened();
        let mut input = frame(Way::Up, false, Opcode::Text, &vec![b'4'; 1 << 20]);
        input.extend(frame(Way::Up, true, Opcode::Continuation, b"4"));
        assert!(feed(&mut lane, &mut mode, &input, &[]).is_err());
    }

    #[test]
    fn w13_what_is_just_as_large_as_may_be_passes() {
        let most = 1000;
        let mut mode = Mode::Plain { max_frame: most };
        for (size, passes) in [(most, true), (most + 1, false)] {
            let mut lane = Lane::new(Way::Up, &mode);
            let input = frame(Way::Up, true, Opcode::Binary, &vec![1; size]);
            assert_eq!(feed(&mut lane, &mut mode, &input, &[]).is_ok(), passes);
        }
        // And a message in parts, which goes on in one.
        let most = 1 << 20;
        for (size, passes) in [(most, true), (most + 1, false)] {
            let message = format!(r#"42/app,["{}"]"#, "x".repeat(size - 11));
            let (front, back) = message.as_bytes().split_at(600_000);
            let (mut lane, mut mode) = opened();
            let mut down = Lane::new(Way::Down, &mode);
            feed(&mut lane, &mut mode, &text(Way::Up, "40/app,"), &[]).unwrap();
            let confirmed = text(Way::Down, r#"40/app,{"sid":"me"}"#);
            feed(&mut down, &mut mode, &confirmed, &[]).unwrap();
            let mut input = frame(Way::Up, false, Opcode::Text, front);
            input.extend(frame(Way::Up, true, Opcode::Continuation, back));
            match feed(&mut lane, &mut mode, &input, &[]) {
                Ok(sent) => {
                    let header = frame::parse(&sent, Way::Up).unwrap().unwrap();
                    let mut whole = Vec::new();
                    frame::unmask_into(&header, header.payload(&sent), &mut whole);
                    assert!(passes && header.fin && whole == message.as_bytes());
                    assert_eq!(header.total(), sent.len());
                }
                Err((sent, refused)) => {
                    assert!(!passes && sent.is_empty());
                    assert_eq!(refused, Refused::TooLarge);
                }
            }
        }
    }

    #[test]
    fn w17_a_large_frame_of_a_plain_websocket_goes_on_as_it_comes() {
        let mut mode = plain();
        let held = usize::try_from(HELD).unwrap();
        let begun = |size: usize, mode: &mut Mode, came: usize| {
            let mut lane = Lane::new(Way::Up, mode);
            let input = frame(Way::Up, true, Opcode::Binary, &vec![1; size]);
            let run = lane.run(&input[..came], mode, &mut Vec::new()).unwrap();
            (run.verbatim, run.consumed, lane.rest())
        };
        assert_eq!(begun(held, &mut mode, 1000), (0, 0, 0));
        let whole = (held + 1 + 14) as u64;
        assert_eq!(begun(held + 1, &mut mode, 1000), (1000, 1000, whole - 1000));
        // As much of it must be there as tells what it is.
        let least = 14 + ENGINE_OPENS.len();
        assert_eq!(begun(held + 1, &mut mode, least - 1), (0, 0, 0));
        assert_eq!(begun(held + 1, &mut mode, least).0, least);
    }

    #[test]
    fn what_passed_was_changed_and_was_dropped_is_counted() {
        let mut mode = plain();
        let mut lane = Lane::new(Way::Up, &mode);
        let input = text(Way::Up, "one").repeat(2);
        let run = lane.run(&input, &mut mode, &mut Vec::new()).unwrap();
        assert_eq!((run.used, run.counts), (2, [2, 0, 0]));
        let (mut lane, mut mode) = opened();
        let mut down = Lane::new(Way::Down, &mode);
        let asked = text(Way::Up, r#"40/app,{"token":"x"}"#);
        let run = lane.run(&asked, &mut mode, &mut Vec::new()).unwrap();
        assert_eq!((run.used, run.counts), (1, [0, 1, 0]));
        let confirmed = text(Way::Down, r#"40/app,{"sid":"me"}"#);
        down.run(&confirmed, &mut mode, &mut Vec::new()).unwrap();
        let input = text(Way::Up, r#"42/app,["a"]"#).repeat(3);
        let run = lane.run(&input, &mut mode, &mut Vec::new()).unwrap();
        assert_eq!((run.used, run.counts), (3, [3, 0, 0]));
        let left = text(Way::Down, "41/app,");
        down.run(&left, &mut mode, &mut Vec::new()).unwrap();
        let run = lane.run(&input, &mut mode, &mut Vec::new()).unwrap();
        assert_eq!((run.used, run.counts), (0, [0, 0, 1]));
        lane.rest_easy();
        assert_eq!(lane.parts.capacity(), 0, "an idle socket holds nothing");
    }

    #[test]
    fn w14_of_a_first_message_in_parts_so_much_is_held_and_no_more() {
        let held = usize::try_from(HELD).unwrap();
        assert_eq!(hold(&mut vec![0; held], &[1]), Ok(()));
        assert_eq!(hold(&mut vec![0; held / 2], &[1]), Ok(()));
        assert!(hold(&mut vec![0; held + 1], &[1]).is_err());
        assert!(hold(&mut vec![0; held + 2], &[1]).is_err());
    }

    #[test]
    fn w21_nothing_after_a_refused_message_passes_and_what_was_before_it_does() {
        let (mut lane, mut mode) = opened();
        let good = text(Way::Up, "40/app,");
        let mut input = good.clone();
        input.extend(text(Way::Up, "40//x/admin,"));
        input.extend(text(Way::Up, "40/b,"));
        let found = feed(&mut lane, &mut mode, &input, &[]);
        assert!(matches!(found, Err((sent, Refused::Grammar(_))) if sent == good));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_goes_on(
            cuts in proptest::collection::vec(any::<usize>(), 0..12),
            messages in proptest::collection::vec(
                prop::sample::select(vec!["3", "40/app,", "40/b,{\"clientId\":\"c\"}", "1", "40//", "9"]),
                0..8,
            ),
        ) {
            let input: Vec<u8> = messages.iter().flat_map(|it| text(Way::Up, it)).collect();
            let (mut lane, mut mode) = opened();
            let whole = feed(&mut lane, &mut mode, &input, &[]);
            let (mut lane, mut mode) = opened();
            let cut = feed(&mut lane, &mut mode, &input, &cuts);
            prop_assert_eq!(&whole, &cut);
            // None of these is changed, so what goes on is the front of what came.
            let (Ok(sent) | Err((sent, _))) = whole;
            prop_assert!(input.starts_with(&sent));
        }

        #[test]
        fn a_plain_socket_is_cut_alike(
            cuts in proptest::collection::vec(any::<usize>(), 0..12),
            sizes in proptest::collection::vec(prop::sample::select(vec![0usize, 1, 125, 126, 70_000, 65_536, 65_537]), 0..5),
            way in prop::sample::select(vec![Way::Up, Way::Down]),
        ) {
            let input: Vec<u8> = sizes.iter().flat_map(|it| frame(way, true, Opcode::Text, &vec![b'x'; *it])).collect();
            let mut mode = plain();
            let mut lane = Lane::new(way, &mode);
            prop_assert_eq!(feed(&mut lane, &mut mode, &input, &cuts).unwrap(), input);
        }

        #[test]
        fn no_bytes_make_it_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..200), cuts in proptest::collection::vec(any::<usize>(), 0..4)) {
            for way in [Way::Up, Way::Down] {
                for mut mode in [plain(), engine()] {
                    let mut lane = Lane::new(way, &mode);
                    let _ = feed(&mut lane, &mut mode, &bytes, &cuts);
                }
            }
        }
    }
}
