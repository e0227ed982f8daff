//! One connection told truly, and lies about it: what the other reading must notice.

use serde_json::{Value, json};

/// What is changed, in which step and place, to what.
pub(crate) type Lie = (&'static str, &'static str, Value);

const EVENT: &str = r#"42/app,7["uiBuilderClient",{"payload":1}]"#;
const DATA: &str = r#"["uiBuilderClient",{"payload":#3ff0000000000000}]"#;
const AUTH: &str = r#"{"jwt":"OURS"}"#;

pub(crate) fn all() -> Vec<Lie> {
    let said = |inner: &str| json!(format!(r#"42/app,7["uiBuilderClient",{{{inner}}}]"#));
    vec![
        ("another type", "/3/read/type", json!(3)),
        ("another namespace", "/3/read/nsp", json!("/")),
        ("another ack id", "/3/read/id", json!(70)),
        ("no ack id", "/3/read/id", Value::Null),
        ("an attachment too many", "/3/read/attachments", json!(1)),
        (
            "other data",
            "/3/read/data",
            json!(DATA.replace("3f", "4f")),
        ),
        ("what goes on is no packet", "/3/o", json!("42/app,7[")),
        (
            "what goes on has no ack id",
            "/3/o",
            json!(EVENT.replace("app,7", "app,")),
        ),
        (
            "what goes on leads elsewhere",
            "/3/o",
            json!(EVENT.replace("/app", "/b")),
        ),
        (
            "_client goes up",
            "/3/o",
            said(r#""payload":1,"_client":1"#),
        ),
        (
            "another's _socketId goes up",
            "/3/o",
            said(r#""payload":1,"_socketId":"x""#),
        ),
        (
            "more goes up than came",
            "/3/o",
            said(r#""payload":1,"a":1"#),
        ),
        ("less goes up than came", "/3/o", said("")),
        (
            "_client stays",
            "/4/o",
            json!("42/app,[\"uiBuilderClient\",{\"_client\":{}}]"),
        ),
        (
            "a token of ours stays",
            "/5/o",
            json!(format!("42/app,[\"a\",{{\"_auth\":{AUTH}}}]")),
        ),
        (
            "user stays in CONNECT",
            "/6/o",
            json!(r#"40/b,{"user":1,"a":1}"#),
        ),
        (
            "an open pid goes down",
            "/7/o",
            json!(r#"40/b,{"sid":"b","pid":"p1"}"#),
        ),
        (
            "a namespace that nobody opened",
            "/8/o",
            json!("42/c,[\"a\"]"),
        ),
        (
            "an unsealed sid goes down",
            "/0/o",
            json!(r#"0{"sid":"x"}"#),
        ),
        ("a body of fewer packets", "/9/packets", json!(["3"])),
        (
            "an attachment that is another",
            "/9/packets",
            json!(["3", "b00"]),
        ),
        ("one of ours is none", "/10/s", json!("42/app,")),
    ]
}

/// Every step is as the gateway would tell it.
pub(crate) fn truth() -> Value {
    json!({
        "seed": 0, "allow": [], "annotate": null, "resumed": false,
        "steps": [
            { "t": "opened", "s": r#"0{"sid":"x"}"#, "o": r#"0{"sid":"x.r.m"}"#, "sid": "x.r.m" },
            told_of(0, "40/app,", "40/app,", 0, "/app", ""),
            told_of(1, "40/app,", "40/app,", 0, "/app", ""),
            { "t": "message", "w": 0, "s": EVENT, "o": EVENT, "seal": null,
              "read": { "type": 2, "nsp": "/app", "id": 7, "attachments": 0, "data": DATA } },
            told_of(0, r#"42/app,["uiBuilderClient",{"_client":{}}]"#, r#"42/app,["uiBuilderClient",{}]"#,
                2, "/app", r#"["uiBuilderClient",{"_client":{}}]"#),
            told_of(0, &format!(r#"42/app,["a",{{"_auth":{AUTH}}}]"#), r#"42/app,["a",{"_auth":{}}]"#,
                2, "/app", &format!(r#"["a",{{"_auth":{AUTH}}}]"#)),
            told_of(0, r#"40/b,{"user":1,"a":1}"#, r#"40/b,{"a":1}"#,
                0, "/b", r#"{"a":#3ff0000000000000,"user":#3ff0000000000000}"#),
            { "t": "message", "w": 1, "s": r#"40/b,{"sid":"b","pid":"p1"}"#, "o": r#"40/b,{"sid":"b","pid":"S"}"#,
              "seal": "S", "read": { "type": 0, "nsp": "/b", "id": null, "attachments": 0, "data": r#"{"pid":"p1","sid":"b"}"# } },
            told_of(0, "42/b,[\"a\"]", "42/b,[\"a\"]", 2, "/b", "[\"a\"]"),
            { "t": "body", "s": "3\u{1e}bAQ==", "packets": ["3", "b01"], "o": "", "left": [] },
            { "t": "ours", "w": 1, "s": "41/app,", "nsp": "/app", "type": 1 },
        ],
    })
}

fn told_of(way: u8, came: &str, goes_on: &str, kind: u8, namespace: &str, data: &str) -> Value {
    json!({
        "t": "message", "w": way, "s": came, "o": goes_on, "seal": null,
        "read": { "type": kind, "nsp": namespace, "id": null, "attachments": 0, "data": data },
    })
}
