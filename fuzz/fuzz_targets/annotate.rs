//! What a visitor says to uibuilder, on lines that begin with `>`, where the tenant asks to be told
//! who it is from: whatever stood there, what goes on has one `_auth`, which is ours, in its first
//! argument, no token of ours in it, and all else as it was. On other events nothing is added.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::socket::{Way, conversation::{Conversation, Verdict}};
use portcullis_fuzz::{socketio::{check_annotated, check_kept, check_up}, terms};

fuzz_target!(|text: &str| {
    let mut terms = terms(&[]);
    terms.annotate = true;
    let mut conversation = Conversation::default();
    for (way, text) in [(Way::Up, "40"), (Way::Down, r#"40{"sid":"me"}"#)] {
        let begun = conversation.message(way, text, &terms, &mut Vec::new());
        begun.expect("an honest beginning");
    }
    for line in text.split("\n>") {
        let message = line.strip_prefix('>').unwrap_or(line);
        let mut out = Vec::new();
        let found = conversation.message(Way::Up, message, &terms, &mut out);
        let goes_on = match found {
            Ok(Verdict::Pass) => message,
            Ok(Verdict::Changed) => std::str::from_utf8(&out).expect("text stays text"),
            Ok(Verdict::Drop) => continue,
            Err(_) => return,
        };
        check_up(goes_on, &terms, &|_| Some("me".to_owned()));
        check_annotated(message, goes_on);
        check_kept(message, goes_on, true);
        // (What waits for attachments says nothing more in this target.)
        while conversation.binary(Way::Up).is_ok() {}
    }
});
