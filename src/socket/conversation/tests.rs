//! What a conversation lets through.

use super::*;
use crate::{
    authn,
    session::fixture,
    socket::{pace::tests::pace, seal::tests::seal_of},
};
use proptest::prelude::*;

pub(crate) fn terms_of(user: &str, login: u8) -> Terms {
    Terms {
        version: Version::Four,
        seal: seal_of(user, login),
        replica: "r1".to_owned(),
        namespaces: Vec::new(),
        max_message: 1 << 20,
        max_packets: 16,
        mode: SocketMode::Session,
        annotate: false,
        pace: None,
        owner: None,
        reception: None,
        grace: Duration::from_mins(1),
        control_event: "uiBuilderControl".to_owned(),
        login_url: "https://auth.example.net/login".to_owned(),
    }
}

fn judge(
    conversation: &mut Conversation,
    way: Way,
    text: &str,
) -> Result<(Verdict, String), Refused> {
    let mut out = Vec::new();
    let verdict = conversation.message(way, text, &terms_of("alice", 1), &mut out)?;
    Ok((verdict, String::from_utf8(out).unwrap()))
}

/// A conversation with `/app` open, whose socket there is `me`.
fn open() -> Conversation {
    let mut it = Conversation::default();
    judge(&mut it, Way::Up, r#"40/app,{"clientId":"c1"}"#).unwrap();
    judge(&mut it, Way::Down, r#"40/app,{"sid":"me"}"#).unwrap();
    it
}

#[test]
fn w8_nobody_says_who_they_are_in_connect() {
    for (sent, passed) in [
        (r#"40/uib,{"user":{"userId":"admin"}}"#, "40/uib,{}"),
        (
            r#"40/uib,{"clientId":"c1","user":{"userId":"admin"},"tabId":"t"}"#,
            r#"40/uib,{"clientId":"c1","tabId":"t"}"#,
        ),
        (r#"40{"a":1,"token":"x.y.z","user":1}"#, r#"40{"a":1}"#),
        (r#"40{"user":null , "a" : 1}"#, r#"40{"a" : 1}"#),
    ] {
        let found = judge(&mut Conversation::default(), Way::Up, sent).unwrap();
        assert_eq!(found, (Verdict::Changed, passed.to_owned()));
    }
    for sent in ["40", "40/app,", r#"40{"users":1,"a":{"user":1}}"#] {
        let found = judge(&mut Conversation::default(), Way::Up, sent).unwrap();
        assert_eq!(found.0, Verdict::Pass, "{sent}");
    }
}

#[test]
fn w21_a_disguised_or_repeated_key_is_refused() {
    for sent in [
        r#"40{"us\u0065r":{"userId":"admin"}}"#,
        r#"40{"user":1,"user":2}"#,
        r#"40{"token":1,"tok\u0065n":2}"#,
        r#"40{"pathName":{"replace":1}}"#,
        r#"40{"clientId":7}"#,
        r#"40{"a":1,}"#,
        r#"40{"a":1}x"#,
        "40{",
    ] {
        let found = judge(&mut Conversation::default(), Way::Up, sent);
        assert!(found.is_err(), "{sent} {found:?}");
    }
}

#[test]
fn w21_events_are_what_encoders_emit() {
    for bad in [
        "42/app,[1]",
        "42/app,[]",
        "42/app,[{}]",
        r#"42/app,["disconnect"]"#,
        r#"42/app,["a",]"#,
        r#"42/app,["a" 1]"#,
        r#"42/app,["a"]]"#,
        r#"42/app, 1["a"]"#,
        r#"42/app,["uiBuilder\u0043lient",{}]"#,
        r#"42/app,["uiBuilderClient",{"_cl\u0069ent":1}]"#,
        r#"42/app,["uiBuilderClient",{"_client":1,"_client":2}]"#,
        r#"44/app,{"message":"x"}"#,
        "40/app,",
        "49",
        "4",
    ] {
        assert!(judge(&mut open(), Way::Up, bad).is_err(), "{bad}");
    }
    for good in [
        r#"42/app,["a"]"#,
        r#"42/app,7["a",{"b":[1,2,{"c":null}]},"d"]"#,
        r#"42/app,["a",{"_client":1}]"#,
        "43/app,7[]",
    ] {
        let found = judge(&mut open(), Way::Up, good).unwrap();
        assert_eq!(found.0, Verdict::Pass, "{good}");
    }
}

#[test]
fn w23_client_and_foreign_socket_id_never_reach_a_flow() {
    for (sent, passed) in [
        (
            r#"42/app,["uiBuilderClient",{"topic":"t","_client":{"userId":"admin"},"payload":"hi"}]"#,
            r#"42/app,["uiBuilderClient",{"topic":"t","payload":"hi"}]"#,
        ),
        (
            r#"42/app,["uiBuilderControl",{"_socketId":"other","a":1}]"#,
            r#"42/app,["uiBuilderControl",{"a":1}]"#,
        ),
        (
            r#"42/app,["uiBuilderClient",{"_socketId":"me","_client":1},"more"]"#,
            r#"42/app,["uiBuilderClient",{"_socketId":"me"},"more"]"#,
        ),
        (
            r#"42/app,["uiBuilderClient",{"_socketId":{"a":1}}]"#,
            r#"42/app,["uiBuilderClient",{}]"#,
        ),
    ] {
        let found = judge(&mut open(), Way::Up, sent).unwrap();
        assert_eq!(found, (Verdict::Changed, passed.to_owned()));
    }
    let own = r#"42/app,["uiBuilderClient",{"_socketId":"me","x":{"_client":1}}]"#;
    assert_eq!(judge(&mut open(), Way::Up, own).unwrap().0, Verdict::Pass);
}

#[test]
fn w23_a_token_beside_a_placeholder_does_not_go_on() {
    let ours = "eyJ0eXAiOiJwb3J0Y3VsbGlzLXNlc3Npb24rand0In0.e30.x";
    let mut terms = terms_of("alice", 1);
    terms.annotate = true;
    let judge = |message: &str| {
        let mut out = Vec::new();
        let sent = format!(r#"42/app,["uiBuilderClient",{message}]"#);
        let found = open().message(Way::Up, &sent, &terms, &mut out);
        found.map(|_| String::from_utf8(out).unwrap())
    };
    for key in ["_auth", r"_a\u0075th"] {
        let sent = format!(r#"{{"_placeholder":0,"{key}":{{"jwt":"{ours}"}}}}"#);
        let found = judge(&sent);
        assert!(found.is_err(), "{sent} {found:?}");
    }
    let bytes = r#"{"_placeholder":true,"num":0}"#;
    let wrapped = format!(
        r#"42/app,["uiBuilderClient",{{"payload":{bytes},"_auth":{{"userValidated":false}}}}]"#
    );
    assert_eq!(judge(bytes).unwrap(), wrapped);
}

#[test]
fn w21_a_disguised_word_that_hands_in_a_token_is_refused() {
    for (word, passes) in [("ready", true), ("au", true), (r"a\u0075th", false)] {
        let sent = format!(r#"42/app,["uiBuilderControl",{{"uibuilderCtrl":"{word}"}}]"#);
        let found = judge(&mut open(), Way::Up, &sent);
        assert_eq!(
            found.is_ok_and(|it| it.0 == Verdict::Pass),
            passes,
            "{word}"
        );
    }
}

#[test]
fn a_token_of_ours_in_a_message_never_reaches_a_flow() {
    // {"typ":"portcullis-session+jwt"} and {"typ":"JWT"}
    let ours = "eyJ0eXAiOiJwb3J0Y3VsbGlzLXNlc3Npb24rand0In0.e30.x";
    let other = "eyJ0eXAiOiJKV1QifQ.e30.x";
    let event = |auth: &str| format!(r#"42/app,["uiBuilderClient",{{"a":1,"_auth":{auth}}}]"#);
    let sent = event(&format!(r#"{{"id":"alice","jwt":"{ours}","x":1}}"#));
    let found = judge(&mut open(), Way::Up, &sent).unwrap();
    assert_eq!(found, (Verdict::Changed, event(r#"{"id":"alice","x":1}"#)));
    for auth in [
        format!(r#"{{"jwt":"{other}"}}"#),
        "{}".to_owned(),
        "null".to_owned(),
        r#"{"jwt":7}"#.to_owned(),
    ] {
        let found = judge(&mut open(), Way::Up, &event(&auth)).unwrap();
        assert_eq!(found.0, Verdict::Pass, "{auth}");
    }
    let twice = event(&format!(r#"{{"jwt":"{other}","jwt":"{ours}"}}"#));
    assert!(judge(&mut open(), Way::Up, &twice).is_err());
}

#[test]
fn w9_a_pid_is_worth_something_to_its_owner_alone() {
    let mut it = Conversation::default();
    judge(&mut it, Way::Up, "40/app,").unwrap();
    let (verdict, given) =
        judge(&mut it, Way::Down, r#"40/app,{"sid":"me","pid":"kV79_"}"#).unwrap();
    assert_eq!(verdict, Verdict::Changed);
    let sealed = given
        .strip_prefix(r#"40/app,{"sid":"me","pid":""#)
        .and_then(|it| it.strip_suffix(r#""}"#))
        .unwrap();
    let back = format!(r#"40/app,{{"pid":"{sealed}","offset":"Q8","a":1}}"#);
    let found = judge(&mut Conversation::default(), Way::Up, &back).unwrap();
    assert_eq!(found.1, r#"40/app,{"pid":"kV79_","offset":"Q8","a":1}"#);
    // Another login of the same person, another person, a forgery: gone, and CONNECT goes on.
    for (user, login) in [("alice", 2), ("bob", 1)] {
        let mut out = Vec::new();
        let terms = terms_of(user, login);
        Conversation::default()
            .message(Way::Up, &back, &terms, &mut out)
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"40/app,{"a":1}"#);
    }
    let found = judge(
        &mut Conversation::default(),
        Way::Up,
        r#"40{"pid":"kV79_","offset":"Q"}"#,
    );
    assert_eq!(found.unwrap().1, "40{}");
}

#[test]
fn w10_a_namespace_not_allowed_is_answered_and_not_forwarded() {
    let mut terms = terms_of("alice", 1);
    terms.namespaces = vec![
        vec!["/app".to_owned(), "/".to_owned()],
        vec!["/app".to_owned()],
    ];
    let mut it = Conversation::default();
    let mut out = Vec::new();
    for refused in ["40/other,{\"user\":1}", "40"] {
        let verdict = it.message(Way::Up, refused, &terms, &mut out).unwrap();
        assert_eq!((verdict, out.len()), (Verdict::Drop, 0));
    }
    let replies = it.take_replies();
    assert!(
        replies[0].starts_with(r#"44/other,{"message":"#),
        "{replies:?}"
    );
    assert!(replies[1].starts_with(r#"44{"message":"#));
    assert!(
        it.message(Way::Up, "42/other,[\"a\"]", &terms, &mut out)
            .is_err()
    );
    assert_eq!(
        it.message(Way::Up, "40/app,", &terms, &mut out),
        Ok(Verdict::Pass)
    );
}

#[test]
fn w10_a_server_opens_no_namespace_that_nobody_asked_for() {
    let found = judge(&mut Conversation::default(), Way::Down, r#"40{"sid":"x"}"#);
    assert!(found.is_err());
    // Version 3's server opens the first by itself; where it is not admitted, nothing of it passes.
    let three = terms_of("alice", 1).of(Version::Three);
    let narrow = Terms {
        namespaces: vec![vec!["/app".to_owned()]],
        ..three.clone()
    };
    for (terms, opens) in [(&three, true), (&narrow, false)] {
        let mut it = Conversation::default();
        let mut judge = |way, text| it.message(way, text, terms, &mut Vec::new());
        let whole = if opens { Verdict::Pass } else { Verdict::Drop };
        assert_eq!(judge(Way::Down, "40"), Ok(whole));
        assert_eq!(judge(Way::Down, r#"42["a"]"#), Ok(whole));
        assert_eq!(judge(Way::Up, r#"42["a"]"#).is_ok(), opens);
        assert!(judge(Way::Down, "40/other,").is_err());
        assert!(judge(Way::Down, "40/app?x,").is_err());
    }
}

#[test]
fn w10_version_3s_query_of_a_namespace_goes_no_further() {
    let terms = Terms {
        namespaces: vec![vec!["/app".to_owned()]],
        ..terms_of("alice", 1).of(Version::Three)
    };
    let mut it = Conversation::default();
    let mut up = |text| {
        let mut out = Vec::new();
        let verdict = it.message(Way::Up, text, &terms, &mut out);
        verdict.map(|it| (it, String::from_utf8(out).unwrap()))
    };
    let asked = up("40/app?token=secret&user=admin,");
    assert_eq!(asked, Ok((Verdict::Changed, "40/app,".to_owned())));
    let refused = up("40/admin?x=/app,");
    assert_eq!(refused, Ok((Verdict::Drop, String::new())));
    assert_eq!(it.take_replies().len(), 1);
}

#[test]
fn an_error_of_version_3_leaves_an_open_namespace_open() {
    let terms = terms_of("alice", 1).of(Version::Three);
    let mut it = Conversation::default();
    let mut judge = |way, text| it.message(way, text, &terms, &mut Vec::new());
    for (way, text) in [
        (Way::Down, "40"),
        (Way::Down, r#"44"middleware says no to one event""#),
        (Way::Up, r#"42["a"]"#),
        (Way::Up, "40/app,"),
        (Way::Down, r#"44/app,{"code":1}"#),
    ] {
        assert_eq!(judge(way, text), Ok(Verdict::Pass), "{text}");
    }
    assert_eq!(judge(Way::Up, r#"42/app,["a"]"#), Ok(Verdict::Drop));
}

#[test]
fn w10_an_event_without_connect_is_refused_and_one_that_crossed_is_dropped() {
    assert!(judge(&mut Conversation::default(), Way::Up, "42/other,[\"a\"]").is_err());
    let mut it = open();
    judge(&mut it, Way::Down, "41/app,").unwrap();
    let found = judge(&mut it, Way::Up, "42/app,[\"a\"]").unwrap();
    assert_eq!(found.0, Verdict::Drop);
    // And it can be opened again.
    assert!(judge(&mut it, Way::Up, "40/app,").is_ok());
}

#[test]
fn w13_attachments_are_counted() {
    let mut it = open();
    let announced = r#"452-/app,["uiBuilderClient",{"_placeholder":true,"num":0}]"#;
    assert!(it.binary(Way::Up).is_err());
    assert_eq!(judge(&mut it, Way::Up, announced).unwrap().0, Verdict::Pass);
    assert!(it.binary(Way::Up).is_ok());
    assert!(judge(&mut it, Way::Up, "42/app,[\"a\"]").is_err());
    assert!(it.binary(Way::Up).is_ok());
    assert!(it.binary(Way::Up).is_err());
    for many in ["45257-/app,[\"a\"]", "451000000000-/app,[\"a\"]"] {
        let found = judge(&mut open(), Way::Up, many);
        assert_eq!(found, Err(Refused::TooManyAttachments));
    }
    assert_eq!(
        judge(&mut open(), Way::Up, "45-/app,[\"a\"]"),
        Err(Refused::Grammar("a number of attachments"))
    );
}

#[test]
fn w13_text_is_refused_while_attachments_are_due_dropped_ones_too() {
    let announced =
        |event: &str| format!(r#"452-/app,["{event}",{{"_placeholder":true,"num":0}}]"#);
    let next = |it: &mut Conversation, way| {
        let refused = judge(it, way, r#"42/app,["a"]"#).is_err();
        (refused, it.binary(way).unwrap())
    };
    // What passes, each way.
    for way in [Way::Up, Way::Down] {
        let mut it = open();
        judge(&mut it, way, &announced("a")).unwrap();
        assert_eq!(next(&mut it, way), (true, Verdict::Pass));
        assert_eq!(next(&mut it, way), (true, Verdict::Pass));
        assert!(judge(&mut it, way, r#"42/app,["a"]"#).is_ok());
    }
    // What crossed with the server's farewell goes nowhere, with all that belongs to it.
    let mut it = open();
    judge(&mut it, Way::Down, "41/app,").unwrap();
    let found = judge(&mut it, Way::Up, &announced("a")).unwrap();
    assert_eq!(found.0, Verdict::Drop);
    assert_eq!(next(&mut it, Way::Up), (true, Verdict::Drop));
    assert_eq!(next(&mut it, Way::Up), (true, Verdict::Drop));
    assert!(it.binary(Way::Up).is_err());
    // Nor does anything of a namespace of version 3 that nobody is let in to.
    let terms = Terms {
        namespaces: vec![vec!["/app".to_owned()]],
        ..terms_of("alice", 1).of(Version::Three)
    };
    let mut it = Conversation::default();
    let mut down = |text| it.message(Way::Down, text, &terms, &mut Vec::new());
    assert_eq!(down("40"), Ok(Verdict::Drop));
    let announced = r#"451-["a",{"_placeholder":true,"num":0}]"#;
    assert_eq!(down(announced), Ok(Verdict::Drop));
    assert!(down(r#"42["a"]"#).is_err());
    assert_eq!(it.binary(Way::Down), Ok(Verdict::Drop));
}

#[test]
fn w15_what_is_too_much_is_dropped_and_told_once_a_second_and_then_it_is_the_end() {
    let terms = Terms {
        pace: pace(1, 4),
        ..terms_of("alice", 1)
    };
    let mut it = Conversation::default();
    it.at(fixture::START);
    let told = |it: &mut Conversation| it.take_replies().len();
    let up = |it: &mut Conversation, text| it.message(Way::Up, text, &terms, &mut Vec::new());
    up(&mut it, "40/app,").unwrap();
    it.message(Way::Down, r#"40/app,{"sid":"me"}"#, &terms, &mut Vec::new())
        .unwrap();
    let event = r#"42/app,["a"]"#;
    for _ in 0..3 {
        assert_eq!(up(&mut it, event), Ok(Verdict::Pass));
    }
    // The bucket is empty: an event and two attachments are three in vain.
    let three = r#"452-/app,["a",{"_placeholder":true,"num":0}]"#;
    assert_eq!(up(&mut it, three), Ok(Verdict::Drop));
    assert_eq!(it.binary(Way::Up), Ok(Verdict::Drop));
    assert_eq!(it.binary(Way::Up), Ok(Verdict::Drop));
    assert_eq!((told(&mut it), it.take_dropped()), (1, 1));
    assert_eq!(up(&mut it, event), Ok(Verdict::Drop));
    assert_eq!((told(&mut it), it.take_dropped()), (0, 1));
    assert_eq!(up(&mut it, event), Err(Refused::TooFast));
    assert!(it.small_talk(&terms).is_err());
    // To leave is never too much.
    assert_eq!(up(&mut it, "41/app,"), Ok(Verdict::Pass));
    it.at(fixture::START.plus(Duration::from_secs(1)));
    assert_eq!(it.small_talk(&terms), Ok(()));
    assert_eq!(up(&mut it, "40/app,"), Ok(Verdict::Pass));
}

#[test]
fn w7_the_farewell_names_every_namespace_once() {
    let mut it = open();
    judge(&mut it, Way::Up, "40").unwrap();
    let notice = Notice {
        event: "uiBuilderControl",
        topic: Topic::Logoff,
        reason: Some("revoked"),
        login_url: "https://auth.example.com/login",
        auth: None,
    };
    assert_eq!(
        it.farewell_down(Some(&notice)),
        [
            r#"42/app,["uiBuilderControl",{"uibuilderCtrl":"logoff","from":"server","reason":"revoked","login_url":"https://auth.example.com/login","_auth":{"userValidated":false}}]"#,
            "41/app,",
            r#"42["uiBuilderControl",{"uibuilderCtrl":"logoff","from":"server","reason":"revoked","login_url":"https://auth.example.com/login","_auth":{"userValidated":false}}]"#,
            "41",
        ]
    );
    assert_eq!(it.farewell_up(), ["41/app,", "41"]);
    assert!(it.farewell_up().is_empty());
}

fn annotating() -> (Terms, String) {
    let alice = fixture::user("alice");
    let cell = fixture::cell(&alice, 2, "r1.example.net", "t1");
    let mut terms = terms_of("alice", 1);
    terms.annotate = true;
    terms.owner = Some(authn::fixture::identity(
        &cell,
        "r1.example.net",
        "t1",
        authn::Shown::Cookie,
    ));
    let ms = fixture::START.0 + 12 * 3_600_000;
    let auth = format!(
        r#""_auth":{{"id":"alice","userValidated":true,"sessionExpiry":{ms},"info":{{"name":"ALICE","email":"alice@example.net","groups":["ops"],"amr":["pwd"]}}}}"#
    );
    (terms, auth)
}

fn annotated(text: &str) -> Result<(Verdict, String), Refused> {
    let mut out = Vec::new();
    let verdict = open().message(Way::Up, text, &annotating().0, &mut out)?;
    Ok((verdict, String::from_utf8(out).unwrap()))
}

#[test]
fn annotate_tells_a_flow_who_sent_a_message_and_nobody_else_does() {
    let auth = annotating().1;
    for (sent, passed) in [
        (
            r#"{"topic":"t" , "payload":1}"#,
            r#"{"topic":"t","payload":1,@}"#,
        ),
        ("{}", "{@}"),
        (r#"{"_auth":{"id":"admin"},"a":1}"#, r#"{"a":1,@}"#),
        (
            r#"{"_\u0061uth":{"id":"admin"},"a":1,"_auth":2}"#,
            r#"{"a":1,@}"#,
        ),
        (
            r#"{"_client":1,"_socketId":"x","a":"\u00e9"}"#,
            r#"{"a":"\u00e9",@}"#,
        ),
        (r#"{"x":{"_auth":1}}"#, r#"{"x":{"_auth":1},@}"#),
        (r#""hi""#, r#"{"payload":"hi",@}"#),
        ("7", r#"{"payload":7,@}"#),
        ("null", r#"{"payload":null,@}"#),
        (
            r#"{"_placeholder":true,"num":0}"#,
            r#"{"payload":{"_placeholder":true,"num":0},@}"#,
        ),
    ] {
        let event = |it: &str| format!(r#"42/app,7["uiBuilderClient",{it},"more"]"#);
        let found = annotated(&event(sent)).unwrap();
        let passed = event(&passed.replace('@', &auth));
        assert_eq!(found, (Verdict::Changed, passed), "{sent}");
    }
    let bare = annotated(r#"42/app,["uiBuilderControl"]"#).unwrap();
    assert_eq!(bare.1, format!(r#"42/app,["uiBuilderControl",{{{auth}}}]"#));
    assert!(annotated(r#"42/app,["uiBuilderClient",[1]]"#).is_err());
    // The tenant's own events are its own affair.
    let own = annotated(r#"42/app,["other",{"_auth":1}]"#).unwrap();
    assert_eq!(own.0, Verdict::Pass);
}

proptest! {
    /// Another reader of JSON finds our `_auth` in the message, and otherwise what was sent.
    #[test]
    fn annotate_changes_nothing_but_auth(
        members in prop::collection::vec(
            (
                prop::sample::select(vec!["a", "payload", "_auth", "_\\u0061uth", "é", "\\u005fauth"]),
                prop::sample::select(vec![
                    "1", "-0.5e3", "null", "true", "\"x\"", "\"\\ud83d\\ude00\"", "{}", "[]",
                    "{\"_auth\":{\"id\":\"admin\"}}", "[{\"b\" : [1 ,2]}]",
                ]),
            ),
            0..6,
        ),
        gap in prop::sample::select(vec!["", " ", "\t"]),
    ) {
        let inner: Vec<_> = members.iter().map(|(k, v)| format!("{gap}\"{k}\"{gap}:{gap}{v}{gap}")).collect();
        let message = format!("{{{}}}", inner.join(","));
        let sent = format!("42/app,[\"uiBuilderClient\",{message}]");
        let (verdict, changed) = annotated(&sent).unwrap();
        prop_assert_eq!(verdict, Verdict::Changed);
        let read: Vec<serde_json::Value> = serde_json::from_str(&changed["42/app,".len()..]).unwrap();
        let mut found = read[1].clone();
        let auth = found.as_object_mut().unwrap().remove("_auth").unwrap();
        prop_assert_eq!(&auth["id"], "alice");
        let mut expected: serde_json::Value = serde_json::from_str(&message).unwrap();
        expected.as_object_mut().unwrap().remove("_auth");
        prop_assert_eq!(found, expected);
        // And no reader that takes the first of two finds another.
        prop_assert_eq!(changed.matches("\"alice\"").count(), 1);
        let is_last = changed.ends_with("]}}}]");
        prop_assert!(is_last);
    }
}

proptest! {
    /// Whatever passes is JSON that another reader reads alike, and has no key of ours in it.
    #[test]
    fn a_mutated_packet_never_carries_an_identity(
        at in 0..60usize,
        with in prop::sample::select(vec!["", "\"", "\\u0065", "{", "}", ",", "user", " ", "\\", ":", "é", "0"]),
        seed in prop::sample::select(vec![
            r#"40/app,{"clientId":"c","user":{"userId":"admin"},"token":"t"}"#,
            r#"40{"user":"a","x":["user",{"token":1}],"pid":"p","offset":"o"}"#,
            r#"40{"token":{"user":1}}"#,
        ]),
    ) {
        let mut text = seed.to_owned();
        if text.is_char_boundary(at) && at <= text.len() {
            text.insert_str(at, with);
        }
        if let Ok((verdict, changed)) = judge(&mut Conversation::default(), Way::Up, &text) {
            let sent = if verdict == Verdict::Changed { changed } else { text };
            if let Some(at) = sent.find('{') {
                let auth: serde_json::Value = serde_json::from_str(&sent[at..]).unwrap();
                for key in ["user", "token", "pid", "offset"] {
                    prop_assert!(auth.get(key).is_none() || (key == "offset" && !sent.contains("\"pid\"")), "{}", sent);
                }
            }
        }
    }

    #[test]
    fn no_text_makes_it_fall_over(text in r#"4[0-6][0-9\-/ap,]{0,8}[\[{"uiserBldCnt:,}\]\\_]{0,24}"#) {
        for way in [Way::Up, Way::Down] {
            let _ = judge(&mut open(), way, &text);
            let _ = judge(&mut Conversation::resumed(), way, &text);
        }
    }
}

#[test]
fn a_namespace_that_is_not_confirmed_yet_may_be_left_and_nothing_else() {
    let asked = || {
        let mut it = Conversation::default();
        judge(&mut it, Way::Up, "40/app,").unwrap();
        it
    };
    for text in [r#"42/app,["a"]"#, "43/app,1[]"] {
        assert!(judge(&mut asked(), Way::Up, text).is_err(), "{text}");
    }
    let left = judge(&mut asked(), Way::Up, "41/app,").unwrap();
    assert_eq!(left.0, Verdict::Pass);
}

#[test]
fn w21_no_reserved_event_passes_however_it_is_written() {
    for word in socketio::RESERVED_EVENTS {
        for at in 0..=word.len() {
            let (before, after) = word.split_at(at);
            let name = match after.chars().next() {
                Some(c) => format!("{before}\\u{:04x}{}", u32::from(c), &after[1..]),
                None => word.to_owned(),
            };
            let sent = format!(r#"42/app,["{name}",1]"#);
            assert!(judge(&mut open(), Way::Up, &sent).is_err(), "{sent}");
        }
        let longer = format!(r#"42/app,["{word}s"]"#);
        assert!(judge(&mut open(), Way::Up, &longer).is_ok());
    }
}

#[test]
fn a_socket_id_that_is_no_plain_text_is_nobodys() {
    for sid in [r#""m\u0065""#, "12"] {
        let mut it = Conversation::default();
        judge(&mut it, Way::Up, "40/app,").unwrap();
        judge(&mut it, Way::Down, &format!(r#"40/app,{{"sid":{sid}}}"#)).unwrap();
        let sent = format!(r#"42/app,["uiBuilderClient",{{"_socketId":{sid}}}]"#);
        let passed = r#"42/app,["uiBuilderClient",{}]"#.to_owned();
        let found = judge(&mut it, Way::Up, &sent).unwrap();
        assert_eq!(found, (Verdict::Changed, passed));
    }
}

#[test]
fn in_version_3_nobody_asks_for_the_first_namespace_and_no_server_sends_a_query() {
    let terms = terms_of("alice", 1).of(Version::Three);
    let mut it = Conversation::default();
    let mut judge = |way, text: &str| it.message(way, text, &terms, &mut Vec::new());
    assert!(judge(Way::Up, "40").is_err());
    assert_eq!(judge(Way::Up, "40/app,"), Ok(Verdict::Pass));
    assert!(judge(Way::Down, "40/app?x=1,").is_err());
    assert_eq!(judge(Way::Down, "40/app,"), Ok(Verdict::Pass));
}

#[test]
fn w23_the_event_that_the_file_names_for_control_messages_is_cleaned_too() {
    let mut terms = terms_of("alice", 1);
    terms.control_event = "mine".to_owned();
    for (event, cleaned) in [("mine", true), ("uiBuilderControl", true), ("other", false)] {
        let sent = format!(r#"42/app,["{event}",{{"_client":1}}]"#);
        let found = open().message(Way::Up, &sent, &terms, &mut Vec::new());
        let expected = if cleaned {
            Verdict::Changed
        } else {
            Verdict::Pass
        };
        assert_eq!(found, Ok(expected), "{event}");
    }
}
