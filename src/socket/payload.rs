//! How packets stand in the body of a polling request or answer.
//!
//! Version 4 puts 0x1e between them, and writes bytes as `b` and base64. Version 3 has two forms:
//! text, `<length>:<packet>` with the length in UTF-16 code units and bytes as `b4` and base64; and,
//! where there are bytes and the other side takes them as they are, one in which each packet
//! begins with 0 (text) or 1 (bytes), the digits of its length in bytes as the numbers 0 to 9, and
//! 255. Read here in the one form that the official encoders write (engine.io-parser 2 and 5).

use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::socket::{Refused, engineio::Version};

/// What stands between two packets in version 4.
const SEPARATOR: u8 = 0x1e;
/// What ends a length in version 3's form of bytes.
const END_OF_LENGTH: u8 = 0xff;
/// Most digits of a length: more bytes than any body has.
const MOST_DIGITS: usize = 9;
/// What version 3 says when there is nothing to say.
const NOTHING: &[u8] = b"0:";

/// A form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Version 4.
    Four,
    /// Version 3's text.
    ThreeText,
    /// Version 3's bytes.
    ThreeBytes,
}

/// The `Content-Type` of bodies in version 3's form of bytes; all others are text, as the official
/// server and clients tell them apart.
const BYTES: &str = "application/octet-stream";

impl Form {
    /// The form of a body that came with that `Content-Type`.
    pub fn of(version: Version, content_type: Option<&[u8]>) -> Self {
        match version {
            Version::Four => Self::Four,
            Version::Three if content_type == Some(BYTES.as_bytes()) => Self::ThreeBytes,
            Version::Three => Self::ThreeText,
        }
    }

    /// The `Content-Type` that says so, as clients write it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Four | Self::ThreeText => "text/plain;charset=UTF-8",
            Self::ThreeBytes => BYTES,
        }
    }

    /// The form in which what is ours alone is written.
    pub fn plain(version: Version) -> Self {
        Self::of(version, None)
    }

    /// Appends a packet of text to a body.
    pub fn append(self, body: &mut Vec<u8>, packet: &str) {
        match self {
            Self::Four if body.is_empty() => {}
            Self::Four => body.push(SEPARATOR),
            Self::ThreeText => {
                let units = packet.encode_utf16().count();
                body.extend_from_slice(format!("{units}:").as_bytes());
            }
            Self::ThreeBytes => {
                body.push(0);
                let digits = packet.len().to_string();
                body.extend(digits.bytes().map(|it| it - b'0'));
                body.push(END_OF_LENGTH);
            }
        }
        body.extend_from_slice(packet.as_bytes());
    }

    /// Appends a packet as it stood in a body of the same form.
    pub fn append_raw(self, body: &mut Vec<u8>, raw: &[u8]) {
        if self == Self::Four && !body.is_empty() {
            body.push(SEPARATOR);
        }
        body.extend_from_slice(raw);
    }
}

/// A packet in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Text, which begins with its type.
    Text(&'a str),
    /// Bytes that were written as they are or in base64, and their first, which in version 3 is
    /// their type.
    Bytes(Option<u8>),
}

/// The packets of a body, one after the other.
#[derive(Debug)]
pub struct Parts<'a> {
    form: Form,
    body: &'a [u8],
    /// The same, where it is text.
    text: &'a str,
    at: usize,
    done: bool,
}

impl<'a> Parts<'a> {
    /// Of `body`. An empty one has none.
    pub fn new(form: Form, body: &'a [u8]) -> Result<Self, Refused> {
        let text = match form {
            Form::Four | Form::ThreeText => {
                simdutf8::basic::from_utf8(body).map_err(|_| Refused::Utf8)?
            }
            Form::ThreeBytes => "",
        };
        let nothing = form == Form::ThreeText && body == NOTHING;
        Ok(Self {
            form,
            body,
            text,
            at: 0,
            done: body.is_empty() || nothing,
        })
    }

    fn four(&mut self, start: usize) -> Result<(Part<'a>, usize), Refused> {
        let rest = self.body.get(start..).unwrap_or_default();
        let end = memchr::memchr(SEPARATOR, rest).map_or(self.body.len(), |it| start + it);
        self.done = end == self.body.len();
        self.at = end + 1;
        let packet = self.text.get(start..end).unwrap_or_default();
        let part = match packet.strip_prefix('b') {
            Some(base64) => Part::Bytes(first_of(base64)?),
            None => Part::Text(packet),
        };
        Ok((part, end))
    }

    fn three_text(&mut self, start: usize) -> Result<(Part<'a>, usize), Refused> {
        let bad = Refused::Grammar("a packet's length");
        let rest = self.text.get(start..).unwrap_or_default();
        let (digits, units) = length(rest.as_bytes(), b':', b'0').ok_or(bad)?;
        let from = start + digits + 1;
        let packet = self.text.get(from..).unwrap_or_default();
        let packet = utf16_prefix(packet, units).ok_or(bad)?;
        let end = from + packet.len();
        (self.at, self.done) = (end, end == self.body.len());
        let part = match packet.strip_prefix('b') {
            // The type of what is in it is text here.
            Some(base64) => {
                let message = base64
                    .strip_prefix('4')
                    .ok_or(Refused::Grammar("bytes that are no message"))?;
                first_of(message)?;
                Part::Bytes(Some(4))
            }
            None => Part::Text(packet),
        };
        Ok((part, end))
    }

    fn three_bytes(&mut self, start: usize) -> Result<(Part<'a>, usize), Refused> {
        let bad = Refused::Grammar("a packet's length");
        let rest = self.body.get(start..).unwrap_or_default();
        let (kind, rest) = rest.split_first().ok_or(bad)?;
        let (digits, bytes) = length(rest, END_OF_LENGTH, 0).ok_or(bad)?;
        let from = start + 1 + digits + 1;
        let end = from.checked_add(bytes).ok_or(bad)?;
        let packet = self.body.get(from..end).ok_or(bad)?;
        (self.at, self.done) = (end, end == self.body.len());
        let part = match kind {
            0 => {
                let text = simdutf8::basic::from_utf8(packet).map_err(|_| Refused::Utf8)?;
                if text.starts_with('b') {
                    return Err(Refused::Grammar("base64 among bytes"));
                }
                Part::Text(text)
            }
            1 => Part::Bytes(packet.first().copied()),
            _ => return Err(Refused::Grammar("a packet of no kind")),
        };
        Ok((part, end))
    }
}

impl<'a> Iterator for Parts<'a> {
    /// The packet, and where it stands with all that says how long it is.
    type Item = Result<(Part<'a>, Range<usize>), Refused>;

    /// Nothing after what was refused.
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let start = self.at;
        let found = match self.form {
            Form::Four => self.four(start),
            Form::ThreeText => self.three_text(start),
            Form::ThreeBytes => self.three_bytes(start),
        };
        self.done |= found.is_err();
        Some(found.map(|(part, end)| (part, start..end)))
    }
}

/// The length at the front of `bytes`, at least 1 and written in the one way that there is: digits
/// that count from `zero`, and `end`. How many digits it has, and what they say.
fn length(bytes: &[u8], end: u8, zero: u8) -> Option<(usize, usize)> {
    let front = bytes.get(..bytes.len().min(MOST_DIGITS + 1))?;
    let digits = front.get(..memchr::memchr(end, front)?)?;
    if *digits.first()? == zero {
        return None;
    }
    let said = digits.iter().try_fold(0, |sum, it| {
        let digit = it.checked_sub(zero).filter(|it| *it <= 9)?;
        Some(sum * 10 + usize::from(digit))
    })?;
    Some((digits.len(), said))
}

/// The beginning of `text` that has so many UTF-16 code units.
fn utf16_prefix(text: &str, units: usize) -> Option<&str> {
    // A letter has at least as many bytes as units.
    let front = text.as_bytes().get(..units)?;
    if front.is_ascii() {
        return text.get(..units);
    }
    let mut left = units;
    for (at, letter) in text.char_indices() {
        if left == 0 {
            return text.get(..at);
        }
        left = left.checked_sub(letter.len_utf16())?;
    }
    (left == 0).then_some(text)
}

/// The first of the bytes that base64 stands for.
fn first_of(base64: &str) -> Result<Option<u8>, Refused> {
    let bytes = STANDARD
        .decode(base64)
        .map_err(|_| Refused::Grammar("base64"))?;
    Ok(bytes.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(form: Form, body: &[u8]) -> Result<Vec<String>, Refused> {
        let mut found = Vec::new();
        let mut end = 0;
        for part in Parts::new(form, body)? {
            let (part, at) = part?;
            assert!(at.start >= end && at.end <= body.len());
            end = at.end;
            found.push(match part {
                Part::Text(text) => text.to_owned(),
                Part::Bytes(first) => format!("bytes {first:?}"),
            });
        }
        assert!(found.is_empty() || end == body.len());
        Ok(found)
    }

    #[test]
    fn a_body_says_what_form_it_has() {
        for (version, form, kind) in [
            (Version::Four, Form::Four, "text/plain;charset=UTF-8"),
            (Version::Three, Form::ThreeText, "text/plain;charset=UTF-8"),
            (Version::Three, Form::ThreeBytes, "application/octet-stream"),
        ] {
            assert_eq!(form.content_type(), kind);
            assert_eq!(Form::of(version, Some(kind.as_bytes())), form);
        }
    }

    #[test]
    fn packets_are_read_as_the_official_encoders_write_them() {
        let four = "40/app,\u{1e}bAQID\u{1e}3".as_bytes();
        assert_eq!(
            all(Form::Four, four).unwrap(),
            ["40/app,", "bytes Some(1)", "3"]
        );
        // From engine.io-parser 2.2.1: `encodePayload` of a ping, of letters of one, two and four
        // bytes, and of three bytes, without and with support of bytes.
        let text = "1:28:4é\u{1f600}[\"a\"6:b4AQID".as_bytes();
        assert_eq!(
            all(Form::ThreeText, text).unwrap(),
            ["2", "4é\u{1f600}[\"a\"", "bytes Some(4)"]
        );
        let bytes = b"\0\x01\xff2\0\x04\xff4\xc3\xa9x\x01\x04\xff\x04\x01\x02\x03";
        assert_eq!(
            all(Form::ThreeBytes, bytes).unwrap(),
            ["2", "4éx", "bytes Some(4)"]
        );
        for form in [Form::Four, Form::ThreeText, Form::ThreeBytes] {
            assert!(all(form, b"").unwrap().is_empty());
        }
        assert!(all(Form::ThreeText, b"0:").unwrap().is_empty());
    }

    #[test]
    fn w12_a_length_is_written_in_one_way() {
        for bad in [
            ":2",
            "x:2",
            "01:2",
            "1.0:2",
            "+1:2",
            " 1:2",
            "1e0:2",
            "0x1:2",
            "0:",
            "0:1:2",
            "2:2",
            "1:",
            "1",
            "1:22",
            "1:2:",
            "1000000000:2",
            "9999999999999:2",
            "1:\u{e9}2",
            "2:\u{1f600}2",
            "1:\u{1f600}",
            "2:b4",
            "6:b3AQID",
            "5:bAQID",
            "6:b4AQI\u{e9}",
        ] {
            let found = all(Form::ThreeText, bad.as_bytes());
            // (An empty one is what a server with nothing to say sends; `b4` is bytes, none of them.)
            assert!(
                found.is_err()
                    || ["0:", "2:b4", "1:\u{e9}2"].contains(&bad)
                    || bad == "2:\u{1f600}2",
                "{bad} {found:?}"
            );
        }
        for bad in [
            &b"\0"[..],
            b"\0\xff",
            b"\0\x00\xff",
            b"\0\x00\x01\xff2",
            b"\0\x01\xff",
            b"\0\x02\xff2",
            b"\x02\x01\xff2",
            b"\0\x0a\xff2222222222",
            b"\0\x01",
            b"\x01\x00\xff",
            b"\0\x03\xff4\xc3\x28",
            b"\0\x06\xffb4AQID",
            b"2",
        ] {
            assert!(all(Form::ThreeBytes, bad).is_err(), "{bad:x?}");
        }
        // As many digits as there may be, and one more.
        for (digits, said) in [
            ("999999999:", Some((9, 999_999_999))),
            ("1000000000:", None),
        ] {
            assert_eq!(length(digits.as_bytes(), b':', b'0'), said);
        }
        assert!(all(Form::Four, b"b!").is_err());
        assert!(all(Form::Four, b"\xff").is_err());
    }

    #[test]
    fn the_form_is_told_as_the_official_server_tells_it() {
        let of = |it: &str| Form::of(Version::Three, Some(it.as_bytes()));
        assert_eq!(of("application/octet-stream"), Form::ThreeBytes);
        for text in [
            "text/plain;charset=UTF-8",
            "application/octet-stream; x",
            "Application/Octet-Stream",
            "",
        ] {
            assert_eq!(of(text), Form::ThreeText, "{text}");
        }
        assert_eq!(Form::of(Version::Three, None), Form::ThreeText);
        assert_eq!(Form::of(Version::Four, Some(BYTES.as_bytes())), Form::Four);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(packets in proptest::collection::vec("[a-z0-9é\u{20ac}\u{1f600}:{\"]{1,20}", 1..6)) {
            for form in [Form::Four, Form::ThreeText, Form::ThreeBytes] {
                // (`b` begins bytes.)
                let packets: Vec<String> = packets.iter().map(|it| format!("4{it}")).collect();
                let mut body = Vec::new();
                for packet in &packets {
                    form.append(&mut body, packet);
                }
                prop_assert_eq!(&all(form, &body).unwrap(), &packets);
                let mut again = Vec::new();
                for part in Parts::new(form, &body).unwrap() {
                    let (_, at) = part.unwrap();
                    form.append_raw(&mut again, &body[at]);
                }
                prop_assert_eq!(again, body);
            }
        }

        #[test]
        fn no_bytes_make_it_fall_over(body in proptest::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"0123:4b\xff\x1e\x00\x01\xc3\xa9".to_vec())], 0..40)) {
            for form in [Form::Four, Form::ThreeText, Form::ThreeBytes] {
                let _ = all(form, &body);
            }
        }
    }
}
