//! How much and how many: messages, sockets, bodies, and who does not read.

use futures_util::SinkExt as _;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::{
    engine::{enter, stage, stage_with},
    support::{
        Browser, House,
        engine::{PATH, begin_polling, begin_socket, hear, page, polled, say, socket},
        soon,
    },
};

/// How often a limit was reached.
fn reached(house: &House, limit: &str) -> u64 {
    let line = format!("portcullis_socket_limits_total{{kind=\"{limit}\"}} ");
    let page = house.gateway.house.metrics.render();
    let found = page.lines().find_map(|it| it.strip_prefix(&line));
    found.map_or(0, |it| it.parse().unwrap())
}

#[tokio::test]
async fn w12_a_body_has_so_many_packets_and_a_tenant_is_heard_whole() {
    let (house, engine, alice) =
        stage_with(|config| config.sockets.max_polling_packets = 100).await;
    let sid = begin_polling(&house, &alice).await;
    let many = vec![r#"42/uib,["a"]"#; 101].join("\x1e");
    let answer = polled(&house, &alice, Some(&sid), Some(&many)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(reached(&house, "polling_packets"), 1);
    assert!(!engine.heard().iter().any(|it| it.contains("[\"a\"]")));
    let packets: Vec<String> = (0..3000)
        .map(|it| format!(r#"42/uib,["n",{it}]"#))
        .collect();
    for packet in &packets {
        engine.say(packet);
    }
    let mut heard = Vec::new();
    while heard.len() < packets.len() {
        let answer = polled(&house, &alice, Some(&sid), None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        heard.extend(answer.text().split('\x1e').map(str::to_owned));
    }
    assert_eq!(heard, packets);
    house.close().await;
}

#[tokio::test]
async fn w16_a_tenants_answer_to_a_poll_is_bounded_by_its_bytes() {
    let (house, engine, alice) =
        stage_with(|config| config.sockets.max_polling_answer = 100_000).await;
    let sid = begin_polling(&house, &alice).await;
    engine.say(&format!(r#"42/uib,["{}"]"#, "x".repeat(100_000)));
    let answer = polled(&house, &alice, Some(&sid), None).await;
    assert_eq!(answer.status, 502);
    assert_eq!(reached(&house, "polling_answer"), 1);
    house.close().await;
}

#[tokio::test]
async fn w13_each_limit_of_a_message_has_its_code_and_is_counted() {
    let (house, engine, alice) = stage().await;
    let deep = format!(r#"42/uib,["deep",{}{}]"#, "[".repeat(66), "]".repeat(66));
    for (message, code, limit) in [
        ("4".repeat((1 << 20) + 1), 1009, "message_size"),
        (deep, 1008, "nesting"),
        (r#"45257-/uib,["a"]"#.to_owned(), 1008, "attachments"),
    ] {
        let mut socket = begin_socket(&house, &alice).await;
        say(&mut socket, &message).await;
        assert_eq!(hear(&mut socket).await, Err(code), "{limit}");
        assert_eq!(reached(&house, limit), 1, "{limit}");
    }
    assert_eq!(engine.heard(), ["40/uib,"; 3]);
    house.close().await;
}

/// Slow enough that no test sees it made up for.
fn fifty(config: &mut portcullis::config::Config) {
    config.sockets.messages_per_second = 1;
    config.sockets.message_burst = 50;
}

fn is_told_of_rate(packet: &str) -> bool {
    packet.starts_with("42/uib,[\"uiBuilderControl\"")
        && packet.contains("jwt_auth_fail")
        && packet.contains("\"reason\":\"rate\"")
}

#[tokio::test]
async fn w15_what_is_too_much_is_dropped_and_told_and_a_flood_is_closed() {
    let (house, engine, alice) = stage_with(fifty).await;
    let bob = enter(&house, "bob", 0).await;
    let mut his = begin_socket(&house, &bob).await;
    let mut flood = begin_socket(&house, &alice).await;
    for n in 0..60 {
        say(&mut flood, &format!(r#"42/uib,["n",{n}]"#)).await;
    }
    assert!(is_told_of_rate(&hear(&mut flood).await.unwrap()));
    assert!(reached(&house, "rate") > 0);
    soon("the end of the flood", async {
        while reached(&house, "flood") == 0 {
            // (Whether it is closed by now or not: nothing may fail here.)
            let _ = flood.send(Message::text(r#"42/uib,["more"]"#)).await;
        }
    })
    .await;
    let code = loop {
        if let Err(code) = hear(&mut flood).await {
            break code;
        }
    };
    assert_eq!((code, reached(&house, "flood")), (1008, 1));
    let passed = engine
        .heard()
        .iter()
        .filter(|it| it.contains("[\"n\""))
        .count();
    assert!((49..60).contains(&passed), "{passed}");
    // Nobody else notices.
    say(&mut his, r#"42/uib,["echo","his"]"#).await;
    assert_eq!(hear(&mut his).await.unwrap(), r#"42/uib,["echo","his"]"#);
    house.close().await;
}

#[tokio::test]
async fn w15_all_sockets_of_a_login_share_one_pace_by_either_transport() {
    let (house, engine, alice) = stage_with(fifty).await;
    let mut first = begin_socket(&house, &alice).await;
    let sid = begin_polling(&house, &alice).await;
    for _ in 0..60 {
        say(&mut first, r#"42/uib,["first"]"#).await;
    }
    assert!(is_told_of_rate(&hear(&mut first).await.unwrap()));
    let sent = vec![r#"42/uib,["late"]"#; 20].join("\x1e");
    let answer = polled(&house, &alice, Some(&sid), Some(&sent)).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    engine.say(r#"42/uib,["to all"]"#);
    let heard = polled(&house, &alice, Some(&sid), None).await.text();
    let (news, told) = heard.split_once('\x1e').unwrap();
    assert_eq!(news, r#"42/uib,["to all"]"#);
    assert!(is_told_of_rate(told), "{told}");
    let refused = soon("the end of the flood", async {
        loop {
            let answer = polled(&house, &alice, Some(&sid), Some(&sent)).await;
            if answer.status != 200 {
                break answer;
            }
        }
    })
    .await;
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(reached(&house, "flood"), 1);
    let late = engine
        .heard()
        .iter()
        .filter(|it| it.contains("late"))
        .count();
    assert!(late < 20, "{late}");
    house.close().await;
}

#[tokio::test]
async fn w15_a_login_has_so_many_sockets_on_a_tenant_and_each_seat_is_given_back() {
    let (house, engine, alice) = stage_with(|config| config.sockets.per_session = 3).await;
    let bob = enter(&house, "bob", 0).await;
    let first = begin_socket(&house, &alice).await;
    let mut second = begin_socket(&house, &alice).await;
    let sid = begin_polling(&house, &alice).await;
    let heads = engine.heads().len();
    let target = format!("{PATH}websocket");
    let refused = socket(&house, &target, &page(&house, &alice))
        .await
        .unwrap_err();
    let polling = polled(&house, &alice, None, None).await;
    for answer in [refused, polling] {
        assert_eq!(answer.status, 429, "{answer:?}");
        assert_eq!(answer.json()["error"], "too_many_sockets");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(engine.heads().len(), heads, "the tenant hears of none");
    assert_eq!(reached(&house, "per_session"), 2);
    // Somebody else's number is their own, and so is hers elsewhere.
    let mut his = begin_socket(&house, &bob).await;
    say(&mut his, r#"42/uib,["echo","his"]"#).await;
    assert_eq!(hear(&mut his).await.unwrap(), r#"42/uib,["echo","his"]"#);
    // A seat comes free with a socket that is cut, one that is closed, and polling that is.
    drop(first);
    freed(&house, &alice).await;
    second.close(None).await.unwrap();
    freed(&house, &alice).await;
    let held = [
        begin_socket(&house, &alice).await,
        begin_socket(&house, &alice).await,
    ];
    let target = format!("{PATH}websocket");
    assert!(
        socket(&house, &target, &page(&house, &alice))
            .await
            .is_err()
    );
    assert_eq!(
        polled(&house, &alice, Some(&sid), Some("1")).await.status,
        200
    );
    freed(&house, &alice).await;
    drop(held);
    house.close().await;
}

/// Waits until Alice may open one more socket, and closes it.
async fn freed(house: &House, alice: &Browser) {
    let target = format!("{PATH}websocket");
    soon("a free seat", async {
        while let Err(refused) = socket(house, &target, &page(house, alice)).await {
            assert_eq!(refused.status, 429);
        }
    })
    .await;
}

#[tokio::test]
async fn w15_a_connection_that_goes_over_to_a_websocket_has_one_seat() {
    let (house, _engine, alice) = stage_with(|config| config.sockets.per_session = 2).await;
    let sid = begin_polling(&house, &alice).await;
    let target = format!("{PATH}websocket&sid={sid}");
    let (mut up, _) = socket(&house, &target, &page(&house, &alice))
        .await
        .unwrap();
    say(&mut up, "2probe").await;
    assert_eq!(hear(&mut up).await.unwrap(), "3probe");
    say(&mut up, "5").await;
    say(&mut up, r#"42/uib,["echo",1]"#).await;
    assert_eq!(hear(&mut up).await.unwrap(), r#"42/uib,["echo",1]"#);
    let second = begin_socket(&house, &alice).await;
    let target = format!("{PATH}websocket");
    let third = socket(&house, &target, &page(&house, &alice)).await;
    assert_eq!(third.unwrap_err().status, 429);
    drop(second);
    house.close().await;
}

#[tokio::test]
async fn w15_a_tenant_has_so_many_sockets_and_its_neighbours_have_their_own() {
    let (house, _engine, alice) = stage_with(|config| config.sockets.per_tenant = 2).await;
    let mut bob = enter(&house, "bob", 0).await;
    let held = [
        begin_socket(&house, &alice).await,
        begin_socket(&house, &alice).await,
    ];
    let target = format!("{PATH}websocket");
    let refused = socket(&house, &target, &page(&house, &bob)).await;
    assert_eq!(refused.unwrap_err().status, 429);
    assert_eq!(reached(&house, "per_tenant"), 1);
    bob.enter(&house, "b").await;
    plain_socket_talks(&house, &bob, "b").await;
    drop(held);
    house.close().await;
}

/// Opens a WebSocket that is not Engine.IO, and is echoed on it.
async fn plain_socket_talks(house: &House, browser: &Browser, label: &str) {
    let mut wire = house.wire(label).await;
    let raw = format!(
        "GET /comms HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {}\r\n{}\r\n",
        house.authority(label),
        house.origin(label),
        browser.cookies(&house.host(label)),
    );
    wire.send(&raw).await.unwrap();
    let answer = soon("the handshake", wire.answer()).await.unwrap();
    assert_eq!(answer.status, 101);
    let (stream, read) = wire.into_parts();
    let mut socket = WebSocketStream::from_partially_read(stream, read, Role::Client, None).await;
    say(&mut socket, "hello").await;
    assert_eq!(hear(&mut socket).await.unwrap(), "hello");
}

#[tokio::test]
async fn w16_what_a_tenant_does_to_its_sockets_no_other_tenant_notices() {
    let (house, engine, alice) = stage().await;
    let mut bob = enter(&house, "bob", 0).await;
    bob.enter(&house, "b").await;
    // Nobody reads what it says, on the first; on the second it says too much at once.
    let unread = begin_socket(&house, &alice).await;
    let mut giant = begin_socket(&house, &alice).await;
    let packet = format!(r#"42/uib,["{}"]"#, "x".repeat(100_000));
    for _ in 0..300 {
        engine.say(&packet);
    }
    plain_socket_talks(&house, &bob, "b").await;
    let mut heard = 0;
    while heard < 300 {
        heard += usize::from(hear(&mut giant).await.unwrap() == packet);
    }
    engine.say(&format!(r#"42/uib,["{}"]"#, "x".repeat(1 << 20)));
    assert_eq!(hear(&mut giant).await, Err(1009));
    assert_eq!(reached(&house, "message_size"), 1);
    // It disconnects whom it likes, which is its own affair.
    let mut left = begin_socket(&house, &alice).await;
    engine.say("41/uib,");
    assert_eq!(hear(&mut left).await.unwrap(), "41/uib,");
    plain_socket_talks(&house, &bob, "b").await;
    drop(unread);
    house.close().await;
}

#[tokio::test]
async fn w16_a_client_that_does_not_read_is_closed_and_its_tenant_goes_on() {
    let (house, engine, alice) = stage_with(|config| {
        config.sockets.stall_timeout = std::time::Duration::from_millis(400);
    })
    .await;
    let unread = begin_socket(&house, &alice).await;
    let packet = format!(r#"42/uib,["{}"]"#, "x".repeat(100_000));
    for _ in 0..500 {
        engine.say(&packet);
    }
    soon("the end of the slow one", async {
        while reached(&house, "slow_client") == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut next = begin_socket(&house, &alice).await;
    say(&mut next, r#"42/uib,["echo",1]"#).await;
    assert_eq!(hear(&mut next).await.unwrap(), r#"42/uib,["echo",1]"#);
    drop(unread);
    house.close().await;
}
