//! Engine.IO and Socket.IO over the whole gateway, by both transports.

use std::{cell::Cell, sync::Arc};

use futures_util::{SinkExt as _, StreamExt as _};
use portcullis::{
    config::{Config, Policy, Rule},
    name::{TenantId, UserName},
    session::Ended,
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    Browser, House, Wire,
    browser::{Mode, OWN},
    engine::{
        Engine, PATH, begin_polling, begin_socket, hear, page, poll, polled, say, sid_of, socket,
    },
    house::{PASSWORD, aim},
    soon,
};

/// A house whose tenant `a` speaks Engine.IO, and Alice, who may go there.
pub(crate) async fn stage() -> (House, Engine, Browser) {
    stage_with(|_| {}).await
}

pub(crate) async fn stage_with(change: impl FnOnce(&mut Config)) -> (House, Engine, Browser) {
    let engine = Engine::start().await;
    let house = House::with(|config| {
        aim(config, engine.address);
        change(config);
    })
    .await;
    let alice = enter(&house, "alice", 0).await;
    (house, engine, alice)
}

pub(crate) async fn enter(house: &House, user: &str, steps: i64) -> Browser {
    let mut browser = Browser::signed_in_at(house, user, steps).await;
    browser.enter(house, "a").await;
    browser
}

/// What the client is told at the end: why, on each namespace, and `41`.
fn is_farewell(said: &[String], namespace: &str, reason: &str) -> bool {
    said.len() == 2
        && said[0].starts_with(&format!("42{namespace},[\"uiBuilderControl\",{{"))
        && said[0].contains(&format!("\"reason\":\"{reason}\""))
        && said[1] == format!("41{namespace},")
}

#[tokio::test]
async fn w8_nobody_says_who_they_are_in_connect_by_either_transport() {
    const SENT: &str =
        r#"40/uib,{"clientId":"c1","user":{"userId":"admin"},"token":"x.y.z","tabId":"t"}"#;
    const PASSED: &str = r#"40/uib,{"clientId":"c1","tabId":"t"}"#;
    let (house, engine, alice) = stage().await;
    let target = format!("{PATH}websocket");
    let (mut direct, _) = socket(&house, &target, &page(&house, &alice))
        .await
        .unwrap();
    assert!(hear(&mut direct).await.unwrap().starts_with("0{"));
    say(&mut direct, SENT).await;
    engine.hears(PASSED).await;
    let opened = polled(&house, &alice, None, None).await;
    let sid = sid_of(&opened.text());
    assert_eq!(
        polled(&house, &alice, Some(&sid), Some(SENT)).await.status,
        200
    );
    assert_eq!(engine.heard(), [PASSED, PASSED]);
    assert!(
        engine
            .heads()
            .iter()
            .all(|it| it.header("remote-user") == Some("alice"))
    );
    drop(direct);
    house.close().await;
}

#[tokio::test]
async fn w11_a_polling_id_is_worth_something_to_its_own_login_alone() {
    let (house, engine, mut alice) = stage().await;
    let sid = begin_polling(&house, &alice).await;
    assert_ne!(sid, "own0", "the tenant's own id stays inside");
    let bob = enter(&house, "bob", 0).await;
    let hers_elsewhere = enter(&house, "alice", 1).await;
    let stranger = Browser::default();
    let before = engine.heads().len();
    let steal = r#"42/uib,["stolen"]"#;
    for (who, thief, refused) in [
        ("bob", &bob, 400),
        ("another login of hers", &hers_elsewhere, 400),
        ("nobody", &stranger, 401),
    ] {
        for body in [None, Some(steal)] {
            let answer = polled(&house, thief, Some(&sid), body).await;
            assert_eq!(answer.status, refused, "{who}");
        }
        let target = format!("{PATH}websocket&sid={sid}");
        let refusal = socket(&house, &target, &page(&house, thief))
            .await
            .unwrap_err();
        assert_eq!(refusal.status, refused, "{who}");
    }
    for forged in ["own0", &format!("{sid}x"), &sid.replace("own0", "own1")] {
        let answer = polled(&house, &alice, Some(forged), None).await;
        assert_eq!(answer.status, 400, "{forged}");
    }
    assert_eq!(engine.heads().len(), before, "nothing reached the tenant");
    let event = polled(&house, &alice, Some(&sid), Some(r#"42/uib,["mine"]"#)).await;
    assert_eq!(event.status, 200);
    assert!(engine.heads().last().unwrap().line.contains("&sid=own0 "));
    let cookies = alice.cookies(&house.host("a"));
    alice.sign_out(&house).await;
    assert!(!cookies.is_empty());
    for body in [None, Some(steal)] {
        let answer = polled(&house, &alice, Some(&sid), body).await;
        assert_eq!(answer.status, 401);
    }
    assert!(!engine.heard().iter().any(|it| it.contains("stolen")));
    house.close().await;
}

#[tokio::test]
async fn w11_a_polling_connection_goes_on_as_a_websocket_of_the_same_login() {
    let (house, engine, alice) = stage().await;
    let sid = begin_polling(&house, &alice).await;
    let target = format!("{PATH}websocket&sid={sid}");
    let (mut up, _) = socket(&house, &target, &page(&house, &alice))
        .await
        .unwrap();
    say(&mut up, "2probe").await;
    assert_eq!(hear(&mut up).await.unwrap(), "3probe");
    say(&mut up, "5").await;
    // Namespaces are those of before.
    say(&mut up, r#"42/uib,["echo",1]"#).await;
    assert_eq!(hear(&mut up).await.unwrap(), r#"42/uib,["echo",1]"#);
    let answer = polled(&house, &alice, Some(&sid), Some(r#"42/uib,["late"]"#)).await;
    assert_eq!(answer.status, 400, "polling is over");
    assert!(!engine.heard().iter().any(|it| it.contains("late")));
    house.close().await;
}

#[tokio::test]
async fn w7_a_websocket_ends_with_a_word_41_and_1008_on_both_sides() {
    let (house, engine, mut alice) = stage().await;
    let mut open = begin_socket(&house, &alice).await;
    say(&mut open, "40/other,").await;
    assert!(hear(&mut open).await.unwrap().starts_with("40/other,{"));
    alice.sign_out(&house).await;
    let mut said = Vec::new();
    let code = loop {
        match hear(&mut open).await {
            Ok(text) => said.push(text),
            Err(code) => break code,
        }
    };
    assert_eq!(code, 1008);
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(is_farewell(&said[..2], "/uib", "revoked"), "{said:?}");
    assert!(is_farewell(&said[2..], "/other", "revoked"), "{said:?}");
    assert!(said[0].contains("logoff") && said[0].contains(&house.origin("auth")));
    engine.hears("41/uib,").await;
    engine.hears("41/other,").await;
    house.close().await;
}

#[tokio::test]
async fn w7_a_pending_poll_is_answered_with_41_and_1_and_the_tenant_is_told() {
    let (house, engine, mut alice) = stage().await;
    let sid = begin_polling(&house, &alice).await;
    let mut pending = poll(&house, &alice, Some(&sid), None).await;
    let heads = engine.heads().len();
    soon("the poll upstream", async {
        while engine.heads().len() == heads {
            tokio::task::yield_now().await;
        }
    })
    .await;
    alice.sign_out(&house).await;
    let answer = soon("the poll's end", pending.answer()).await.unwrap();
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let packets: Vec<String> = text.split('\x1e').map(str::to_owned).collect();
    assert!(is_farewell(&packets, "/uib", "revoked"), "{packets:?}");
    engine.hears("41/uib,").await;
    assert_eq!(polled(&house, &alice, Some(&sid), None).await.status, 401);
    house.close().await;
}

#[tokio::test]
async fn w7_the_tenant_is_told_also_where_no_poll_was_pending() {
    let (house, engine, mut alice) = stage().await;
    let sid = begin_polling(&house, &alice).await;
    alice.sign_out(&house).await;
    engine.hears("41/uib,").await;
    assert_eq!(polled(&house, &alice, Some(&sid), None).await.status, 401);
    house.close().await;
}

#[tokio::test]
async fn w6_who_was_cut_off_gets_401_once_and_comes_back_by_signing_in() {
    let (house, _engine, mut alice) = stage().await;
    let old = page(&house, &alice);
    let open = begin_socket(&house, &alice).await;
    alice.sign_out(&house).await;
    drop(open);
    let target = format!("{PATH}websocket");
    let refused = socket(&house, &target, &old).await.unwrap_err();
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"], "not_signed_in");
    assert!(refused.header("location").is_none());
    let cleared = refused
        .all("set-cookie")
        .any(|it| it.starts_with("__Host-portcullis=") && it.contains("Max-Age=0"));
    assert!(cleared, "{refused:?}");
    let mut again = enter(&house, "alice", 1).await;
    drop(begin_socket(&house, &again).await);
    again.sign_out(&house).await;
    house.close().await;
}

#[tokio::test]
async fn k3_whatever_ends_a_login_ends_its_frames_at_once() {
    for what in [
        "log-out", "revoked", "disabled", "grant", "policy", "tenant",
    ] {
        let (house, engine, mut alice) = stage().await;
        let mut open = begin_socket(&house, &alice).await;
        say(&mut open, r#"42/uib,["echo"]"#).await;
        assert_eq!(hear(&mut open).await.unwrap(), r#"42/uib,["echo"]"#);
        let token = alice.token(&house, "a");
        let now = house.clock.now();
        let claims = house
            .gateway
            .house
            .tokens
            .verify_session(&token, now)
            .unwrap();
        let sessions = &house.gateway.house.sessions;
        match what {
            "log-out" => alice.sign_out(&house).await,
            "revoked" => drop(sessions.end(claims.sid(), Ended::Revoked).await.unwrap()),
            "disabled" => {
                let user = sessions.find(claims.sid()).unwrap().user.clone();
                sessions
                    .end_user(&user, Ended::Disabled, None)
                    .await
                    .unwrap();
            }
            "grant" => {
                let answer = alice
                    .post(
                        &house,
                        "a",
                        "/.portcullis/api/v1/logout",
                        &serde_json::json!({}),
                    )
                    .await;
                assert_eq!(answer.status, 200);
            }
            "policy" => {
                house
                    .reload(|config| {
                        let only_bob = Rule {
                            line: 1,
                            users: vec![UserName::parse("bob").unwrap()],
                            policy: Policy::TwoFactor,
                            ..Rule::default()
                        };
                        config.rules = vec![only_bob].into();
                    })
                    .await;
            }
            _ => house.reroute("a", |route| route.tenant = TenantId::from("another")),
        }
        // It may be closed already: then this goes nowhere either.
        let _ = open.send(Message::text(r#"42/uib,["late"]"#)).await;
        engine.say(r#"42/uib,["late"]"#);
        let code = loop {
            match hear(&mut open).await {
                Ok(text) => assert!(!text.contains("late"), "{what}: {text}"),
                Err(code) => break code,
            }
        };
        assert_eq!(code, 1008, "{what}");
        engine.hears("41/uib,").await;
        assert!(
            !engine.heard().iter().any(|it| it.contains("late")),
            "{what}"
        );
        house.close().await;
    }
}

#[tokio::test]
async fn w2_nothing_passes_a_websocket_after_the_end_either_way() {
    let (house, engine, mut alice) = stage().await;
    let (mut to, mut from) = begin_socket(&house, &alice).await.split();
    let (up, down) = (Cell::new(0_u64), Cell::new(0_u64));
    let (got, over) = (Cell::new(0_u64), Cell::new(false));
    let (up_mark, down_mark) = (Cell::new(0), Cell::new(0));
    let saying = async {
        loop {
            up.set(up.get() + 1);
            let text = format!("42/uib,[\"n\",{}]", up.get());
            if to.send(Message::text(text)).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let tenant = async {
        while !over.get() {
            down.set(down.get() + 1);
            engine.say(&format!("42/uib,[\"n\",{}]", down.get()));
            tokio::task::yield_now().await;
        }
    };
    let hearing = async {
        let mut code = None;
        while let Some(Ok(message)) = from.next().await {
            match message {
                Message::Text(text) => {
                    if let Some(number) = number(text.as_str()) {
                        assert_eq!(number, got.get() + 1);
                        got.set(number);
                    }
                }
                Message::Close(frame) => code = frame.map(|it| u16::from(it.code)),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        over.set(true);
        assert_eq!(code, Some(1008));
    };
    let ending = async {
        while got.get() < 50 || engine.heard().len() < 50 {
            tokio::task::yield_now().await;
        }
        alice.sign_out(&house).await;
        up_mark.set(up.get());
        down_mark.set(down.get());
    };
    Box::pin(soon("the end", async {
        tokio::join!(saying, tenant, hearing, ending)
    }))
    .await;
    assert!(got.get() <= down_mark.get(), "{got:?} {down_mark:?}");
    engine.hears("41/uib,").await;
    let last = engine.heard().iter().filter_map(|it| number(it)).max();
    assert!(last.unwrap() <= up_mark.get(), "{last:?} {up_mark:?}");
    house.close().await;
}

/// The number in `42/uib,["n",7]`.
fn number(packet: &str) -> Option<u64> {
    let rest = packet.strip_prefix("42/uib,[\"n\",")?;
    rest.strip_suffix(']')?.parse().ok()
}

#[tokio::test]
async fn w2_nothing_passes_polling_after_the_end_either_way() {
    let (house, engine, mut alice) = stage().await;
    let sid = begin_polling(&house, &alice).await;
    let poller = Browser::clone_of(&alice);
    let (up, down) = (Cell::new(0_u64), Cell::new(0_u64));
    let (got, over) = (Cell::new(0_u64), Cell::new(false));
    let (up_mark, down_mark) = (Cell::new(0), Cell::new(0));
    let posting = async {
        loop {
            up.set(up.get() + 1);
            let text = format!("42/uib,[\"n\",{}]", up.get());
            let answer = polled(&house, &poller, Some(&sid), Some(&text)).await;
            if answer.status != 200 {
                assert_eq!(answer.status, 401);
                return;
            }
        }
    };
    let tenant = async {
        while !over.get() {
            // Never more than one polling body may hold.
            if down.get() < got.get() + 20 {
                down.set(down.get() + 1);
                engine.say(&format!("42/uib,[\"n\",{}]", down.get()));
            }
            tokio::task::yield_now().await;
        }
    };
    let hearing = async {
        loop {
            let answer = polled(&house, &poller, Some(&sid), None).await;
            if answer.status != 200 {
                assert_eq!(answer.status, 401);
                break;
            }
            for number in answer.text().split('\x1e').filter_map(number) {
                assert_eq!(number, got.get() + 1);
                got.set(number);
            }
        }
        over.set(true);
    };
    let ending = async {
        while got.get() < 20 || up.get() < 5 {
            tokio::task::yield_now().await;
        }
        alice.sign_out(&house).await;
        up_mark.set(up.get());
        down_mark.set(down.get());
    };
    Box::pin(soon("the end", async {
        tokio::join!(posting, tenant, hearing, ending)
    }))
    .await;
    assert!(got.get() <= down_mark.get(), "{got:?} {down_mark:?}");
    engine.hears("41/uib,").await;
    let last = engine.heard().iter().filter_map(|it| number(it)).max();
    assert!(last.unwrap() <= up_mark.get(), "{last:?} {up_mark:?}");
    house.close().await;
}

#[tokio::test]
async fn w10b_what_could_be_two_things_is_400_and_goes_nowhere() {
    let (house, engine, mut alice) = stage().await;
    for target in [
        "/socket.io/?EIO=3&transport=polling",
        "/socket.io/?transport=polling",
        "/socket.io/?EIO=4&transport=polling&j=0",
        "/socket.io/?%45IO=4&transport=polling",
        "/socket.io/?EIO=4&EIO=4&transport=polling",
        "/socket.io/?EIO=4&transport=polling&transport=websocket",
        "/socket.io/?EIO=4&transport=polling&s%69d=own0&sid=own0",
        "/socket.io/?EIO=4&transport=webtransport",
        "/anywhere?EIO=4",
    ] {
        let answer = alice.get(&house, "a", target, Mode::Fetch, "").await;
        assert_eq!(answer.status, 400, "{target}");
    }
    for target in [
        "/socket.io/?transport=websocket",
        "/socket.io/?EIO=3&transport=websocket",
        "/socket.io/?EIO=4&%74ransport=websocket",
        "/socket.io/",
    ] {
        let refused = socket(&house, target, &page(&house, &alice))
            .await
            .unwrap_err();
        assert_eq!(refused.status, 400, "{target}");
    }
    assert!(engine.heads().is_empty());
    // A WebSocket not recognised as Engine.IO, whose upstream then opens one.
    let (mut open, _) = socket(&house, "/comms", &page(&house, &alice))
        .await
        .unwrap();
    assert_eq!(hear(&mut open).await, Err(1008));
    house.close().await;
}

#[tokio::test]
async fn a_token_as_subprotocol_opens_a_socket_and_goes_no_further() {
    let (house, engine, _) = stage_with(|config| {
        Arc::make_mut(&mut config.tenants[0]).login_api = true;
    })
    .await;
    let token = bearer(&house, "bob").await;
    let protocols = format!("Sec-WebSocket-Protocol: portcullis, portcullis.token.{token}\r\n");
    let target = format!("{PATH}websocket");
    let (mut open, answer) = socket(&house, &target, &protocols).await.unwrap();
    assert_eq!(answer.header("sec-websocket-protocol"), Some("portcullis"));
    assert!(hear(&mut open).await.unwrap().starts_with("0{"));
    let head = engine.heads().pop().unwrap();
    assert_eq!(head.header("remote-user"), Some("bob"));
    assert_eq!(head.header("sec-websocket-protocol"), None);
    assert!(!format!("{head:?}").contains(&token));
    // k1: it is nothing as a cookie, and a cookie's token is nothing here.
    let mut thief = Browser::default();
    thief.set_cookie(&house.host("a"), "__Host-portcullis", &token);
    assert_eq!(thief.fetch(&house, "a", "/").await.status, 401);
    // Polling carries it as a Bearer, from any page or none.
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let polled = Browser::default()
        .send(&house, "a", &format!("GET {PATH}polling"), &bearer, "")
        .await;
    assert_eq!(polled.status, 200);
    assert_eq!(engine.heads().pop().unwrap().header("authorization"), None);
    // And its end is the socket's.
    let out = format!("{bearer}Content-Type: application/json\r\nContent-Length: 2\r\n");
    let out = Browser::default()
        .send(&house, "a", "POST /.portcullis/api/v1/logout", &out, "{}")
        .await;
    assert_eq!(out.status, 200, "{}", out.text());
    assert_eq!(hear(&mut open).await, Err(1008));
    let refused = socket(&house, &target, &protocols).await.unwrap_err();
    assert_eq!(refused.status, 401);
    house.close().await;
}

/// Signs in on tenant `a` itself, for a token in the body.
async fn bearer(house: &House, user: &str) -> String {
    let mut script = Browser::default();
    let login = serde_json::json!({ "username": user, "password": PASSWORD, "token": true });
    let first = script
        .post(house, "a", "/.portcullis/api/v1/login", &login)
        .await;
    assert_eq!(first.status, 200, "{}", first.text());
    let second = serde_json::json!({
        "ticket": first.json()["ticket"], "code": house.code(user, 0), "token": true,
    });
    let done = script
        .post(house, "a", "/.portcullis/api/v1/login/totp", &second)
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    done.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn w4_a_token_renewed_meanwhile_leaves_the_socket_open() {
    let (house, _engine, mut alice) = stage().await;
    let mut open = begin_socket(&house, &alice).await;
    let old = alice.token(&house, "a");
    let renewed = alice
        .post(
            &house,
            "a",
            "/.portcullis/api/v1/session/refresh",
            &serde_json::json!({}),
        )
        .await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert!(!alice.token(&house, "a").is_empty() && !old.is_empty());
    say(&mut open, r#"42/uib,["echo"]"#).await;
    assert_eq!(hear(&mut open).await.unwrap(), r#"42/uib,["echo"]"#);
    drop(begin_socket(&house, &alice).await);
    house.close().await;
}

#[tokio::test]
async fn w18b_a_handshake_is_judged_as_one_also_on_an_engine_io_path() {
    let (house, engine, _) = stage().await;
    let before = engine.heads().len();
    for lines in [
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: WebSocket\r\n",
        "Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
    ] {
        let mut wire: Wire = house.wire("a").await;
        wire.send(format!(
            "GET {PATH}websocket HTTP/1.1\r\nHost: {}\r\n{OWN}{lines}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            house.authority("a")
        ))
        .await
        .unwrap();
        assert_eq!(wire.answer().await.unwrap().status, 401, "{lines}");
    }
    assert_eq!(engine.heads().len(), before);
    house.close().await;
}
