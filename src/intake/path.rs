//! Paths: the raw form that is forwarded, and the one that decisions are made on.

use crate::intake::Malformed;

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// It can be read in one way only: percent-decoded, begins with `/`.
    Plain(String),
    /// It could be read in two ways (encoded slash or dot, dot segments, backslash, NUL, `;` in
    /// a dot segment, `//`): refused wherever a path matters, untouched elsewhere.
    Ambiguous,
}

/// Judges a raw path (without its query). Broken percent-encoding is refused everywhere, as
/// nginx does it.
pub fn decide(raw: &str) -> Result<Decided, Malformed> {
    if !raw.starts_with('/') {
        return Err(Malformed::Target);
    }
    let bytes = raw.as_bytes();
    if memchr::memchr2(b'%', b'\\', bytes).is_none() && raw.is_ascii() {
        return Ok(if has_odd_segment(raw) {
            Decided::Ambiguous
        } else {
            Decided::Plain(raw.to_owned())
        });
    }
    let Some(decoded) = decode(bytes)? else {
        return Ok(Decided::Ambiguous);
    };
    Ok(match String::from_utf8(decoded) {
        Ok(path) if !has_odd_segment(&path) => Decided::Plain(path),
        _ => Decided::Ambiguous,
    })
}

/// Percent-decodes; `None` when something in it has two readings.
fn decode(raw: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let mut out = Vec::with_capacity(raw.len());
    let mut plain = true;
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            plain &= *byte != b'\\' && !byte.is_ascii_control();
            out.push(*byte);
            continue;
        }
        let Some((digits, after)) = rest.split_first_chunk::<2>() else {
            return Err(Malformed::Target);
        };
        let byte = hex(*digits).ok_or(Malformed::Target)?;
        rest = after;
        // `%25` before two digits: whoever decodes twice reads something else.
        let again = byte == b'%' && rest.first_chunk().copied().and_then(hex).is_some();
        plain &= !again && !matches!(byte, b'/' | b'\\' | b'.') && !byte.is_ascii_control();
        out.push(byte);
    }
    Ok(plain.then_some(out))
}

fn hex(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|it| char::from(it).to_digit(16));
    u8::try_from(high? << 4 | low?).ok()
}

/// An empty segment before the last, or one that is `.` or `..`, with or without parameters.
fn has_odd_segment(path: &str) -> bool {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let name = segment.split(';').next().unwrap_or(segment);
        let empty = segment.is_empty() && segments.peek().is_some();
        if empty || name == "." || name == ".." {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(raw: &str) -> String {
        match decide(raw) {
            Ok(Decided::Plain(path)) => path,
            other => panic!("{raw}: {other:?}"),
        }
    }

    #[test]
    fn a_path_with_one_reading_is_decoded() {
        for (raw, path) in [
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            ("/%61dmin", "/admin"),
            ("/ADMIN", "/ADMIN"),
            ("/a%20b;x=1", "/a b;x=1"),
            ("/%C3%A4", "/ä"),
            ("/100%25", "/100%"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
        ] {
            assert_eq!(plain(raw), path, "{raw}");
        }
    }

    #[test]
    fn p1_a_path_with_two_readings_is_ambiguous() {
        for raw in [
            "/public/../admin",
            "/public/%2e%2e/admin",
            "/public/..%2fadmin",
            "/public/%2E./admin",
            "/public/..;/admin",
            "/public/.;x=1/admin",
            "//admin",
            "/a//b",
            "/admin%00",
            "/a%2Fb",
            "/a%5Cb",
            "/a\\b",
            "/a/..",
            "/a/.",
            "/a%0ab",
            "/a%252fb",
            "/%ff",
            "/a%20b/../admin",
            "/ä//admin",
        ] {
            assert_eq!(decide(raw), Ok(Decided::Ambiguous), "{raw}");
        }
    }

    #[test]
    fn p2_an_encoded_hash_is_data() {
        assert_eq!(plain("/admin%23/public"), "/admin#/public");
    }

    #[test]
    fn p4_broken_percent_encoding_is_refused() {
        for raw in ["/%zz", "/%", "/%4", "/a%4x", "", "*", "a"] {
            assert_eq!(decide(raw), Err(Malformed::Target), "{raw}");
        }
    }
}
