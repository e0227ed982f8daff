//! WebSocket frames (RFC 6455, section 5), found where they lie. Nothing is copied and nothing
//! is unmasked but what somebody wants to look at.

use crate::{
    random,
    socket::{Refused, Way},
};

/// Largest payload of a control frame (RFC 6455, section 5.5).
const MOST_CONTROL: u64 = 125;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of a message.
    Continuation,
    /// Text, or the beginning of it.
    Text,
    /// Bytes, or the beginning of them.
    Binary,
    /// The end.
    Close,
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

impl Opcode {
    fn read(nibble: u8) -> Result<Self, Refused> {
        match nibble {
            0 => Ok(Self::Continuation),
            1 => Ok(Self::Text),
            2 => Ok(Self::Binary),
            8 => Ok(Self::Close),
            9 => Ok(Self::Ping),
            10 => Ok(Self::Pong),
            _ => Err(Refused::Frame("a reserved opcode")),
        }
    }

    fn nibble(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Close, ping or pong: short, whole, and allowed between the parts of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The head of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The last part of its message?
    pub fin: bool,
    /// What it carries.
    pub opcode: Opcode,
    /// The mask; always there from a client, never from a server.
    pub mask: Option<[u8; 4]>,
    /// Bytes of the head itself: 2 to 14.
    pub head: usize,
    /// Bytes of the payload.
    pub payload: u64,
}

impl Header {
    /// Head and payload together, in bytes; as large as can be when that does not fit.
    pub fn total(&self) -> usize {
        usize::try_from(self.payload)
            .unwrap_or(usize::MAX)
            .saturating_add(self.head)
    }

    /// The frame's payload in `bytes`, which begin with the frame: as much of it as is there.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
            .get(self.head..bytes.len().min(self.total()))
            .unwrap_or_default()
    }
}

/// Reads the head of the frame at the front of `bytes`, which came on `way`. `None`: more bytes
/// are needed. No extension is ever negotiated through us, so reserved bits are refused.
pub fn parse(bytes: &[u8], way: Way) -> Result<Option<Header>, Refused> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(Refused::Frame("a reserved bit"));
    }
    let opcode = Opcode::read(first & 0x0f)?;
    let fin = first & 0x80 != 0;
    let masked = second & 0x80 != 0;
    if masked != (way == Way::Up) {
        return Err(Refused::Frame("masked the wrong way"));
    }
    let short = u64::from(second & 0x7f);
    if opcode.is_control() && (short > MOST_CONTROL || !fin) {
        return Err(Refused::Frame("a control frame too long or in parts"));
    }
    let (payload, extra) = match short {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), 8),
            None => return Ok(None),
        },
        short => (short, 0),
    };
    let minimal = match extra {
        2 => payload > MOST_CONTROL,
        8 => payload > u64::from(u16::MAX) && payload >> 63 == 0,
        _ => true,
    };
    if !minimal {
        return Err(Refused::Frame("a length not written the short way"));
    }
    let mask = if masked {
        match rest.get(extra..).and_then(<[u8]>::first_chunk::<4>) {
            Some(mask) => Some(*mask),
            None => return Ok(None),
        }
    } else {
        None
    };
    Ok(Some(Header {
        fin,
        opcode,
        mask,
        head: 2 + extra + if masked { 4 } else { 0 },
        payload,
    }))
}

/// Applies `mask` to `payload`, which begins at a multiple of four bytes into its frame: masks
/// what is plain, and the other way round.
pub fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Some(chunk) = chunk.first_chunk_mut::<8>() {
            *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends the payload of the frame that `header` describes, unmasked, to `out`. `payload` may
/// be its beginning alone.
pub fn unmask_into(header: &Header, payload: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.extend_from_slice(payload);
    if let (Some(mask), Some(new)) = (header.mask, out.get_mut(from..)) {
        apply_mask(new, mask);
    }
}

/// The first byte of that payload, unmasked.
pub fn first_byte(header: &Header, payload: &[u8]) -> Option<u8> {
    let mask = header.mask.map_or(0, |[first, ..]| first);
    payload.first().map(|it| it ^ mask)
}

/// Which frames may come next: the state of a message in several parts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequence {
    open: Option<Kind>,
    closed: bool,
}

/// What a message is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

impl Sequence {
    /// Takes note of a frame, or refuses it here. For a data frame: the kind of its message.
    pub fn accept(&mut self, header: &Header) -> Result<Option<Kind>, Refused> {
        let kind = match (header.opcode, self.open) {
            (Opcode::Close, _) => {
                self.closed = true;
                return Ok(None);
            }
            (Opcode::Ping | Opcode::Pong, _) => return Ok(None),
            (Opcode::Text, None) => Kind::Text,
            (Opcode::Binary, None) => Kind::Binary,
            (Opcode::Continuation, Some(kind)) => kind,
            (Opcode::Continuation, None) => {
                return Err(Refused::Frame("a continuation of nothing"));
            }
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Refused::Frame("a message inside another"));
            }
        };
        self.open = if header.fin { None } else { Some(kind) };
        Ok(Some(kind))
    }

    /// Whether the close frame has come: nothing counts after it.
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

/// Checks the payload of a close frame (RFC 6455, sections 5.5.1 and 7.4).
pub fn check_close(payload: &[u8]) -> Result<(), Refused> {
    match payload {
        [] => Ok(()),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(Refused::Frame("a close code nobody may send"));
            }
            simdutf8::basic::from_utf8(reason)
                .map(|_| ())
                .map_err(|_| Refused::Utf8)
        }
        [_] => Err(Refused::Frame("half a close code")),
    }
}

/// Appends a whole frame of ours to `out`, masked where it goes up.
pub fn write(out: &mut Vec<u8>, way: Way, opcode: Opcode, payload: &[u8]) {
    out.push(0x80 | opcode.nibble());
    let mask_bit = match way {
        Way::Up => 0x80,
        Way::Down => 0,
    };
    if let Ok(short @ 0..=125) = u8::try_from(payload.len()) {
        out.push(mask_bit | short);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        out.push(mask_bit | 0x7e);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(mask_bit | 0x7f);
        out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    match way {
        Way::Up => {
            let mask: [u8; 4] = random::bytes();
            out.extend_from_slice(&mask);
            let from = out.len();
            out.extend_from_slice(payload);
            if let Some(new) = out.get_mut(from..) {
                apply_mask(new, mask);
            }
        }
        Way::Down => out.extend_from_slice(payload),
    }
}

/// Appends a text message.
pub fn write_text(out: &mut Vec<u8>, way: Way, text: &str) {
    write(out, way, Opcode::Text, text.as_bytes());
}

/// Appends a close frame; `reason` is cut to what fits.
pub fn write_close(out: &mut Vec<u8>, way: Way, code: u16, reason: &str) {
    let mut payload = code.to_be_bytes().to_vec();
    let mut room = 123.min(reason.len());
    while !reason.is_char_boundary(room) {
        room -= 1;
    }
    payload.extend_from_slice(reason.as_bytes().get(..room).unwrap_or_default());
    write(out, way, Opcode::Close, &payload);
}

/// Where the frame begins that byte `at` of `frames` belongs to, and what it is. `frames` is a
/// run of whole frames that were judged before. `None` when `at` is just between two.
pub fn frame_at(frames: &[u8], way: Way, at: usize) -> Option<(usize, Header)> {
    let mut start = 0;
    while start < at {
        let header = parse(frames.get(start..)?, way).ok()??;
        let end = start.saturating_add(header.total());
        if end > at {
            return Some((start, header));
        }
        start = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(way: Way, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, way, opcode, payload);
        out
    }

    #[test]
    fn what_we_write_we_read() {
        for size in [0, 1, 125, 126, 65_535, 65_536] {
            for way in [Way::Up, Way::Down] {
                let payload = vec![b'x'; size];
                let bytes = frame(way, Opcode::Binary, &payload);
                let header = parse(&bytes, way).unwrap().unwrap();
                assert_eq!(header.total(), bytes.len());
                let mut plain = Vec::new();
                unmask_into(&header, header.payload(&bytes), &mut plain);
                assert_eq!(plain, payload);
                for cut in 0..header.head {
                    assert_eq!(parse(&bytes[..cut], way), Ok(None));
                }
            }
        }
    }

    #[test]
    fn every_kind_of_frame_is_read_as_it_was_written() {
        for (opcode, control) in [
            (Opcode::Continuation, false),
            (Opcode::Text, false),
            (Opcode::Binary, false),
            (Opcode::Close, true),
            (Opcode::Ping, true),
            (Opcode::Pong, true),
        ] {
            assert_eq!(opcode.is_control(), control);
            for way in [Way::Up, Way::Down] {
                // As long as one of the transport's own may be.
                let bytes = frame(way, opcode, &[7; 125]);
                let header = parse(&bytes, way).unwrap().unwrap();
                assert_eq!((header.opcode, header.payload), (opcode, 125));
                assert_eq!(first_byte(&header, header.payload(&bytes)), Some(7));
                assert_eq!(first_byte(&header, &[]), None);
            }
        }
        let masked = Header {
            fin: true,
            opcode: Opcode::Binary,
            mask: Some([0xff, 0, 0, 0]),
            head: 6,
            payload: 1,
        };
        assert_eq!(first_byte(&masked, &[0x0f]), Some(0xf0));
    }

    #[test]
    fn w14_reserved_bits_wrong_masks_and_long_lengths_are_refused() {
        for bad in [
            &[0xc1, 0x80, 0, 0, 0, 0][..],              // RSV1
            &[0x83, 0x80, 0, 0, 0, 0],                  // opcode 3
            &[0x81, 0x00],                              // unmasked
            &[0x09, 0x80, 0, 0, 0, 0],                  // a ping in parts
            &[0x89, 0xfe, 0, 126, 0, 0, 0, 0],          // a long ping
            &[0x81, 0xfe, 0, 125, 0, 0, 0, 0],          // 16 bits for 125
            &[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 255], // 64 bits for 65535
            &[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],   // the highest bit
        ] {
            assert!(
                matches!(parse(bad, Way::Up), Err(Refused::Frame(_))),
                "{bad:?}"
            );
        }
        assert!(parse(&[0x81, 0x80, 0, 0, 0, 0], Way::Down).is_err());
    }

    #[test]
    fn parts_of_messages_come_in_order() {
        let part = |fin, opcode| Header {
            fin,
            opcode,
            mask: None,
            head: 2,
            payload: 0,
        };
        let mut order = Sequence::default();
        assert!(order.accept(&part(true, Opcode::Continuation)).is_err());
        assert_eq!(
            order.accept(&part(false, Opcode::Text)),
            Ok(Some(Kind::Text))
        );
        assert_eq!(order.accept(&part(true, Opcode::Ping)), Ok(None));
        assert!(order.accept(&part(true, Opcode::Text)).is_err());
        assert_eq!(
            order.accept(&part(true, Opcode::Continuation)),
            Ok(Some(Kind::Text))
        );
        assert!(order.accept(&part(true, Opcode::Text)).is_ok());
    }

    #[test]
    fn close_codes_are_those_of_the_standard() {
        for good in [1000u16, 1001, 1008, 1011, 3000, 4999] {
            assert_eq!(check_close(&good.to_be_bytes()), Ok(()));
        }
        for bad in [0u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert!(check_close(&bad.to_be_bytes()).is_err(), "{bad}");
        }
        assert!(check_close(&[3]).is_err());
        assert_eq!(check_close(&[3, 232, 0xff]), Err(Refused::Utf8));
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        write_close(&mut out, Way::Down, 1008, &"é".repeat(100));
        let header = parse(&out, Way::Down).unwrap().unwrap();
        assert_eq!(header.payload, 124);
        assert_eq!(check_close(header.payload(&out)), Ok(()));
    }

    #[test]
    fn a_byte_belongs_to_its_frame() {
        let mut run = frame(Way::Down, Opcode::Text, b"abc");
        run.extend(frame(Way::Down, Opcode::Binary, b"de"));
        assert_eq!(frame_at(&run, Way::Down, 0), None);
        assert_eq!(frame_at(&run, Way::Down, 3).unwrap().0, 0);
        assert_eq!(frame_at(&run, Way::Down, 5), None);
        let (start, header) = frame_at(&run, Way::Down, 6).unwrap();
        assert_eq!((start, header.opcode), (5, Opcode::Binary));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for way in [Way::Up, Way::Down] {
                if let Ok(Some(header)) = parse(&bytes, way) {
                    prop_assert!(header.head <= bytes.len());
                    let _ = header.payload(&bytes);
                }
                let _ = frame_at(&bytes, way, bytes.len());
            }
        }

        #[test]
        fn a_mask_undoes_itself(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), mask: [u8; 4]) {
            let plain = bytes.clone();
            apply_mask(&mut bytes, mask);
            for (at, byte) in bytes.iter().enumerate() {
                prop_assert_eq!(*byte, plain[at] ^ mask[at % 4]);
            }
        }
    }
}
