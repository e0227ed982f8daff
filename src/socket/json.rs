//! A strict reader of JSON (RFC 8259) that builds nothing: it says where things lie, so that
//! bytes can be passed on, or spliced, as they came.

use std::ops::Range;

/// How deep values may nest.
pub const MOST_DEEP: u32 = 64;

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    /// Not by RFC 8259.
    #[error("malformed JSON")]
    Malformed,
    /// Values in one another, deeper than [`MOST_DEEP`].
    #[error("JSON nested too deep")]
    TooDeep,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{}`
    Object,
    /// `[]`
    Array,
    /// `""`
    String,
    /// A number, `true` or `false`.
    Scalar,
    /// `null`
    Null,
}

/// One `"key":value` of an object; both where they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The key, with its quotes.
    pub key: Range<usize>,
    /// The value.
    pub value: Range<usize>,
    /// What the value is.
    pub kind: Kind,
}

/// Goes through a text from its front.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Begins at byte `at` of `text`.
    pub fn new(text: &'a str, at: usize) -> Self {
        Self {
            bytes: text.as_bytes(),
            at,
        }
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next byte, not taken.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Goes past white space.
    pub fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes `byte` and nothing else.
    pub fn take(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(NotJson::Malformed)
        }
    }

    /// Goes past one value whatever it is, `depth` levels below the top.
    pub fn value(&mut self, depth: u32) -> Result<(Range<usize>, Kind), NotJson> {
        let from = self.at;
        let kind = match self.peek().ok_or(NotJson::Malformed)? {
            b'{' => {
                self.nested(depth)?;
                Kind::Object
            }
            b'[' => {
                self.nested(depth)?;
                Kind::Array
            }
            b'"' => {
                self.string()?;
                Kind::String
            }
            b't' => self.word(b"true", Kind::Scalar)?,
            b'f' => self.word(b"false", Kind::Scalar)?,
            b'n' => self.word(b"null", Kind::Null)?,
            _ => {
                self.number()?;
                Kind::Scalar
            }
        };
        Ok((from..self.at, kind))
    }

    /// Goes past an object and shows each of its members.
    pub fn object(
        &mut self,
        depth: u32,
        mut show: impl FnMut(Member),
    ) -> Result<Range<usize>, NotJson> {
        let from = self.at;
        self.take(b'{')?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(from..self.at);
        }
        loop {
            let key = self.string()?;
            self.space();
            self.take(b':')?;
            self.space();
            let (value, kind) = self.value(depth + 1)?;
            show(Member { key, value, kind });
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(from..self.at);
                }
                _ => return Err(NotJson::Malformed),
            }
            self.space();
        }
    }

    /// Goes past a string; where it lies, with its quotes.
    pub fn string(&mut self) -> Result<Range<usize>, NotJson> {
        let from = self.at;
        self.take(b'"')?;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let plain = rest
                .iter()
                .position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f))
                .ok_or(NotJson::Malformed)?;
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(from..self.at);
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(NotJson::Malformed),
            }
        }
    }

    fn escape(&mut self) -> Result<(), NotJson> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match rest {
            [
                _,
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                ..,
            ] => self.at += 2,
            [_, b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|it| it.is_ascii_hexdigit()) => {
                self.at += 6;
            }
            _ => return Err(NotJson::Malformed),
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<Kind, NotJson> {
        if self
            .bytes
            .get(self.at..)
            .is_some_and(|it| it.starts_with(word))
        {
            self.at += word.len();
            Ok(kind)
        } else {
            Err(NotJson::Malformed)
        }
    }

    fn number(&mut self) -> Result<(), NotJson> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(NotJson::Malformed),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > from {
            Ok(())
        } else {
            Err(NotJson::Malformed)
        }
    }

    /// Goes past an object or array without recursion: bit `n` of `shape` says whether the
    /// level `n` up is an object.
    fn nested(&mut self, depth: u32) -> Result<(), NotJson> {
        let mut shape: u64 = 0;
        let mut level: u32 = 0;
        loop {
            // A value is due.
            match self.peek().ok_or(NotJson::Malformed)? {
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    level += 1;
                    if depth.saturating_add(level) > MOST_DEEP {
                        return Err(NotJson::TooDeep);
                    }
                    shape = shape << 1 | u64::from(open == b'{');
                    self.space();
                    let empty = self.peek() == Some(if open == b'{' { b'}' } else { b']' });
                    if !empty {
                        if open == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => {
                    self.value(depth)?;
                }
            }
            // A value is done: close what ends here, and go on to the next member or element.
            loop {
                self.space();
                let in_object = shape & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.space();
                        if in_object {
                            self.key()?;
                        }
                        break;
                    }
                    Some(b'}') if in_object => self.at += 1,
                    Some(b']') if !in_object => self.at += 1,
                    _ => return Err(NotJson::Malformed),
                }
                shape >>= 1;
                level -= 1;
                if level == 0 {
                    return Ok(());
                }
            }
        }
    }

    fn key(&mut self) -> Result<(), NotJson> {
        self.string()?;
        self.space();
        self.take(b':')?;
        self.space();
        Ok(())
    }
}

/// How a string in JSON relates to a word of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    /// Another word.
    No,
    /// The word, written plainly.
    Plainly,
    /// The word, but with escapes that no encoder writes.
    Disguised,
}

/// Whether `quoted` means one of `words`, disguised or not.
pub fn means_one_of(quoted: &str, words: &[&str]) -> bool {
    // Whatever means a word begins as it does, or with an escape: mostly this tells.
    let first = inner(quoted).as_bytes().first();
    words.iter().any(|word| {
        (first == Some(&b'\\') || first == word.as_bytes().first())
            && means(quoted, word) != Same::No
    })
}

/// Whether `quoted` (a valid JSON string with its quotes) means the plain ASCII `word`.
pub fn means(quoted: &str, word: &str) -> Same {
    let inner = inner(quoted);
    if inner == word {
        return Same::Plainly;
    }
    if !inner.contains('\\') {
        return Same::No;
    }
    let mut expected = word.chars();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let meant = if c == '\\' {
            match chars.next() {
                Some('u') => {
                    let mut code = 0;
                    for _ in 0..4 {
                        let digit = chars.next().and_then(|it| it.to_digit(16));
                        code = code << 4 | digit.unwrap_or(0);
                    }
                    char::from_u32(code)
                }
                Some('b') => Some('\u{8}'),
                Some('f') => Some('\u{c}'),
                Some('n') => Some('\n'),
                Some('r') => Some('\r'),
                Some('t') => Some('\t'),
                other => other,
            }
        } else {
            Some(c)
        };
        if meant.is_none() || meant != expected.next() {
            return Same::No;
        }
    }
    if expected.next().is_none() {
        Same::Disguised
    } else {
        Same::No
    }
}

/// A quoted string without its quotes; escapes stay.
pub fn inner(quoted: &str) -> &str {
    quoted
        .strip_prefix('"')
        .and_then(|it| it.strip_suffix('"'))
        .unwrap_or(quoted)
}

/// Appends `text` to `out` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    use std::io::Write as _;
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            // Writing to a Vec cannot fail.
            c if u32::from(c) < 0x20 => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reads(text: &str) -> bool {
        let mut reader = Reader::new(text, 0);
        reader.value(0).is_ok() && reader.is_done()
    }

    #[test]
    fn it_reads_what_is_json_and_nothing_else() {
        for good in [
            "{}",
            "[]",
            "0",
            "-0",
            "1.5e+3",
            "true",
            "false",
            "null",
            "\"\"",
            "[[],{}]",
            r#"{"a":[1,{"b":null}],"c":"\u00e9\n"}"#,
            "[ 1 , 2 ]",
            "{ \"a\" : 1 }",
        ] {
            assert!(reads(good), "{good}");
        }
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{,}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "tru",
            "nul",
            "'a'",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "[1}",
            "{\"a\":1]",
            "[1 2]",
            "\"",
            "{\"a\":1,}",
            "NaN",
            "[]]",
            "{1:2}",
        ] {
            assert!(!reads(bad), "{bad}");
        }
    }

    #[test]
    fn w13_depth_is_bounded() {
        let nest = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(reads(&nest(64)));
        assert!(!reads(&nest(65)));
        assert!(!reads(&"[".repeat(100_000)));
        let member = |n| {
            let text = format!(r#"{{"a":{}}}"#, nest(n));
            Reader::new(&text, 0).object(0, |_| ()).map(|_| ())
        };
        assert_eq!(member(63), Ok(()));
        assert_eq!(member(64), Err(NotJson::TooDeep));
    }

    #[test]
    fn what_is_written_is_json_whatever_the_text_is() {
        for text in [
            "",
            "plain",
            "a\"b\\c",
            "\u{0}\u{1f} \u{7f}",
            "\n\r\t\u{8}\u{c}",
            "é\u{1f600}",
        ] {
            let mut out = Vec::new();
            write_string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn a_disguised_key_is_seen_through() {
        assert_eq!(means(r#""user""#, "user"), Same::Plainly);
        assert_eq!(means(r#""us\u0065r""#, "user"), Same::Disguised);
        assert_eq!(
            means(r#""\u0075\u0073\u0065\u0072""#, "user"),
            Same::Disguised
        );
        assert_eq!(means(r#""users""#, "user"), Same::No);
        assert_eq!(means(r#""use\\r""#, "user"), Same::No);
        assert_eq!(means(r#""us\ud800r""#, "user"), Same::No);
        assert_eq!(means(r#""use\u0072s""#, "user"), Same::No);
        assert_eq!(means(r#""us\u0065""#, "user"), Same::No);
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde(text in r#"[\[\]{}",:0-9a-e.\\u \-]{0,24}"#) {
            // (Depth and numbers that do not fit a float are the known differences.)
            let ours = reads(&text);
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(text.trim_start()).is_ok();
            let spaced = text.ends_with([' ', '\t']) || text.starts_with([' ', '\t']);
            prop_assert!(spaced || ours == theirs, "{} {} {}", text, ours, theirs);
        }

        #[test]
        fn a_string_we_write_reads_back(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            let back: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(back, text);
        }
    }
}
