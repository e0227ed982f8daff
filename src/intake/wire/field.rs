//! The header fields that framing hangs on, read a byte at a time.

use crate::intake::Malformed;

/// The longest name that matters, in bytes, and a little more.
const KEPT: usize = 20;

/// A field's name in lower case, as far as it can matter.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Name {
    bytes: [u8; KEPT],
    length: usize,
}

impl Name {
    /// Adds bytes of it. What is longer than any name that matters is only counted.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(at) = self.bytes.get_mut(self.length) {
                *at = byte.to_ascii_lowercase();
            }
            self.length += 1;
        }
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// What it is called; empty when it is too long to matter.
    pub(super) fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What the value being read is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    /// Nothing that matters here.
    Other,
    /// Cookies may be longer than other lines.
    Cookie,
    /// `Content-Length`.
    Length(Length),
    /// `Transfer-Encoding`.
    Coding(Coding),
}

/// A `Content-Length` as it comes in: spaces, digits, spaces.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Length {
    digits: u32,
    value: u64,
    ended: bool,
}

impl Length {
    pub(super) fn push(&mut self, byte: u8) -> Result<(), Malformed> {
        match byte {
            b'0'..=b'9' if !self.ended && self.digits < 18 => {
                self.digits += 1;
                self.value = self.value * 10 + u64::from(byte - b'0');
                Ok(())
            }
            b' ' | b'\t' => {
                self.ended = self.digits > 0;
                Ok(())
            }
            _ => Err(Malformed::Framing),
        }
    }

    pub(super) fn end(self) -> Result<u64, Malformed> {
        if self.digits > 0 {
            Ok(self.value)
        } else {
            Err(Malformed::Framing)
        }
    }
}

/// A `Transfer-Encoding` as it comes in: spaces, `chunked`, spaces, and nothing else.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Coding {
    matched: usize,
    ended: bool,
}

const CHUNKED: &[u8] = b"chunked";

impl Coding {
    pub(super) fn push(&mut self, byte: u8) -> Result<(), Malformed> {
        match byte {
            b' ' | b'\t' => {
                self.ended = self.matched > 0;
                Ok(())
            }
            _ if !self.ended && CHUNKED.get(self.matched) == Some(&byte.to_ascii_lowercase()) => {
                self.matched += 1;
                Ok(())
            }
            _ => Err(Malformed::Framing),
        }
    }

    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.matched == CHUNKED.len() {
            Ok(())
        } else {
            Err(Malformed::Framing)
        }
    }
}

/// Whether a trailer by this name would be believed by somebody who should not.
pub(super) fn is_forbidden_trailer(name: &[u8]) -> bool {
    matches!(
        name,
        b"content-length"
            | b"transfer-encoding"
            | b"host"
            | b"connection"
            | b"upgrade"
            | b"trailer"
            | b"te"
            | b"expect"
            | b"authorization"
            | b"cookie"
            | b"set-cookie"
            | b"content-type"
            | b"content-encoding"
            | b"content-range"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(text: &str) -> Result<u64, Malformed> {
        let mut it = Length::default();
        for byte in text.bytes() {
            it.push(byte)?;
        }
        it.end()
    }

    #[test]
    fn a_length_is_what_its_digits_say() {
        for (text, said) in [
            ("0", 0),
            ("5", 5),
            ("120", 120),
            (" \t007 ", 7),
            ("999999999999999999", 999_999_999_999_999_999),
        ] {
            assert_eq!(length(text), Ok(said), "{text:?}");
        }
        for text in ["", " ", "1 2", "+1", "1,1", "0x1", "1000000000000000000"] {
            assert_eq!(length(text), Err(Malformed::Framing), "{text:?}");
        }
    }
}
