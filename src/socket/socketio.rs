//! The head of a Socket.IO packet (protocol 5, and 4 over Engine.IO 3), in the one form that the
//! official encoder writes: `<type>[<attachments>-][<namespace>,][<ack id>][<JSON>]`.

use crate::socket::{Refused, engineio::Version};

/// Most attachments of one packet.
const MOST_ATTACHMENTS: u32 = 256;
/// Longest namespace, in bytes.
const LONGEST_NAMESPACE: usize = 256;

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Opens a namespace, or says that it is open.
    Connect,
    /// Leaves a namespace.
    Disconnect,
    /// An event.
    Event,
    /// An acknowledgement.
    Ack,
    /// A namespace refused.
    ConnectError,
}

/// A packet's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is for; binary events and acks are events and acks with attachments.
    pub kind: Kind,
    /// How many binary messages follow.
    pub attachments: u32,
    /// The namespace, `/` when none is written.
    pub namespace: &'a str,
    /// Whether a query stands behind the namespace: in version 3, on CONNECT, and nowhere else.
    pub has_query: bool,
    /// Whether it has an ack id.
    pub has_ack: bool,
    /// Where the JSON begins, if there is any.
    pub payload: Option<usize>,
}

/// Reads the head of the packet that begins at byte `at` of `text`.
pub fn read(version: Version, text: &str, at: usize) -> Result<Packet<'_>, Refused> {
    let bad = Refused::Grammar("a packet's head");
    let bytes = text.as_bytes();
    let byte = |at: usize| bytes.get(at).copied();
    let (kind, binary) = match byte(at).ok_or(bad)? {
        b'0' => (Kind::Connect, false),
        b'1' => (Kind::Disconnect, false),
        b'2' => (Kind::Event, false),
        b'3' => (Kind::Ack, false),
        b'4' => (Kind::ConnectError, false),
        b'5' => (Kind::Event, true),
        b'6' => (Kind::Ack, true),
        _ => return Err(bad),
    };
    let mut at = at + 1;
    let mut attachments = 0;
    if binary {
        let end = digits(bytes, at);
        attachments = number(text, at..end).ok_or(Refused::Grammar("a number of attachments"))?;
        if byte(end) != Some(b'-') {
            return Err(bad);
        }
        if attachments > MOST_ATTACHMENTS {
            return Err(Refused::TooManyAttachments);
        }
        at = end + 1;
    }
    let (mut namespace, mut has_query) = ("/", false);
    if byte(at) == Some(b'/') {
        let rest = bytes.get(at..).unwrap_or_default();
        let end = at
            + memchr::memchr(
                b',',
                rest.get(..rest.len().min(LONGEST_NAMESPACE + 1))
                    .unwrap_or(rest),
            )
            .ok_or(Refused::Grammar("a namespace without its comma"))?;
        namespace = text.get(at..end).ok_or(bad)?;
        if version == Version::Three
            && kind == Kind::Connect
            && let Some((name, _)) = namespace.split_once('?')
        {
            (namespace, has_query) = (name, true);
        }
        if !is_namespace(namespace) {
            return Err(Refused::Grammar("a namespace"));
        }
        at = end + 1;
    }
    let end = digits(bytes, at);
    let has_ack = end > at;
    if has_ack && (end - at > 15 || (byte(at) == Some(b'0') && end - at > 1)) {
        return Err(Refused::Grammar("an ack id"));
    }
    let payload = (end < bytes.len()).then_some(end);
    let first = byte(end);
    let fits = match kind {
        Kind::Connect => !has_ack && matches!(first, None | Some(b'{')),
        Kind::Disconnect => !has_ack && first.is_none(),
        Kind::Event => first == Some(b'['),
        Kind::Ack => has_ack && first == Some(b'['),
        Kind::ConnectError => match version {
            Version::Three => !has_ack && matches!(first, Some(b'{' | b'"' | b'[')),
            Version::Four => !has_ack && matches!(first, Some(b'{' | b'"')),
        },
    };
    if !fits {
        return Err(bad);
    }
    Ok(Packet {
        kind,
        attachments,
        namespace,
        has_query,
        has_ack,
        payload,
    })
}

/// `/[A-Za-z0-9_~.-]+(/...)*`, no segment of which is `.` or `..`.
fn is_namespace(text: &str) -> bool {
    text.strip_prefix('/').is_some_and(|rest| {
        rest.split('/').all(|it| {
            !matches!(it, "" | "." | "..")
                && it
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_~.-".contains(&b))
        })
    })
}

fn digits(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|it| it.is_ascii_digit()).count()
}

fn number(text: &str, at: std::ops::Range<usize>) -> Option<u32> {
    let digits = text.get(at)?;
    if digits.is_empty() || digits.starts_with('0') {
        return None;
    }
    // More digits than fit are more than anything that is let through.
    Some(digits.parse().unwrap_or(u32::MAX))
}

/// Event names that Socket.IO keeps for itself; its decoder refuses them.
pub const RESERVED_EVENTS: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, at: usize) -> Result<Packet<'_>, Refused> {
        super::read(Version::Four, text, at)
    }

    #[test]
    fn version_3_has_a_query_on_connect_and_nowhere_else() {
        let three = |text| super::read(Version::Three, text, 0);
        let packet = three("0/app?token=abc&x=,").unwrap();
        assert_eq!((packet.namespace, packet.has_query), ("/app", true));
        assert!(!three("0/app,").unwrap().has_query);
        assert!(three(r#"4/app,["any",1]"#).is_ok());
        for bad in [
            "0/?x,",
            "0?x,",
            "0/a?x",
            r#"2/a?x,["a"]"#,
            "1/a?x,",
            "0/../a?x,",
        ] {
            assert!(three(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_of_version_3_is_a_text_an_object_or_a_list_without_an_ack_id() {
        for (text, passes) in [
            ("4{}", true),
            ("4\"no\"", true),
            ("4[]", true),
            ("47{}", false),
            ("4", false),
            ("4no", false),
        ] {
            let found = super::read(Version::Three, text, 0);
            assert_eq!(found.is_ok(), passes, "{text}");
        }
    }

    #[test]
    fn every_kind_of_packet_is_told_apart() {
        for (text, kind, attachments, ack) in [
            ("0", Kind::Connect, 0, false),
            ("1", Kind::Disconnect, 0, false),
            ("2[]", Kind::Event, 0, false),
            ("27[]", Kind::Event, 0, true),
            ("37[]", Kind::Ack, 0, true),
            ("4{}", Kind::ConnectError, 0, false),
            ("51-[]", Kind::Event, 1, false),
            ("5256-[]", Kind::Event, 256, false),
            ("62-7[]", Kind::Ack, 2, true),
        ] {
            let packet = read(text, 0).unwrap();
            let found = (packet.kind, packet.attachments, packet.has_ack);
            assert_eq!(found, (kind, attachments, ack), "{text}");
        }
        assert_eq!(read("5257-[]", 0), Err(Refused::TooManyAttachments));
        for bad in [
            "2", "27", "2{}", "3[]", "37", "37{}", "07", "17", "47{}", "1[]", "4[]",
        ] {
            assert!(read(bad, 0).is_err(), "{bad}");
        }
        for (text, passes) in [("2123456789012345[]", true), ("21234567890123456[]", false)] {
            assert_eq!(read(text, 0).is_ok(), passes, "{text}");
        }
        let long = |size| format!("0/{},", "n".repeat(size));
        assert!(read(&long(LONGEST_NAMESPACE - 1), 0).is_ok());
        assert!(read(&long(LONGEST_NAMESPACE), 0).is_err());
    }

    #[test]
    fn it_reads_what_encoders_write() {
        let packet = read(r#"0/app,{"clientId":"c1"}"#, 0).unwrap();
        assert_eq!((packet.kind, packet.namespace), (Kind::Connect, "/app"));
        assert_eq!(packet.payload, Some(6));
        let packet = read(
            r#"51-/app,12["uiBuilderClient",{"_placeholder":true,"num":0}]"#,
            0,
        )
        .unwrap();
        assert_eq!((packet.kind, packet.attachments), (Kind::Event, 1));
        assert!(packet.has_ack);
        for good in [
            "0",
            "1",
            "1/app,",
            r#"2["a"]"#,
            r#"20["a"]"#,
            "30[]",
            r#"4{"message":"x"}"#,
            "0/a/b.c~d-e_f,",
        ] {
            assert!(read(good, 0).is_ok(), "{good}");
        }
    }

    #[test]
    fn w21_what_no_encoder_writes_is_refused() {
        for bad in [
            "",
            "7",
            "2",
            "2/app, 1[",
            "50x1-[]",
            "50-[\"a\"]",
            "501-[\"a\"]",
            "5-[\"a\"]",
            "51[\"a\"]",
            "51-",
            "0/app,7{",
            "07{}",
            "0[]",
            "0\"x\"",
            "1{}",
            "11",
            "3[]",
            "2{}",
            "2 [\"a\"]",
            "2[",
            "0/app",
            "0/,{}",
            "0//x/admin,",
            "0/a/../admin,",
            "0/a/./b,",
            "0/admin?x,",
            "0/a/,",
            "0/a b,",
            "0/é,",
            "200[\"a\"]",
            "21e308[\"a\"]",
            "2-1[\"a\"]",
            "21234567890123456[\"a\"]",
            "4",
            "4[]",
            "51000000000-[\"a\"]",
            "5257-[\"a\"]",
        ] {
            // (`2[` has a good head; its JSON is refused later.)
            assert!(read(bad, 0).is_err() || bad == "2[", "{bad}");
        }
        let long = format!("0/{},", "a".repeat(300));
        assert!(read(&long, 0).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fall_over(text in r#"[0-7/,.\-\[{"a-cé ?]{0,24}"#) {
            for version in [Version::Three, Version::Four] {
                if let Ok(packet) = super::read(version, &text, 0) {
                    prop_assert!(packet.payload.is_none_or(|it| text.is_char_boundary(it)));
                    prop_assert!(!packet.namespace.contains('?'));
                }
            }
        }
    }
}
