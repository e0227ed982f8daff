//! A Socket.IO conversation, both ways: messages on lines that begin with `>` (up), `<` (down)
//! or `=` (a binary one, up) and `_` (a binary one, down). What goes on must be a packet that
//! says nothing that nobody may say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::socket::{
    Refused, Way,
    conversation::{Conversation, Terms, Verdict},
    notice::{Notice, Topic},
};
use portcullis_fuzz::{
    socketio::{self, check_down, check_kept, check_up},
    terms,
};

fuzz_target!(|text: &str| {
    let (namespaces, resumed, text) = match text.split_at_checked(1) {
        Some(("a", rest)) => (&["/", "/app"][..], false, rest),
        Some(("r", rest)) => (&[][..], true, rest),
        Some(("b", rest)) => (&["/app"][..], true, rest),
        _ => (&[][..], false, text),
    };
    let terms = terms(namespaces);
    let mut conversation = if resumed {
        Conversation::resumed()
    } else {
        Conversation::default()
    };
    let mut opened: Vec<(String, Option<String>)> = Vec::new();
    for line in lines(text) {
        let way = match line.as_bytes().first() {
            Some(b'>') => Way::Up,
            Some(b'<') => Way::Down,
            Some(b'=') if conversation.binary(Way::Up).is_ok() => continue,
            Some(b'_') if conversation.binary(Way::Down).is_ok() => continue,
            _ => return,
        };
        let message = &line[1..];
        if !message.starts_with('4') {
            return;
        }
        let mut out = Vec::new();
        let found = judge(&mut conversation, way, message, &terms, &mut out);
        let goes_on = match found {
            Ok(Verdict::Pass) => message,
            Ok(Verdict::Changed) => std::str::from_utf8(&out).expect("text stays text"),
            Ok(Verdict::Drop) => continue,
            Err(_) => break,
        };
        match way {
            Way::Up => {
                check_kept(message, goes_on, false);
                check_up(goes_on, &terms, &|name| {
                    let it = opened.iter().rev().find(|(it, _)| it == name);
                    it.and_then(|(_, sid)| sid.clone())
                });
                if let Some(name) = socketio::read(&goes_on[1..]).filter(|it| it.kind == 0) {
                    opened.push((name.namespace.to_owned(), None));
                }
            }
            Way::Down => opened.extend(check_down(goes_on, &terms)),
        }
    }
    let notice = Notice {
        event: "uiBuilderControl",
        topic: Topic::SessionInvalid,
        reason: Some("revoked"),
        login_url: "https://auth.example.com/login",
        auth: None,
    };
    let mut ours = conversation.take_replies();
    ours.extend(conversation.farewell_down(Some(&notice)));
    ours.extend(conversation.farewell_up());
    assert!(conversation.farewell_up().is_empty());
    for message in ours {
        let packet = socketio::read(&message[1..]).expect("a packet of ours");
        let json = packet.payload.map(socketio::parse);
        assert!(json.is_none_or(|it| it.is_some()), "{message:?}");
    }
});

/// Lines, each with its mark. A line break inside a message is white space of its JSON.
fn lines(text: &str) -> Vec<&str> {
    let (mut out, mut from) = (Vec::new(), 0);
    for (at, _) in text.match_indices('\n') {
        if text[at + 1..].starts_with(['>', '<', '=', '_']) {
            out.push(&text[from..at]);
            from = at + 1;
        }
    }
    out.push(text[from..].trim_end_matches('\n'));
    out
}

fn judge(
    conversation: &mut Conversation,
    way: Way,
    message: &str,
    terms: &Terms,
    out: &mut Vec<u8>,
) -> Result<Verdict, Refused> {
    let found = conversation.message(way, message, terms, out);
    // The planted bug: of a key that comes twice "the last one counts", so it is let through.
    if cfg!(feature = "planted") && found == Err(Refused::Grammar("a key twice")) {
        return Ok(Verdict::Pass);
    }
    found
}
