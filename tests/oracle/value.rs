//! JSON as our own reader finds it, in one spelling for equal values: keys sorted by UTF-16 unit,
//! the last of equal ones, numbers by their bits. `reader.mjs` spells alike what the official
//! parsers found.

use std::{collections::BTreeMap, fmt::Write as _, ops::Range};

use portcullis::socket::json::{Kind, NotJson, Reader};

/// The value that begins at byte `at` of `text` and ends with it.
pub(crate) fn spelled(text: &str, at: usize) -> Result<String, NotJson> {
    let mut reader = Reader::new(text, at);
    let found = value(text, &mut reader)?;
    if reader.is_done() {
        Ok(found)
    } else {
        Err(NotJson::Malformed)
    }
}

/// The member `key` of the object at byte `at` of `text`, as text, where it is a string.
pub(crate) fn string_member(text: &str, at: usize, key: &str) -> Option<String> {
    let mut found = None;
    let read = Reader::new(text, at).object(0, |member| {
        if units(&text[member.key.clone()]) == key.encode_utf16().collect::<Vec<u16>>() {
            found = (member.kind == Kind::String)
                .then(|| String::from_utf16(&units(&text[member.value])).ok())
                .flatten();
        }
    });
    read.ok().and(found)
}

fn value(text: &str, reader: &mut Reader<'_>) -> Result<String, NotJson> {
    match reader.peek() {
        Some(b'{') => {
            let mut members: BTreeMap<Vec<u16>, Range<usize>> = BTreeMap::new();
            reader.object(0, |it| {
                members.insert(units(&text[it.key]), it.value);
            })?;
            let parts: Result<Vec<String>, NotJson> = members
                .into_iter()
                .map(|(key, at)| {
                    let inner = value(text, &mut Reader::new(text, at.start))?;
                    Ok(format!("{}:{inner}", quoted(&key)))
                })
                .collect();
            Ok(format!("{{{}}}", parts?.join(",")))
        }
        Some(b'[') => list(text, reader),
        Some(b'"') => {
            let at = reader.string()?;
            Ok(quoted(&units(&text[at])))
        }
        _ => {
            let (at, _) = reader.value(0)?;
            Ok(match &text[at] {
                word @ ("true" | "false" | "null") => word.to_owned(),
                number => {
                    let number: f64 = number.parse().map_err(|_| NotJson::Malformed)?;
                    format!("#{:x}", number.to_bits())
                }
            })
        }
    }
}

fn list(text: &str, reader: &mut Reader<'_>) -> Result<String, NotJson> {
    reader.take(b'[')?;
    reader.space();
    let mut parts = Vec::new();
    if reader.peek() == Some(b']') {
        reader.take(b']')?;
        return Ok("[]".to_owned());
    }
    loop {
        parts.push(value(text, reader)?);
        reader.space();
        if reader.take(b',').is_err() {
            reader.take(b']')?;
            return Ok(format!("[{}]", parts.join(",")));
        }
        reader.space();
    }
}

/// What a string in quotes means, in UTF-16.
fn units(quoted: &str) -> Vec<u16> {
    let mut out = Vec::new();
    let mut chars = quoted[1..quoted.len() - 1].chars();
    while let Some(c) = chars.next() {
        let meant = match c {
            '\\' => match chars.next() {
                Some('u') => {
                    let code: String = chars.by_ref().take(4).collect();
                    out.push(u16::from_str_radix(&code, 16).unwrap());
                    continue;
                }
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                other => other.unwrap(),
            },
            c => c,
        };
        out.extend_from_slice(meant.encode_utf16(&mut [0; 2]));
    }
    out
}

/// As `JSON.stringify` writes it.
fn quoted(units: &[u16]) -> String {
    let mut out = String::from("\"");
    for c in char::decode_utf16(units.iter().copied()) {
        match c {
            Ok('"') => out.push_str("\\\""),
            Ok('\\') => out.push_str("\\\\"),
            Ok('\u{8}') => out.push_str("\\b"),
            Ok('\u{c}') => out.push_str("\\f"),
            Ok('\n') => out.push_str("\\n"),
            Ok('\r') => out.push_str("\\r"),
            Ok('\t') => out.push_str("\\t"),
            Ok(c) if u32::from(c) < 0x20 => write!(out, "\\u{:04x}", u32::from(c)).unwrap(),
            Ok(c) => out.push(c),
            Err(half) => write!(out, "\\u{:04x}", half.unpaired_surrogate()).unwrap(),
        }
    }
    out.push('"');
    out
}
