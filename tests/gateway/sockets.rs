//! Open sockets and the end of sessions.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::support::{Browser, House, Wire, soon};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Opens a plain WebSocket on tenant `a` with this browser's cookies; the status if there is none.
async fn open(house: &House, browser: &Browser, more: &str) -> Result<Socket, u16> {
    shake(house.wire("a").await, house, browser, more).await
}

/// The same over a connection that stands already.
async fn shake(
    mut wire: Wire,
    house: &House,
    browser: &Browser,
    more: &str,
) -> Result<Socket, u16> {
    let raw = format!(
        "GET /comms HTTP/1.1\r\nHost: {}\r\n{}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n",
        house.authority("a"),
        browser.cookies(&house.host("a")),
    );
    wire.send(&raw).await.unwrap();
    let answer = soon("the handshake", wire.answer())
        .await
        .expect("an answer");
    if answer.status != 101 {
        return Err(answer.status);
    }
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    let (stream, read) = wire.into_parts();
    Ok(WebSocketStream::from_partially_read(stream, read, Role::Client, None).await)
}

fn upgrade(house: &House) -> String {
    format!(
        "Origin: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        house.origin("a")
    )
}

async fn echo(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    let back = soon("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(back, Message::text(text));
}

/// The close code that comes next.
async fn closed(socket: &mut Socket) -> u16 {
    loop {
        match soon("a close", socket.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(_)) => {}
            other => panic!("no close frame: {other:?}"),
        }
    }
}

async fn alice(house: &House) -> Browser {
    let mut browser = Browser::signed_in(house, "alice").await;
    assert_eq!(browser.visit(house, "a", "/").await.status, 200);
    browser
}

#[tokio::test]
async fn w2_w17_a_socket_ends_with_its_session_silent_or_not() {
    let house = House::open().await;
    let mut browser = alice(&house).await;
    let mut busy = open(&house, &browser, &upgrade(&house)).await.unwrap();
    let mut silent = open(&house, &browser, &upgrade(&house)).await.unwrap();
    echo(&mut busy, "one").await;
    let out = browser
        .post(
            &house,
            "auth",
            "/.portcullis/api/v1/logout",
            &serde_json::json!({}),
        )
        .await;
    assert!(out.status == 200 || out.status == 204);
    assert_eq!(closed(&mut busy).await, 1008);
    assert_eq!(closed(&mut silent).await, 1008);
    assert_eq!(
        open(&house, &browser, &upgrade(&house)).await.unwrap_err(),
        401,
        "w6"
    );
    house.close().await;
}

#[tokio::test]
async fn w4_a_renewed_token_leaves_the_socket_open_and_the_session_still_ends_it() {
    let house = House::open().await;
    let mut browser = alice(&house).await;
    let mut socket = open(&house, &browser, &upgrade(&house)).await.unwrap();
    echo(&mut socket, "before").await;
    let nothing = serde_json::json!({});
    let renewed = browser
        .post(&house, "a", "/.portcullis/api/v1/session/refresh", &nothing)
        .await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let name = "__Host-portcullis";
    assert!(
        renewed.all("set-cookie").any(|it| it.starts_with(name)),
        "a new cookie"
    );
    assert!(renewed.json().get("token").is_none(), "and no bare token");
    echo(&mut socket, "after").await;
    // The socket was opened with the former token; it hangs on the session, as the new one does.
    let mut second = open(&house, &browser, &upgrade(&house)).await.unwrap();
    browser
        .post(&house, "auth", "/.portcullis/api/v1/logout", &nothing)
        .await;
    assert_eq!(closed(&mut socket).await, 1008);
    assert_eq!(closed(&mut second).await, 1008);
    house.close().await;
}

#[tokio::test]
async fn another_users_socket_never_notices() {
    let house = House::open().await;
    let mut alice = alice(&house).await;
    let mut bob = Browser::signed_in(&house, "bob").await;
    bob.visit(&house, "a", "/").await;
    let mut hers = open(&house, &alice, &upgrade(&house)).await.unwrap();
    let mut his = open(&house, &bob, &upgrade(&house)).await.unwrap();
    alice
        .post(
            &house,
            "auth",
            "/.portcullis/api/v1/logout",
            &serde_json::json!({}),
        )
        .await;
    assert_eq!(closed(&mut hers).await, 1008);
    echo(&mut his, "still here").await;
    house.close().await;
}

#[tokio::test]
async fn w1_a_handshake_needs_this_very_origin() {
    let house = House::open().await;
    let browser = alice(&house).await;
    let up = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for origin in [
        format!("Origin: {}\r\n", house.origin("b")),
        "Origin: null\r\n".to_owned(),
        String::new(),
        format!("Origin: {}.evil\r\n", house.origin("a")),
        format!("Origin: https://{}\r\n", house.host("a")),
    ] {
        let refused = open(&house, &browser, &format!("{origin}{up}"))
            .await
            .unwrap_err();
        assert_eq!(refused, 403, "{origin}");
    }
    house.close().await;
}

#[tokio::test]
async fn w18b_every_spelling_of_an_upgrade_is_judged_as_one() {
    let house = House::open().await;
    let browser = alice(&house).await;
    let origin = format!("Origin: {}\r\n", house.origin("a"));
    for lines in [
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: WebSocket\r\n",
        "Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
    ] {
        let mut socket = open(&house, &browser, &format!("{origin}{lines}"))
            .await
            .unwrap();
        echo(&mut socket, "hello").await;
        let stranger = Browser::default();
        assert_eq!(
            open(&house, &stranger, &format!("{origin}{lines}"))
                .await
                .unwrap_err(),
            401
        );
    }
    house.close().await;
}

#[tokio::test]
async fn a_rule_that_no_longer_admits_ends_the_socket() {
    use portcullis::{
        config::{Policy, Rule},
        name::UserName,
    };
    let house = House::open().await;
    let browser = alice(&house).await;
    let mut socket = open(&house, &browser, &upgrade(&house)).await.unwrap();
    echo(&mut socket, "one").await;
    house
        .reload(|config| {
            let bob = Rule {
                line: 1,
                users: vec![UserName::parse("bob").unwrap()],
                policy: Policy::TwoFactor,
                ..Rule::default()
            };
            config.rules = vec![bob].into();
        })
        .await;
    assert_eq!(closed(&mut socket).await, 1008);
    house.close().await;
}

#[tokio::test]
async fn d6_when_a_replica_dies_its_sockets_close_and_nothing_goes_to_its_address_again() {
    let house = House::open().await;
    let browser = alice(&house).await;
    let (dying, staying) = (house.a.address, house.b.address);
    house
        .reload(|config| {
            Arc::make_mut(&mut config.tenants[0]).upstreams = vec![dying, staying];
        })
        .await;
    let mut open_sockets = Vec::new();
    for _ in 0..8 {
        let before = house.a.seen().len();
        let mut socket = open(&house, &browser, &upgrade(&house)).await.unwrap();
        echo(&mut socket, "before").await;
        open_sockets.push((house.a.seen().len() > before, socket));
    }
    let doomed = open_sockets.iter().filter(|it| it.0).count();
    assert_eq!(doomed, 4, "each in turn");
    house
        .reload(|config| {
            Arc::make_mut(&mut config.tenants[0]).upstreams = vec![staying];
        })
        .await;
    let before = house.a.seen().len();
    for (is_doomed, socket) in &mut open_sockets {
        if *is_doomed {
            assert_eq!(closed(socket).await, 1001);
        } else {
            echo(socket, "after").await;
        }
    }
    for _ in 0..6 {
        let mut socket = open(&house, &browser, &upgrade(&house)).await.unwrap();
        echo(&mut socket, "anew").await;
    }
    assert_eq!(house.a.seen().len(), before, "nothing asked of the dead");
    house.close().await;
}

#[tokio::test]
async fn a_drain_closes_with_1001() {
    let house = House::open().await;
    let browser = alice(&house).await;
    let mut socket = open(&house, &browser, &upgrade(&house)).await.unwrap();
    echo(&mut socket, "one").await;
    let gateway = house.gateway;
    let closing = tokio::task::spawn_blocking(move || gateway.close());
    assert_eq!(closed(&mut socket).await, 1001);
    drop(socket);
    soon("closing", closing).await.unwrap();
}

#[tokio::test]
async fn an_unmasked_frame_is_not_relayed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let house = House::open().await;
    let browser = alice(&house).await;
    let socket = open(&house, &browser, &upgrade(&house)).await.unwrap();
    let mut raw = socket.into_inner();
    raw.write_all(&[0x81, 0x02, b'h', b'i']).await.unwrap();
    let mut read = Vec::new();
    // Whether the close frame or the end of the stream comes first, no echo does.
    let _ = soon("the end", raw.read_to_end(&mut read)).await;
    assert!(!read.windows(2).any(|it| it == b"hi"), "{read:?}");
    house.close().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_connections_that_rest() {
    let house = House::open().await;
    let mut browser = alice(&house).await;
    let mut idle = house.wire("a").await;
    let raw = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\n{}Sec-Fetch-Site: same-origin\r\n\r\n",
        house.authority("a"),
        browser.cookies(&house.host("a")),
    );
    idle.send(&raw).await.unwrap();
    assert_eq!(idle.answer().await.unwrap().status, 200);
    browser.fetch(&house, "a", "/").await;
    let limit = house.config.limits.drain;
    let begun = std::time::Instant::now();
    house.close().await;
    assert!(begun.elapsed() < limit, "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_open_socket_takes_a_connections_place_until_it_closes() {
    const MOST: usize = 4;
    let house = House::with(|config| config.limits.connections = MOST).await;
    let browser = alice(&house).await;
    let door = || {
        let trust = Arc::clone(&house.trust);
        let host = house.host("a");
        async move { Wire::open(house.address, trust, &host).await }
    };
    let mut sockets = Vec::new();
    // The browser's own connections may still take a place each; they come free by and by.
    while sockets.len() < MOST {
        let Ok(wire) = door().await else { continue };
        let shaken = shake(wire, &house, &browser, &upgrade(&house)).await;
        sockets.push(shaken.unwrap());
    }
    assert!(door().await.is_err(), "one more than there may be");
    echo(sockets.last_mut().unwrap(), "served all the same").await;
    sockets.pop().unwrap().close(None).await.unwrap();
    soon("a free place", async {
        while door().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    house.close().await;
}
