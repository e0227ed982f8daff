//! Tokens in messages, over the whole gateway: grace, revival, another user's, `in-band`.

use std::sync::Arc;

use portcullis::{
    config::{Config, SocketMode},
    secret,
    session::Ended,
};

use crate::support::{
    Browser, House,
    engine::{Engine, PATH, Socket, begin_polling, hear, poll, polled, say, sid_of, socket},
    house::{PASSWORD, aim},
    soon,
};

async fn stage(change: impl FnOnce(&mut Config)) -> (House, Engine) {
    let engine = Engine::start().await;
    let house = House::with(|config| {
        aim(config, engine.address);
        Arc::make_mut(&mut config.tenants[0]).login_api = true;
        change(config);
    })
    .await;
    (house, engine)
}

fn in_band(config: &mut Config) {
    Arc::make_mut(&mut config.tenants[0]).socketio.mode = SocketMode::InBand;
}

/// Signs in on tenant `a` itself, for a token in the body; `steps` tells one code from another.
async fn bearer(house: &House, user: &str, steps: i64) -> String {
    let mut script = Browser::default();
    let login = serde_json::json!({ "username": user, "password": PASSWORD, "token": true });
    let first = script
        .post(house, "a", "/.portcullis/api/v1/login", &login)
        .await;
    let second = serde_json::json!({
        "ticket": first.json()["ticket"], "code": house.code(user, steps), "token": true,
    });
    let done = script
        .post(house, "a", "/.portcullis/api/v1/login/totp", &second)
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(
        done.all("set-cookie")
            .all(|it| !it.starts_with("__Host-portcullis="))
    );
    done.json()["token"].as_str().unwrap().to_owned()
}

/// A WebSocket with `/uib` open, by a token alone.
async fn open(house: &House, token: &str) -> Socket {
    let protocols = format!("Sec-WebSocket-Protocol: portcullis, portcullis.token.{token}\r\n");
    let (mut it, _) = socket(house, &format!("{PATH}websocket"), &protocols)
        .await
        .unwrap();
    assert!(hear(&mut it).await.unwrap().starts_with("0{"));
    say(&mut it, "40/uib,").await;
    assert!(hear(&mut it).await.unwrap().starts_with("40/uib,{"));
    it
}

fn says(word: &str, token: &str) -> String {
    format!(r#"42/uib,["uiBuilderClient",{{"payload":"{word}","_auth":{{"jwt":"{token}"}}}}]"#)
}

fn arrives(word: &str) -> String {
    format!(r#"42/uib,["uiBuilderClient",{{"payload":"{word}","_auth":{{}}}}]"#)
}

/// The next text is a control message of this kind.
async fn is_told(it: &mut Socket, topic: &str, reason: &str) {
    let text = hear(it).await.unwrap();
    let right = text.starts_with(&format!(
        r#"42/uib,["uiBuilderControl",{{"uibuilderCtrl":"{topic}","from":"server""#
    )) && (reason.is_empty() || text.contains(&format!(r#""reason":"{reason}""#)));
    assert!(right, "{topic} {reason}: {text}");
}

/// The login of a token goes idle.
async fn goes_idle(house: &House, token: &str) {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1).unwrap())
        .unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    let sid = secret::digest(claims["sid"].as_str().unwrap());
    let sessions = &house.gateway.house.sessions;
    sessions.end(&sid, Ended::Idle).await.unwrap();
}

#[tokio::test]
async fn after_an_idle_session_nothing_passes_until_its_user_signs_in_again() {
    let (house, engine) = stage(|_| {}).await;
    let token = bearer(&house, "bob", 0).await;
    let mut it = open(&house, &token).await;
    say(&mut it, &says("one", &token)).await;
    engine.hears(&arrives("one")).await;
    goes_idle(&house, &token).await;
    is_told(&mut it, "jwt_auth_fail", "expired").await;
    say(&mut it, r#"42/uib,["lost"]"#).await;
    is_told(&mut it, "jwt_auth_fail", "expired").await;
    engine.say(r#"42/uib,["lost too"]"#);
    let again = bearer(&house, "bob", 1).await;
    let hand = format!(
        r#"42/uib,["uiBuilderControl",{{"uibuilderCtrl":"auth","_auth":{{"jwt":"{again}"}}}}]"#
    );
    say(&mut it, &hand).await;
    is_told(&mut it, "authorised", "").await;
    say(&mut it, r#"42/uib,["echo",2]"#).await;
    assert_eq!(hear(&mut it).await.unwrap(), r#"42/uib,["echo",2]"#);
    let heard = engine.heard();
    assert!(
        !heard
            .iter()
            .any(|it| it.contains("lost") || it.contains("jwt")),
        "{heard:?}"
    );
    // It hangs on the new login now.
    let lines = format!(
        "Authorization: Bearer {again}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    );
    let out = Browser::default()
        .send(&house, "a", "POST /.portcullis/api/v1/logout", &lines, "{}")
        .await;
    assert_eq!(out.status, 200);
    is_told(&mut it, "logoff", "revoked").await;
    assert_eq!(hear(&mut it).await.unwrap(), "41/uib,");
    assert_eq!(hear(&mut it).await, Err(1008));
    engine.hears("41/uib,").await;
    house.close().await;
}

#[tokio::test]
async fn w22_after_her_session_nobody_else_speaks_on_her_socket() {
    let (house, engine) = stage(|_| {}).await;
    let hers = bearer(&house, "alice", 0).await;
    let mut it = open(&house, &hers).await;
    goes_idle(&house, &hers).await;
    is_told(&mut it, "jwt_auth_fail", "expired").await;
    let his = bearer(&house, "bob", 0).await;
    say(&mut it, &says("as alice", &his)).await;
    say(&mut it, &says("again", &his)).await;
    is_told(&mut it, "session invalid", "revoked").await;
    assert_eq!(hear(&mut it).await.unwrap(), "41/uib,");
    assert_eq!(hear(&mut it).await, Err(1008));
    engine.hears("41/uib,").await;
    assert!(
        !engine
            .heard()
            .iter()
            .any(|it| it.contains("uiBuilderClient"))
    );
    house.close().await;
}

#[tokio::test]
async fn w22_another_users_token_ends_a_polling_connection_cleanly() {
    let (house, engine) = stage(|_| {}).await;
    let mut alice = Browser::signed_in(&house, "alice").await;
    alice.enter(&house, "a").await;
    let sid = begin_polling(&house, &alice).await;
    let mut pending = poll(&house, &alice, Some(&sid), None).await;
    let his = bearer(&house, "bob", 0).await;
    let posted = polled(&house, &alice, Some(&sid), Some(&says("x", &his))).await;
    assert_eq!(posted.status, 200);
    let last = soon("the pending poll", pending.answer()).await.unwrap();
    let packets: Vec<String> = last.text().split('\x1e').map(str::to_owned).collect();
    assert!(
        packets[0].contains(r#""uibuilderCtrl":"session invalid""#),
        "{packets:?}"
    );
    assert_eq!(packets[1..], ["41/uib,"]);
    engine.hears("41/uib,").await;
    assert!(
        !engine
            .heard()
            .iter()
            .any(|it| it.contains("uiBuilderClient"))
    );
    house.close().await;
}

#[tokio::test]
async fn w18_in_band_each_message_shows_a_token_by_either_transport() {
    let (house, engine) = stage(in_band).await;
    let mut alice = Browser::signed_in(&house, "alice").await;
    alice.enter(&house, "a").await;
    // Her cookie opens it; a token of another login of hers speaks on it.
    let token = bearer(&house, "alice", 1).await;
    let page = crate::support::engine::page(&house, &alice);
    let (mut it, _) = socket(&house, &format!("{PATH}websocket"), &page)
        .await
        .unwrap();
    hear(&mut it).await.unwrap();
    say(&mut it, "40/uib,").await;
    hear(&mut it).await.unwrap();
    say(&mut it, &says("good", &token)).await;
    is_told(&mut it, "authorised", "").await;
    engine.hears(&arrives("good")).await;
    say(&mut it, &says("another's", "x.y.z")).await;
    is_told(&mut it, "jwt_auth_fail", "malformed").await;
    say(&mut it, r#"42/uib,["bare"]"#).await;
    is_told(&mut it, "jwt_auth_fail", "missing").await;
    say(&mut it, &says("back", &token)).await;
    is_told(&mut it, "authorised", "").await;
    engine.hears(&arrives("back")).await;
    // Polling the same.
    let sid = begin_polling(&house, &alice).await;
    let both = format!("{}\x1e{}", says("polled", &token), r#"42/uib,["bare"]"#);
    assert_eq!(
        polled(&house, &alice, Some(&sid), Some(&both)).await.status,
        200
    );
    engine.hears(&arrives("polled")).await;
    assert!(
        !engine
            .heard()
            .iter()
            .any(|it| it.contains("bare") || it.contains("another"))
    );
    house.close().await;
}

#[tokio::test]
async fn without_cookies_pages_are_open_and_sockets_take_a_token_alone() {
    use portcullis::config::{Policy, Rule};
    let (house, engine) = stage(|config| {
        config.rules = vec![Rule {
            pages: Some(Policy::Open),
            ..Rule::default()
        }]
        .into();
    })
    .await;
    let mut nobody = Browser::default();
    let before = engine.heads().len();
    assert_eq!(polled(&house, &nobody, None, None).await.status, 401);
    let origin = format!("Origin: {}\r\n", house.origin("a"));
    let refused = socket(&house, &format!("{PATH}websocket"), &origin).await;
    assert_eq!(refused.unwrap_err().status, 401);
    let query = format!("GET {PATH}polling&token=x HTTP/1.1");
    assert_eq!(
        nobody
            .send(&house, "a", query.trim_end_matches(" HTTP/1.1"), "", "")
            .await
            .status,
        401
    );
    assert_eq!(
        engine.heads().len(),
        before,
        "the tenant hears nothing of it"
    );
    let token = bearer(&house, "bob", 0).await;
    let lines = format!("Authorization: Bearer {token}\r\n");
    let begun = nobody
        .send(&house, "a", &format!("GET {PATH}polling"), &lines, "")
        .await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    assert!(!sid_of(&begun.text()).is_empty());
    let mut it = open(&house, &token).await;
    say(&mut it, r#"42/uib,["echo",1]"#).await;
    assert_eq!(hear(&mut it).await.unwrap(), r#"42/uib,["echo",1]"#);
    let lines = format!("{lines}Content-Type: application/json\r\nContent-Length: 2\r\n");
    let renewed = nobody
        .send(
            &house,
            "a",
            "POST /.portcullis/api/v1/session/refresh",
            &lines,
            "{}",
        )
        .await;
    let newer = renewed.json()["token"].as_str().unwrap().to_owned();
    say(&mut it, &says("newer", &newer)).await;
    engine.hears(&arrives("newer")).await;
    house.close().await;
}
