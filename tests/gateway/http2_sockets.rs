//! WebSockets over HTTP/2 (RFC 8441): what holds for a socket holds on a stream, too.

use crate::support::{
    Browser, House,
    browser::OWN,
    engine::{Engine, PATH, hear, page, say},
    h2::{Client, Socket},
    house::aim,
    soon,
};

/// A browser in which alice is signed in to tenant `a`, and its HTTP/2 connection.
async fn alice(house: &House) -> (Browser, Client) {
    let mut browser = Browser::signed_in(house, "alice").await;
    browser.enter(house, "a").await;
    let mut client = Client::open(house, "a").await;
    let url = format!("{}/", house.origin("a"));
    let lines = format!("{}{OWN}", browser.cookies(&house.host("a")));
    assert_eq!(client.ask("GET", &url, &lines).await.status, 200);
    (browser, client)
}

async fn open(house: &House, client: &mut Client, lines: &str) -> Result<Socket, u16> {
    let url = format!("{}/comms", house.origin("a"));
    client.socket("websocket", &url, lines).await
}

async fn echo(socket: &mut Socket, text: &str) {
    say(socket, text).await;
    assert_eq!(hear(socket).await.unwrap(), text);
}

#[tokio::test]
async fn w19_a_socket_over_http_2_is_asked_what_any_other_is() {
    let house = House::open().await;
    let (browser, mut client) = alice(&house).await;
    let cookies = browser.cookies(&house.host("a"));
    let before = house.a.seen().len();
    for (lines, status) in [
        (format!("Origin: {}\r\n", house.origin("a")), 401),
        (cookies.clone(), 403),
        (format!("{cookies}Origin: {}\r\n", house.origin("b")), 403),
        (format!("{cookies}Origin: null\r\n"), 403),
    ] {
        assert_eq!(
            open(&house, &mut client, &lines).await.unwrap_err(),
            status,
            "{lines}"
        );
    }
    let url = format!("{}/comms", house.origin("a"));
    let mine = page(&house, &browser);
    for other in ["webtransport", "connect-udp"] {
        let refused = client.socket(other, &url, &mine).await.unwrap_err();
        assert_eq!(refused, 405, "{other}");
    }
    assert_eq!(house.a.seen().len(), before, "none of these reached it");

    let mut socket = open(&house, &mut client, &mine).await.unwrap();
    echo(&mut socket, "one").await;
    let long = "x".repeat(100_000);
    echo(&mut socket, &long).await;
    let seen = house.a.last();
    assert_eq!(seen.line, "GET /comms HTTP/1.1");
    assert_eq!(seen.header("upgrade"), Some("websocket"));
    assert_eq!(seen.header("remote-user"), Some("alice"));
    assert_eq!(seen.header("cookie"), None);
    house.close().await;
}

#[tokio::test]
async fn w19_a_socket_over_http_2_ends_with_its_session_silent_or_not() {
    let house = House::open().await;
    let (mut browser, mut client) = alice(&house).await;
    let mine = page(&house, &browser);
    let mut busy = open(&house, &mut client, &mine).await.unwrap();
    let mut silent = open(&house, &mut client, &mine).await.unwrap();
    echo(&mut busy, "one").await;
    browser.sign_out(&house).await;
    assert_eq!(hear(&mut busy).await, Err(1008));
    assert_eq!(hear(&mut silent).await, Err(1008));
    assert_eq!(
        open(&house, &mut client, &mine).await.unwrap_err(),
        401,
        "and opens no other"
    );
    house.close().await;
}

#[tokio::test]
async fn w19_socket_io_over_http_2_is_guarded() {
    let engine = Engine::start().await;
    let house = House::with(|config| aim(config, engine.address)).await;
    let mut browser = Browser::signed_in(&house, "alice").await;
    browser.enter(&house, "a").await;
    let mut client = Client::open(&house, "a").await;
    let portal = format!("{}/.portcullis/whoami", house.origin("a"));
    client.ask("GET", &portal, OWN).await;
    let url = format!("{}{PATH}websocket", house.origin("a"));
    let lines = page(&house, &browser);
    let mut socket = client.socket("websocket", &url, &lines).await.unwrap();
    let opened = hear(&mut socket).await.unwrap();
    let sid = crate::support::engine::sid_of(&opened);
    assert_eq!(sid.split('.').count(), 3, "sealed: {opened}");
    say(
        &mut socket,
        r#"40/uib,{"clientId":"c1","user":{"userId":"admin"}}"#,
    )
    .await;
    engine.hears(r#"40/uib,{"clientId":"c1"}"#).await;
    assert!(hear(&mut socket).await.unwrap().starts_with("40/uib,{"));
    say(&mut socket, "no packet at all").await;
    assert_eq!(hear(&mut socket).await, Err(1008));
    house.close().await;
}

#[tokio::test]
async fn a_drain_closes_sockets_over_http_2_with_1001() {
    let house = House::open().await;
    let (browser, mut client) = alice(&house).await;
    let mine = page(&house, &browser);
    let mut socket = open(&house, &mut client, &mine).await.unwrap();
    echo(&mut socket, "one").await;
    let gateway = house.gateway;
    let closing = tokio::task::spawn_blocking(move || gateway.close());
    assert_eq!(hear(&mut socket).await, Err(1001));
    drop((socket, client));
    soon("closing", closing).await.unwrap();
}
