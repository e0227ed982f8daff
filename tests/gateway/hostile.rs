//! Requests that no honest client sends: each is refused, and nothing of it reaches a tenant.

use crate::support::{Browser, House};

/// A browser that has been on `a`, and its cookie line.
async fn alice(house: &House) -> (Browser, String) {
    let mut browser = Browser::signed_in(house, "alice").await;
    assert_eq!(browser.visit(house, "a", "/").await.status, 200);
    let line = browser.cookies(&house.host("a"));
    (browser, line)
}

const OWN: &str =
    "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n";

#[tokio::test]
async fn s1_ambiguous_framing_is_400_and_the_end_of_the_connection() {
    let house = House::open().await;
    let (_, cookies) = alice(&house).await;
    let before = house.a.seen().len();
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5,5\r\n",
        "Content-Length: 0x5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut wire = house.wire("a").await;
        let raw = format!(
            "POST /x HTTP/1.1\r\nHost: {}\r\n{cookies}{OWN}{framing}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {}\r\n{cookies}{OWN}\r\n",
            house.authority("a"),
            house.authority("a"),
        );
        wire.send(&raw).await.unwrap();
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 400, "{framing}");
        assert!(wire.is_hung_up().await, "{framing}");
    }
    assert_eq!(house.a.seen().len(), before, "nothing reached the tenant");
    house.close().await;
}

#[tokio::test]
async fn s2_s3_other_framing_that_two_readers_could_read_in_two_ways() {
    let house = House::open().await;
    let (_, cookies) = alice(&house).await;
    let authority = house.authority("a");
    for raw in [
        format!(
            "POST / HTTP/1.0\r\nHost: {authority}\r\n{cookies}{OWN}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!("GET / HTTP/1.1\nHost: {authority}\n\n"),
        format!("GET / HTTP/1.1\r\nHost: {authority}\r\nX: a\r\n b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {authority}\r\nX: a\0b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {authority}\r\nX: a\rb\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {authority}\r\nHost: {authority}\r\n\r\n"),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /#x HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
        format!(
            "GET http://{}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n",
            house.authority("b")
        ),
    ] {
        let mut wire = house.wire("a").await;
        wire.send(&raw).await.unwrap();
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 400, "{raw:?}");
    }
    let seen = house.a.seen().len();
    let mut wire = house.wire("a").await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {authority}\r\n{cookies}{OWN}Transfer-Encoding: chunked\r\n\r\n"
    );
    wire.send(format!("{head}5\nhello\r\n0\r\n\r\n"))
        .await
        .unwrap();
    if let Some(answer) = wire.answer().await {
        assert_eq!(answer.status, 400);
    }
    assert!(house.a.seen().len() <= seen + 1);
    house.close().await;
}

#[tokio::test]
async fn h1_h2_no_spelling_of_an_identity_header_arrives() {
    let house = House::open().await;
    let (mut browser, _) = alice(&house).await;
    let mut forged = String::new();
    for name in [
        "Remote-User",
        "remote_user",
        "REMOTE.USER",
        "Remote-Groups",
        "Remote_Email",
        "Remote-Name",
        "X-Forwarded-User",
        "X_Forwarded_User",
        "X.Forwarded.Groups",
        "X-User-Role",
        "X-User-Id",
        "X-Remote-Anything",
        "X-Portcullis-Assertion",
        "X_Portcullis_Anything",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Prefix",
        "Forwarded",
        "X-Real-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "CF-Access-Jwt-Assertion",
        "X-Auth-Request-User",
        "X-Authentik-Username",
        "X-WebAuth-User",
        "X-Original-URL",
        "X-Rewrite-URL",
        "Proxy",
        "X-Client-IP",
        "Fastly-Client-IP",
    ] {
        std::fmt::Write::write_fmt(
            &mut forged,
            format_args!("{name}: admin\r\n{name}: 6.6.6.6\r\n"),
        )
        .unwrap();
    }
    let answer = browser
        .send(&house, "a", "GET /forged", &format!("{OWN}{forged}"), "")
        .await;
    assert_eq!(answer.status, 200);
    let seen = house.a.last();
    assert_eq!(seen.header("remote-user"), Some("alice"));
    for (name, value) in &seen.headers {
        assert!(
            !value.contains("admin") && !value.contains("6.6.6.6"),
            "{name}: {value}"
        );
    }
    house.close().await;
}

#[tokio::test]
async fn h3_connection_cannot_nominate_ours_away() {
    let house = House::open().await;
    let (mut browser, _) = alice(&house).await;
    let lines = format!(
        "{OWN}Connection: keep-alive, Remote-User, X-Portcullis-Assertion, X-Forwarded-For, Cookie\r\n"
    );
    let answer = browser.send(&house, "a", "GET /", &lines, "").await;
    assert_eq!(answer.status, 200);
    let seen = house.a.last();
    assert_eq!(seen.header("remote-user"), Some("alice"));
    assert!(seen.header("x-portcullis-assertion").is_some());
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    house.close().await;
}

#[tokio::test]
async fn h12_large_heads_are_431() {
    let house = House::open().await;
    for lines in [
        format!("X-Large: {}\r\n", "x".repeat(9 << 10)),
        "X-Many: 1\r\n".repeat(200),
    ] {
        let mut wire = house.wire("a").await;
        wire.send(format!(
            "GET / HTTP/1.1\r\nHost: {}\r\n{lines}\r\n",
            house.authority("a")
        ))
        .await
        .unwrap();
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 431);
    }
    house.close().await;
}

#[tokio::test]
async fn c12_a_cookie_bomb_does_not_shut_the_portal() {
    let house = House::open().await;
    let bomb = (0..40)
        .map(|n| format!("bomb{n}={}", "x".repeat(700)))
        .collect::<Vec<_>>()
        .join("; ");
    let lines = format!("{OWN}Cookie: {bomb}\r\n");
    let answer = Browser::default()
        .send(&house, "auth", "GET /login", &lines, "")
        .await;
    assert_eq!(answer.status, 200, "28 kB of cookies that are not ours");
    house.close().await;
}

#[tokio::test]
async fn p5_p6_a_host_has_one_spelling_and_a_connection_one_host() {
    let house = House::open().await;
    let port = house.address.port();
    let (_, cookies) = alice(&house).await;
    for good in [
        format!("A.EXAMPLE.TEST:{port}"),
        format!("a.example.test.:{port}"),
    ] {
        let mut wire = house.wire("a").await;
        wire.send(format!(
            "GET / HTTP/1.1\r\nHost: {good}\r\n{cookies}{OWN}\r\n"
        ))
        .await
        .unwrap();
        assert_eq!(wire.answer().await.unwrap().status, 200, "{good}");
    }
    for bad in [
        "a.example.test:80@evil",
        "a..example.test",
        "",
        "a.example.test:x",
        "[::1",
    ] {
        let mut wire = house.wire("a").await;
        wire.send(format!(
            "GET / HTTP/1.1\r\nHost: {bad}\r\n{cookies}{OWN}\r\n"
        ))
        .await
        .unwrap();
        assert_eq!(wire.answer().await.unwrap().status, 400, "{bad}");
    }
    let mut wire = house.wire("a").await;
    wire.send(format!(
        "GET / HTTP/1.1\r\nHost: {}\r\n\r\n",
        house.authority("b")
    ))
    .await
    .unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 421);
    house.close().await;
}

#[tokio::test]
async fn p8_methods_that_are_no_requests() {
    let house = House::open().await;
    for method in [
        "CONNECT",
        "TRACE",
        "TRACK",
        "AVERYLONGMETHODNAMETHATNOBODYHASEVERSEEN",
    ] {
        let mut wire = house.wire("a").await;
        wire.send(format!(
            "{method} / HTTP/1.1\r\nHost: {}\r\n\r\n",
            house.authority("a")
        ))
        .await
        .unwrap();
        let status = wire.answer().await.expect("an answer").status;
        assert!([400, 405, 501].contains(&status), "{method}: {status}");
    }
    assert!(house.a.seen().is_empty());
    house.close().await;
}

#[tokio::test]
async fn p1_the_path_that_is_decided_on_is_the_one_that_is_forwarded() {
    use portcullis::config::{PathPattern, Policy, Rule};
    let house = House::with(|config| {
        let open = Rule {
            line: 1,
            paths: vec![PathPattern::Under("/public".to_owned())],
            policy: Policy::Open,
            ..Rule::default()
        };
        config.rules = vec![open].into();
    })
    .await;
    let mut stranger = Browser::default();
    assert_eq!(stranger.fetch(&house, "a", "/public/x").await.status, 200);
    let before = house.a.seen().len();
    for path in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public/..;/admin",
        "//admin",
        "/admin%00",
        "/public/%5c..%5cadmin",
        "/%61dmin",
        "/ADMIN",
        "/publican",
        "/public%2f..%2fadmin",
    ] {
        let answer = stranger.fetch(&house, "a", path).await;
        assert!(
            [400, 401].contains(&answer.status),
            "{path}: {}",
            answer.status
        );
    }
    assert_eq!(
        stranger.fetch(&house, "a", "/admin?x=/public").await.status,
        401,
        "p3"
    );
    assert_eq!(house.a.seen().len(), before);
    house.close().await;
}

#[tokio::test]
async fn p1_a_path_with_two_readings_leads_around_no_rule() {
    use portcullis::{
        config::{PathPattern, Policy, Rule},
        name::UserName,
    };
    let house = House::with(|config| {
        let only_bob = Rule {
            line: 1,
            paths: vec![PathPattern::Under("/admin".to_owned())],
            users: vec![UserName::parse("bob").unwrap()],
            policy: Policy::TwoFactor,
            ..Rule::default()
        };
        config.rules = vec![only_bob].into();
    })
    .await;
    let (mut alice, _) = alice(&house).await;
    assert_eq!(alice.fetch(&house, "a", "/other").await.status, 200);
    assert_eq!(alice.fetch(&house, "a", "/admin").await.status, 403);
    let before = house.a.seen().len();
    for path in ["/other/..%2fadmin", "/%2e%2e/admin", "/other/..;/admin"] {
        let answer = alice.fetch(&house, "a", path).await;
        assert!(
            [400, 403].contains(&answer.status),
            "{path}: {}",
            answer.status
        );
    }
    assert_eq!(house.a.seen().len(), before);
    house.close().await;
}

#[tokio::test]
async fn a_path_that_nothing_hangs_on_passes_as_it_came() {
    let house = House::open().await;
    let (mut browser, _) = alice(&house).await;
    browser
        .fetch(&house, "a", "/nodes/node-red%2Fdebug/..%2fx?a=%2F")
        .await;
    assert_eq!(
        house.a.last().line,
        "GET /nodes/node-red%2Fdebug/..%2fx?a=%2F HTTP/1.1"
    );
    house.close().await;
}

#[tokio::test]
async fn s4_bytes_after_a_declined_upgrade_are_a_new_request() {
    let house = House::open().await;
    let (_, cookies) = alice(&house).await;
    house
        .a
        .answer_next("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno");
    let mut wire = house.wire("a").await;
    let handshake = format!(
        "GET /socket HTTP/1.1\r\nHost: {host}\r\n{cookies}Origin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET /next HTTP/1.1\r\nHost: {host}\r\n\r\n",
        host = house.authority("a"),
        origin = house.origin("a"),
    );
    wire.send(&handshake).await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 200);
    if let Some(second) = wire.answer().await {
        assert_eq!(second.status, 401, "judged by itself, without a cookie");
    }
    assert!(house.a.seen().iter().all(|it| !it.line.contains("/next")));
    house.close().await;
}

#[tokio::test]
async fn s5_s6_s7_handshakes_that_are_none() {
    let house = House::open().await;
    let (mut browser, _) = alice(&house).await;
    let origin = house.origin("a");
    let base = format!("Origin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
    for (what, lines, body) in [
        (
            "a body",
            format!(
                "{base}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 2\r\n"
            ),
            "hi",
        ),
        (
            "version 7",
            format!(
                "{base}Sec-WebSocket-Version: 7\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            ),
            "",
        ),
        ("no key", format!("{base}Sec-WebSocket-Version: 13\r\n"), ""),
    ] {
        let before = house.a.seen().len();
        let answer = browser.send(&house, "a", "GET /s", &lines, body).await;
        assert!(
            [400, 426].contains(&answer.status),
            "{what}: {}",
            answer.status
        );
        assert_eq!(house.a.seen().len(), before, "{what}");
    }
    let lines = format!(
        "{OWN}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    );
    assert_eq!(
        browser.send(&house, "a", "GET /", &lines, "").await.status,
        200
    );
    assert_eq!(house.a.last().header("upgrade"), None);
    house.close().await;
}

#[tokio::test]
async fn s8_a_101_that_nobody_asked_for_is_502() {
    let house = House::open().await;
    let (mut browser, _) = alice(&house).await;
    house.a.answer_next(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    );
    let answer = browser.fetch(&house, "a", "/").await;
    assert_eq!(answer.status, 502);
    house.close().await;
}

#[tokio::test]
async fn h13_a_tenants_answer_speaks_for_nobody_else() {
    let house = House::open().await;
    let (mut browser, _) = alice(&house).await;
    house.a.answer_next(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nX-Portcullis-Assertion: forged\r\nSet-Cookie: __Host-portcullis=forged; Path=/; Secure\r\nSet-Cookie: x=1; Domain=example.test\r\nSet-Cookie: mine=1; Path=/\r\nClear-Site-Data: \"*\"\r\nStrict-Transport-Security: max-age=0\r\n\r\n",
    );
    let answer = browser.fetch(&house, "a", "/").await;
    let cookies: Vec<&str> = answer
        .all("set-cookie")
        .filter(|it| !it.starts_with("__Host-portcullis=ey"))
        .collect();
    assert_eq!(cookies, ["mine=1; Path=/"]);
    assert_eq!(answer.header("clear-site-data"), None);
    assert_eq!(answer.header("x-portcullis-assertion"), None);
    assert_eq!(
        answer.header("strict-transport-security"),
        Some("max-age=31536000")
    );
    house.close().await;
}

#[tokio::test]
async fn c9_c10_the_portal_takes_no_orders_from_siblings_and_is_not_framed() {
    let house = House::open().await;
    let mut browser = Browser::signed_in(&house, "alice").await;
    let body = "{}";
    for site in ["same-site", "cross-site"] {
        let lines = format!(
            "Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nOrigin: {}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n",
            house.origin("b")
        );
        for target in ["/.portcullis/api/v1/logout", "/.portcullis/api/v1/login"] {
            let answer = browser
                .send(&house, "auth", &format!("POST {target}"), &lines, body)
                .await;
            assert_eq!(answer.status, 403, "{site} {target}");
        }
    }
    assert_eq!(
        browser
            .fetch(&house, "auth", "/.portcullis/api/v1/session")
            .await
            .status,
        200
    );
    let page = browser.go(&house, "auth", "/account").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("frame-ancestors 'none'")
    );
    assert_eq!(
        page.header("cross-origin-opener-policy"),
        Some("same-origin")
    );
    house.close().await;
}
