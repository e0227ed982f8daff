//! HTTP/1 message framing (RFC 9112) as a state machine over bytes: no I/O, no copies, no
//! allocation. Longer than most files here, because the whole machine reads best in one piece.

use memchr::{memchr, memchr2};

use crate::{
    config::Limits,
    intake::{
        Malformed,
        wire::field::{Coding, Field, Length, Name, is_forbidden_trailer},
    },
};

/// How large heads may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// All of a head, in bytes.
    pub head: usize,
    /// The request line or one header line, in bytes. (`Cookie`: 64 KiB, if that is more.)
    pub line: usize,
    /// Header lines.
    pub lines: usize,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self {
            head: limits.head,
            line: limits.header,
            lines: limits.headers,
        }
    }
}

/// The longest `Cookie` line, in bytes.
const COOKIES: usize = 64 << 10;
/// The most empty lines before a request line.
const EMPTY: u8 = 4;
/// The longest method, in bytes.
const METHOD: usize = 20;
/// The most hexadecimal digits of a chunk's size.
const SIZE: u32 = 15;
/// The longest chunk extension, in bytes.
const EXTENSION: usize = 256;
/// All trailers of a message, in bytes.
const TRAILERS: usize = 8 << 10;

/// Where the stream went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// How many of the bytes just fed were still in order.
    pub at: usize,
    /// What is wrong.
    pub why: Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a request line; empty lines are skipped.
    Start,
    StartLf,
    Method,
    Target,
    /// So many bytes of the version were read.
    Version(usize),
    LineLf,
    FieldStart,
    Name,
    Value,
    ValueLf,
    HeadLf,
    /// So many bytes of the body are left.
    Body(u64),
    Size,
    Extension,
    SizeLf,
    /// So many bytes of the chunk are left.
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    /// Something was wrong: nothing is in order any more.
    Spoilt,
}

/// Follows one connection's requests.
#[derive(Debug)]
pub struct Wire {
    bounds: Bounds,
    state: State,
    /// Where it was when something was wrong.
    broke_in: State,
    /// Empty lines before this request so far.
    empty: u8,
    /// Bytes of this head (or of these trailers) so far.
    head: usize,
    /// Bytes of this line (or chunk extension) so far.
    line: usize,
    /// Header lines so far.
    lines: usize,
    name: Name,
    field: Field,
    old_version: bool,
    host: bool,
    length: Option<u64>,
    chunked: bool,
    digits: u32,
    size: u64,
}

type Step<'a> = Result<&'a [u8], Malformed>;

impl Wire {
    /// A connection's beginning.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            state: State::Start,
            broke_in: State::Start,
            empty: 0,
            head: 0,
            line: 0,
            lines: 0,
            name: Name::default(),
            field: Field::Other,
            old_version: false,
            host: false,
            length: None,
            chunked: false,
            digits: 0,
            size: 0,
        }
    }

    /// Follows the next bytes. After a fault everything is one.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.step(rest) {
                Ok(left) => rest = left,
                Err(why) => {
                    let at = bytes.len() - rest.len();
                    self.broke_in = std::mem::replace(&mut self.state, State::Spoilt);
                    return Err(Fault { at, why });
                }
            }
        }
        Ok(())
    }

    /// One step: at least one byte, or a change of state that the next step goes on from.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        match self.state {
            State::Start => self.start(bytes),
            State::StartLf | State::EndLf => self.expect(bytes, b'\n', State::Start),
            State::Method => self.method(bytes),
            State::Target => self.target(bytes),
            State::Version(read) => self.version(bytes, read),
            State::LineLf | State::ValueLf => self.expect(bytes, b'\n', State::FieldStart),
            State::FieldStart => self.field_start(bytes),
            State::Name => self.name(bytes),
            State::Value => self.value(bytes),
            State::HeadLf => self.head_end(bytes),
            State::Body(left) => Ok(self.skip(bytes, left, State::Body, State::Start)),
            State::Size => self.size(bytes),
            State::Extension => self.extension(bytes),
            State::SizeLf => self.size_end(bytes),
            State::Chunk(left) => Ok(self.skip(bytes, left, State::Chunk, State::ChunkCr)),
            State::ChunkCr => self.expect(bytes, b'\r', State::ChunkLf),
            State::ChunkLf => self.chunk_end(bytes),
            State::TrailerStart => Ok(self.trailer_start(bytes)),
            State::TrailerName => self.trailer_name(bytes),
            State::TrailerValue => self.trailer_value(bytes),
            State::TrailerLf => self.expect(bytes, b'\n', State::TrailerStart),
            State::Spoilt => Err(Malformed::Framing),
        }
    }

    /// What hyper is to be given in place of the bytes that were wrong, so that it answers 431
    /// (a head too large) or 400, or the request's body breaks off.
    pub fn poison(&self, why: Malformed) -> Vec<u8> {
        let state = self.broke_in;
        if why != Malformed::TooLarge {
            // A NUL is allowed nowhere in a head or a chunk's size, but hyper skips over one in
            // a chunk extension: there a bare LF is refused.
            let poison: &[u8] = if state == State::Extension {
                b"\n\0\r\n\r\n"
            } else {
                b"\0\r\n\r\n"
            };
            return poison.to_vec();
        }
        // The shortest way to more header lines than hyper takes.
        let mut out = Vec::new();
        if state == State::Target {
            out.extend_from_slice(b"/ HTTP/1.1\r\n");
        } else if state == State::Name {
            out.extend_from_slice(b"a:\r\n");
        } else if state == State::Value {
            out.extend_from_slice(b"\r\n");
        }
        for _ in 0..self.bounds.lines.saturating_add(128) {
            out.extend_from_slice(b"a:\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// Counts bytes of a line in a head.
    fn count(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.head += bytes;
        self.line += bytes;
        let line = match self.field {
            Field::Cookie => self.bounds.line.max(COOKIES),
            Field::Other | Field::Length(_) | Field::Coding(_) => self.bounds.line,
        };
        if self.head > self.bounds.head || self.line > line {
            Err(Malformed::TooLarge)
        } else {
            Ok(())
        }
    }

    fn expect<'a>(&mut self, bytes: &'a [u8], wanted: u8, next: State) -> Step<'a> {
        match bytes.split_first() {
            Some((byte, rest)) if *byte == wanted => {
                self.state = next;
                Ok(rest)
            }
            _ => Err(Malformed::Framing),
        }
    }

    fn skip<'a>(
        &mut self,
        bytes: &'a [u8],
        left: u64,
        again: fn(u64) -> State,
        then: State,
    ) -> &'a [u8] {
        let here = usize::try_from(left).unwrap_or(usize::MAX);
        if let Some((_, rest)) = bytes.split_at_checked(here) {
            self.state = then;
            rest
        } else {
            self.state = again(left - bytes.len() as u64);
            &[]
        }
    }

    fn start<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        if let Some((b'\r', rest)) = bytes.split_first() {
            self.empty += 1;
            self.state = State::StartLf;
            return if self.empty > EMPTY {
                Err(Malformed::Framing)
            } else {
                Ok(rest)
            };
        }
        self.empty = 0;
        self.head = 0;
        self.line = 0;
        self.lines = 0;
        self.name = Name::default();
        self.field = Field::Other;
        self.host = false;
        self.length = None;
        self.chunked = false;
        self.state = State::Method;
        Ok(bytes)
    }

    fn method<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let (token, rest) = split_token(bytes);
        self.name.push(token);
        if self.name.len() > METHOD {
            return Err(Malformed::Method);
        }
        match rest.split_first() {
            None => Ok(rest),
            Some((b' ', rest)) if self.name.len() > 0 && self.name.text() != b"connect" => {
                self.line = self.name.len() + 1;
                self.head = self.line;
                self.state = State::Target;
                Ok(rest)
            }
            Some(_) => Err(Malformed::Method),
        }
    }

    fn target<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let good = |byte: &u8| !matches!(byte, 0..=b' ' | b'#' | 0x7f);
        let length = bytes.iter().take_while(|it| good(it)).count();
        let (_, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        self.count(length)?;
        match rest.split_first() {
            None => Ok(rest),
            Some((b' ', rest)) => {
                self.state = State::Version(0);
                Ok(rest)
            }
            Some(_) => Err(Malformed::Target),
        }
    }

    fn version<'a>(&mut self, bytes: &'a [u8], read: usize) -> Step<'a> {
        const VERSION: &[u8] = b"HTTP/1.";
        let Some((byte, rest)) = bytes.split_first() else {
            return Ok(bytes);
        };
        self.state = match (VERSION.get(read), byte) {
            (Some(wanted), byte) if wanted == byte => State::Version(read + 1),
            (None, b'0' | b'1') if read == VERSION.len() => {
                self.old_version = *byte == b'0';
                State::Version(read + 1)
            }
            (None, b'\r') if read > VERSION.len() => State::LineLf,
            _ => return Err(Malformed::Framing),
        };
        Ok(rest)
    }

    fn field_start<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        if let Some((b'\r', rest)) = bytes.split_first() {
            self.state = State::HeadLf;
            return Ok(rest);
        }
        if self.lines >= self.bounds.lines {
            return Err(Malformed::TooLarge);
        }
        self.lines += 1;
        self.line = 0;
        self.name = Name::default();
        self.field = Field::Other;
        self.state = State::Name;
        Ok(bytes)
    }

    fn name<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let (token, rest) = split_token(bytes);
        self.name.push(token);
        self.count(token.len())?;
        match rest.split_first() {
            None => Ok(rest),
            Some((b':', rest)) if self.name.len() > 0 => {
                self.field = self.meaning()?;
                self.state = State::Value;
                Ok(rest)
            }
            Some(_) => Err(Malformed::Framing),
        }
    }

    /// What the name just read announces.
    fn meaning(&mut self) -> Result<Field, Malformed> {
        match self.name.text() {
            b"content-length" if self.length.is_none() => Ok(Field::Length(Length::default())),
            b"transfer-encoding" if !self.chunked => Ok(Field::Coding(Coding::default())),
            b"content-length" | b"transfer-encoding" => Err(Malformed::Framing),
            b"host" if self.host => Err(Malformed::Host),
            b"host" => {
                self.host = true;
                Ok(Field::Other)
            }
            b"cookie" => Ok(Field::Cookie),
            _ => Ok(Field::Other),
        }
    }

    fn value<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let length = memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
        let (value, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        match &mut self.field {
            Field::Other | Field::Cookie => {
                if memchr(0, value).is_some() {
                    return Err(Malformed::Framing);
                }
            }
            Field::Length(length) => value.iter().try_for_each(|it| length.push(*it))?,
            Field::Coding(coding) => value.iter().try_for_each(|it| coding.push(*it))?,
        }
        self.count(value.len())?;
        match rest.split_first() {
            None => Ok(rest),
            Some((b'\r', rest)) => {
                match self.field {
                    Field::Length(length) => self.length = Some(length.end()?),
                    Field::Coding(coding) => {
                        coding.end()?;
                        self.chunked = true;
                    }
                    Field::Other | Field::Cookie => {}
                }
                self.state = State::ValueLf;
                Ok(rest)
            }
            Some(_) => Err(Malformed::Framing),
        }
    }

    fn head_end<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        if self.chunked && (self.length.is_some() || self.old_version) {
            return Err(Malformed::Framing);
        }
        let next = match self.length {
            _ if self.chunked => State::Size,
            Some(length) if length > 0 => State::Body(length),
            _ => State::Start,
        };
        self.digits = 0;
        self.size = 0;
        self.expect(bytes, b'\n', next)
    }

    fn size<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let Some((byte, rest)) = bytes.split_first() else {
            return Ok(bytes);
        };
        match char::from(*byte).to_digit(16) {
            Some(digit) if self.digits < SIZE => {
                self.digits += 1;
                self.size = self.size << 4 | u64::from(digit);
            }
            None if self.digits > 0 && *byte == b';' => {
                self.line = 0;
                self.state = State::Extension;
            }
            None if self.digits > 0 && *byte == b'\r' => self.state = State::SizeLf,
            _ => return Err(Malformed::Framing),
        }
        Ok(rest)
    }

    fn extension<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let Some((byte, rest)) = bytes.split_first() else {
            return Ok(bytes);
        };
        match byte {
            b'\r' => self.state = State::SizeLf,
            b'\t' | b' '..=0x7e if self.line < EXTENSION => self.line += 1,
            _ => return Err(Malformed::Framing),
        }
        Ok(rest)
    }

    fn size_end<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        self.head = 0;
        let next = match self.size {
            0 => State::TrailerStart,
            size => State::Chunk(size),
        };
        self.expect(bytes, b'\n', next)
    }

    fn chunk_end<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        self.digits = 0;
        self.size = 0;
        self.expect(bytes, b'\n', State::Size)
    }

    fn trailer_start<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if let Some((b'\r', rest)) = bytes.split_first() {
            self.state = State::EndLf;
            return rest;
        }
        // Every line costs something, and the same however it is cut.
        self.head += 1;
        self.name = Name::default();
        self.state = State::TrailerName;
        bytes
    }

    fn trailer_name<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let (token, rest) = split_token(bytes);
        self.name.push(token);
        self.trailer_bytes(token.len())?;
        match rest.split_first() {
            None => Ok(rest),
            Some((b':', rest))
                if self.name.len() > 0 && !is_forbidden_trailer(self.name.text()) =>
            {
                self.state = State::TrailerValue;
                Ok(rest)
            }
            Some(_) => Err(Malformed::Framing),
        }
    }

    fn trailer_value<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let length = memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
        let (value, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        self.trailer_bytes(value.len())?;
        match rest.split_first() {
            _ if memchr(0, value).is_some() => Err(Malformed::Framing),
            None => Ok(rest),
            Some((b'\r', rest)) => {
                self.state = State::TrailerLf;
                Ok(rest)
            }
            Some(_) => Err(Malformed::Framing),
        }
    }

    fn trailer_bytes(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.head += bytes;
        if self.head > TRAILERS {
            Err(Malformed::Framing)
        } else {
            Ok(())
        }
    }
}

/// The bytes of a token (RFC 9110, section 5.6.2) at the beginning, and the rest.
fn split_token(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = bytes.iter().take_while(|it| is_token(**it)).count();
    bytes.split_at_checked(length).unwrap_or((bytes, &[]))
}

/// Whether a byte may stand in a token.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests;
