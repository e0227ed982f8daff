//! What Socket.IO packets may say, through the whole gateway, by both transports.

use std::sync::Arc;

use portcullis::session::Ended;
use tokio_tungstenite::tungstenite::Message;

use futures_util::SinkExt as _;

use crate::{
    engine::{enter, stage, stage_with},
    support::{
        Browser, House,
        engine::{
            Engine, PATH, Socket, begin_polling, begin_socket, hear, page, polled, say, sid_of,
            socket,
        },
        house::aim,
    },
};

/// A connection whose namespaces are still shut.
async fn shut(house: &House, browser: &Browser) -> Socket {
    let target = format!("{PATH}websocket");
    let (mut open, _) = socket(house, &target, &page(house, browser)).await.unwrap();
    assert!(hear(&mut open).await.unwrap().starts_with("0{"));
    open
}

/// The `pid` that the server's `40` gives out.
fn pid_of(packet: &str) -> String {
    let json: serde_json::Value =
        serde_json::from_str(packet.strip_prefix("40/uib,").unwrap()).unwrap();
    json["pid"].as_str().unwrap().to_owned()
}

/// What a browser that connects with this `pid` is heard to ask of the tenant.
async fn asks(house: &House, engine: &Engine, browser: &Browser, auth: &str) -> [String; 2] {
    let sent = format!("40/uib,{auth}");
    let mut open = shut(house, browser).await;
    say(&mut open, &sent).await;
    assert!(hear(&mut open).await.unwrap().starts_with("40/uib,{"));
    let by_socket = engine.heard().pop().unwrap();
    let sid = sid_of(&polled(house, browser, None, None).await.text());
    let posted = polled(house, browser, Some(&sid), Some(&sent)).await;
    assert_eq!(posted.status, 200);
    [by_socket, engine.heard().pop().unwrap()]
}

#[tokio::test]
async fn w9_a_connection_is_recovered_by_the_login_that_had_it_alone() {
    let (house, engine, alice) = stage().await;
    let mut first = shut(&house, &alice).await;
    say(&mut first, "40/uib,").await;
    let pid = pid_of(&hear(&mut first).await.unwrap());
    assert!(!pid.starts_with("p-own0\""), "{pid}");
    drop(first);
    let auth = format!(r#"{{"clientId":"c","pid":"{pid}","offset":"o1"}}"#);
    let own = r#"40/uib,{"clientId":"c","pid":"p-own0","offset":"o1"}"#;
    let nothing = r#"40/uib,{"clientId":"c"}"#;
    assert_eq!(asks(&house, &engine, &alice, &auth).await, [own, own]);
    let bob = enter(&house, "bob", 0).await;
    let later = enter(&house, "alice", 1).await;
    for (who, browser) in [("bob", &bob), ("another login of hers", &later)] {
        let heard = asks(&house, &engine, browser, &auth).await;
        assert_eq!(heard, [nothing, nothing], "{who}");
    }
    // The tenant's own, as another way in would show it, is worth nothing here.
    let bare = r#"{"clientId":"c","pid":"p-own0","offset":"o1"}"#;
    assert_eq!(
        asks(&house, &engine, &alice, bare).await,
        [nothing, nothing]
    );
    house.close().await;
}

#[tokio::test]
async fn w10_a_namespace_that_is_not_open_to_somebody_is_refused_and_goes_no_further() {
    let (house, engine, alice) = stage_with(|config| {
        Arc::make_mut(&mut config.tenants[0]).socketio.namespaces = vec!["/uib".to_owned()];
    })
    .await;
    let mut open = begin_socket(&house, &alice).await;
    say(&mut open, r#"40/other,{"a":1}"#).await;
    let refused = hear(&mut open).await.unwrap();
    assert!(refused.starts_with(r#"44/other,{"message":"#), "{refused}");
    say(&mut open, r#"42/uib,["echo"]"#).await;
    assert_eq!(hear(&mut open).await.unwrap(), r#"42/uib,["echo"]"#);
    say(&mut open, r#"42/other,["echo"]"#).await;
    assert_eq!(hear(&mut open).await, Err(1008));
    let sid = begin_polling(&house, &alice).await;
    let posted = polled(&house, &alice, Some(&sid), Some("40/other,")).await;
    assert_eq!(posted.status, 200);
    // (It comes with the tenant's next word.)
    engine.say(r#"42/uib,["next"]"#);
    let told = polled(&house, &alice, Some(&sid), None).await.text();
    assert!(told.contains("44/other,{\"message\":"), "{told}");
    assert!(!engine.heard().iter().any(|it| it.contains("/other")));
    house.close().await;
}

#[tokio::test]
async fn w21_what_no_encoder_writes_closes_and_goes_nowhere_by_either_transport() {
    const ODD: [&str; 20] = [
        r#"42/uib, 1["odd"]"#,
        r#"42/uib,01["odd"]"#,
        r#"42/uib,1e3["odd"]"#,
        r#"42/uib,["odd",]"#,
        r#"42/uib,[5,"odd"]"#,
        r#"42/uib,["disconnect","odd"]"#,
        r#"42/uib,["\u0075iBuilderClient",{"a":"odd"}]"#,
        r#"42/uib,["uiBuilderClient",{"_cl\u0069ent":"odd"}]"#,
        r#"42/uib,["uiBuilderClient",{"_client":1,"_client":"odd"}]"#,
        r#"450x1-/uib,["odd"]"#,
        r#"450-/uib,["odd"]"#,
        r#"45-/uib,["odd"]"#,
        r#"40/odd,7{"a":1}"#,
        r#"40/odd,{"us\u0065r":{"userId":"admin"}}"#,
        "40//odd/admin,",
        "40/a/../odd,",
        "40/odd?x=1,",
        "40/odd",
        r#"44/uib,{"message":"odd"}"#,
        "bb2Rk",
    ];
    let (house, engine, alice) = stage().await;
    for odd in ODD {
        let mut open = begin_socket(&house, &alice).await;
        say(&mut open, odd).await;
        // (It may be closed by now.)
        let _ = open.send(Message::text(r#"42/uib,["odd"]"#)).await;
        assert_eq!(hear(&mut open).await, Err(1008), "{odd}");
        let sid = begin_polling(&house, &alice).await;
        let body = format!("{odd}\u{1e}42/uib,[\"odd\"]");
        let posted = polled(&house, &alice, Some(&sid), Some(&body)).await;
        assert_eq!(posted.status, 400, "{odd}");
    }
    let heard = engine.heard();
    assert!(!heard.iter().any(|it| it.contains("odd")), "{heard:?}");
    house.close().await;
}

#[tokio::test]
async fn w23_no_identity_and_no_token_that_a_client_sends_reaches_a_flow_or_a_room() {
    let (house, engine, alice) = stage().await;
    let token = alice.token(&house, "a");
    let mut open = shut(&house, &alice).await;
    say(
        &mut open,
        &format!(r#"40/uib,{{"clientId":"c","token":"{token}"}}"#),
    )
    .await;
    let said = hear(&mut open).await.unwrap();
    let json: serde_json::Value =
        serde_json::from_str(said.strip_prefix("40/uib,").unwrap()).unwrap();
    let own = json["sid"].as_str().unwrap().to_owned();
    for (sent, passed) in [
        (
            r#"["uiBuilderClient",{"a":1,"_client":{"userId":"admin"}}]"#.to_owned(),
            r#"["uiBuilderClient",{"a":1}]"#.to_owned(),
        ),
        (
            r#"["uiBuilderClient",{"a":2,"_socketId":"another"}]"#.to_owned(),
            r#"["uiBuilderClient",{"a":2}]"#.to_owned(),
        ),
        (
            format!(r#"["uiBuilderClient",{{"a":3,"_socketId":"{own}"}}]"#),
            format!(r#"["uiBuilderClient",{{"a":3,"_socketId":"{own}"}}]"#),
        ),
        (
            format!(r#"["uib-room-send",{{"room":"r","_auth":{{"id":"x","jwt":"{token}"}}}}]"#),
            r#"["uib-room-send",{"room":"r","_auth":{"id":"x"}}]"#.to_owned(),
        ),
    ] {
        say(&mut open, &format!("42/uib,{sent}")).await;
        engine.hears(&format!("42/uib,{passed}")).await;
    }
    let heard = engine.heard().join("\n");
    assert!(!heard.contains(&token), "{heard}");
    assert!(!heard.contains("admin") && !heard.contains("another"));
    house.close().await;
}

#[tokio::test]
async fn w5_only_the_sockets_that_a_change_concerns_are_closed_each_with_its_code() {
    let (house, _engine, alice) = stage().await;
    let bob = enter(&house, "bob", 0).await;
    let (mut hers, mut his) = (
        begin_socket(&house, &alice).await,
        begin_socket(&house, &bob).await,
    );
    // A table that says the same is no change.
    house.reroute("a", |_| {});
    let sessions = &house.gateway.house.sessions;
    let now = house.clock.now();
    let claims = |browser: &Browser| {
        let token = browser.token(&house, "a");
        let tokens = &house.gateway.house.tokens;
        tokens.verify_session(&token, now).unwrap()
    };
    let user = sessions.find(claims(&bob).sid()).unwrap().user.clone();
    sessions
        .end_user(&user, Ended::Disabled, None)
        .await
        .unwrap();
    let code = loop {
        if let Err(code) = hear(&mut his).await {
            break code;
        }
    };
    assert_eq!(code, 1008, "who was shut out");
    say(&mut hers, r#"42/uib,["echo",1]"#).await;
    assert_eq!(hear(&mut hers).await.unwrap(), r#"42/uib,["echo",1]"#);
    // Its container is gone, and another one is there.
    let next = Engine::start().await;
    house.reload(|config| aim(config, next.address)).await;
    assert_eq!(hear(&mut hers).await, Err(1001), "whose tenant stopped");
    house.close().await;
}
