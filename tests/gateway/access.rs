//! Who is let in, who is sent where.

use crate::support::{
    Browser, House,
    browser::{Mode, split},
};

#[tokio::test]
async fn a_stranger_is_sent_to_sign_in_and_comes_back_to_the_very_page() {
    let house = House::open().await;
    let mut browser = Browser::default();
    let sent = browser.go(&house, "a", "/deep/page?x=1&y=%2F").await;
    assert_eq!(sent.status, 302);
    assert_eq!(sent.header("cache-control"), Some("private, no-store"));
    let (label, target) = split(&house, "a", sent.header("location").unwrap());
    assert_eq!(label, "auth");
    assert!(target.starts_with("/login?state="), "{target}");

    let mut browser = Browser::signed_in(&house, "alice").await;
    let page = browser.visit(&house, "a", "/deep/page?x=1&y=%2F").await;
    assert_eq!((page.status, page.text().as_str()), (200, "ok"));
    assert_eq!(house.a.last().line, "GET /deep/page?x=1&y=%2F HTTP/1.1");
    house.close().await;
}

#[tokio::test]
async fn a_script_a_poll_and_a_socket_get_401_in_json() {
    let house = House::open().await;
    let mut browser = Browser::default();
    for target in ["/data.json", "/socket.io/?EIO=4&transport=polling"] {
        let answer = browser.fetch(&house, "a", target).await;
        assert_eq!(answer.status, 401, "{target}");
        assert_eq!(answer.json()["error"], "not_signed_in");
        assert!(
            answer.json()["login_url"]
                .as_str()
                .unwrap()
                .starts_with(&house.origin("auth"))
        );
    }
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = browser.send(&house, "a", "GET /comms", handshake, "").await;
    assert_eq!(answer.status, 401);
    assert!(house.a.seen().is_empty(), "nothing reached the tenant");
    house.close().await;
}

#[tokio::test]
async fn the_tenant_is_told_who_it_is_by_us_alone() {
    let house = House::open().await;
    let mut browser = Browser::signed_in(&house, "alice").await;
    browser.visit(&house, "a", "/").await;
    let seen = house.a.last();
    assert_eq!(seen.header("remote-user"), Some("alice"));
    assert_eq!(seen.header("remote-groups"), Some("staff"));
    assert_eq!(seen.header("remote-email"), Some("alice@example.test"));
    let assertion = seen.header("x-portcullis-assertion").unwrap();
    assert_eq!(assertion.split('.').count(), 3);
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    house.close().await;
}

#[tokio::test]
async fn c2_no_credential_of_ours_reaches_a_tenant() {
    let house = House::open().await;
    let mut browser = Browser::signed_in(&house, "alice").await;
    browser.visit(&house, "a", "/").await;
    browser.set_cookie(&house.host("a"), "theirs", "kept");
    let token = browser
        .cookie(&house.host("a"), "__Host-portcullis")
        .unwrap()
        .to_owned();
    browser.fetch(&house, "a", "/again").await;
    let seen = house.a.last();
    assert_eq!(seen.header("cookie"), Some("theirs=kept"));
    let all = format!("{:?}", house.a.seen());
    assert!(
        !all.contains(&token) && !all.contains("__Host-portcullis"),
        "{all}"
    );
    house.close().await;
}

#[tokio::test]
async fn c3_a_token_of_one_tenant_is_worth_nothing_elsewhere() {
    let house = House::open().await;
    let mut browser = Browser::signed_in(&house, "alice").await;
    browser.visit(&house, "a", "/").await;
    let token = browser
        .cookie(&house.host("a"), "__Host-portcullis")
        .unwrap()
        .to_owned();
    for label in ["b", "auth", "nobody"] {
        let mut thief = Browser::default();
        thief.set_cookie(&house.host(label), "__Host-portcullis", &token);
        let answer = thief
            .fetch(&house, label, "/.portcullis/api/v1/session")
            .await;
        assert_eq!(answer.status, 401, "{label}: {}", answer.text());
    }
    let mut thief = Browser::default();
    thief.set_cookie(&house.host("b"), "__Host-portcullis", &token);
    assert_eq!(thief.fetch(&house, "b", "/").await.status, 401);
    for line in [
        format!("Authorization: Bearer {token}\r\n"),
        format!("Cookie: x=1\r\nAuthorization: Bearer {token}\r\n"),
    ] {
        let answer = Browser::default()
            .get(&house, "a", "/", Mode::Fetch, &line)
            .await;
        assert_eq!(answer.status, 401, "a cookie's token is no Bearer");
    }
    assert!(house.b.seen().is_empty());
    house.close().await;
}

#[tokio::test]
async fn k2_a_cookie_from_before_log_out_is_dead_at_once_and_is_not_renewed() {
    let house = House::open().await;
    let mut browser = Browser::signed_in(&house, "alice").await;
    browser.visit(&house, "a", "/").await;
    let old = browser
        .cookie(&house.host("a"), "__Host-portcullis")
        .unwrap()
        .to_owned();
    let out = browser
        .post(
            &house,
            "auth",
            "/.portcullis/api/v1/logout",
            &serde_json::json!({}),
        )
        .await;
    assert!(out.status == 200 || out.status == 204, "{}", out.text());
    let mut replay = Browser::default();
    replay.set_cookie(&house.host("a"), "__Host-portcullis", &old);
    let answer = replay.fetch(&house, "a", "/").await;
    assert_eq!(answer.status, 401);
    assert!(
        answer
            .all("set-cookie")
            .all(|it| it.to_ascii_lowercase().contains("max-age=0")),
        "{answer:?}"
    );
    house.close().await;
}

#[tokio::test]
async fn b4_a_tenants_own_log_out_ends_that_hosts_part_alone() {
    let house = House::open().await;
    let mut browser = Browser::signed_in(&house, "alice").await;
    browser.visit(&house, "a", "/").await;
    browser.visit(&house, "b", "/").await;
    let out = browser
        .post(
            &house,
            "a",
            "/.portcullis/api/v1/logout",
            &serde_json::json!({}),
        )
        .await;
    assert!(out.status == 200 || out.status == 204, "{}", out.text());
    assert_eq!(browser.fetch(&house, "a", "/").await.status, 401);
    assert_eq!(browser.fetch(&house, "b", "/").await.status, 200);
    assert_eq!(
        browser
            .fetch(&house, "auth", "/.portcullis/api/v1/session")
            .await
            .status,
        200
    );
    house.close().await;
}

#[tokio::test]
async fn b1_a_siblings_page_cannot_act_with_the_users_cookie() {
    let house = House::open().await;
    let mut browser = Browser::signed_in(&house, "alice").await;
    browser.visit(&house, "a", "/").await;
    let before = house.a.seen().len();
    for (line, lines) in [
        (
            "GET /",
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n",
        ),
        (
            "GET /",
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n",
        ),
        (
            "GET /",
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n",
        ),
        (
            "GET /",
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
        ),
        (
            "POST /",
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nContent-Length: 0\r\n",
        ),
        (
            "POST /",
            "Origin: https://b.example.test\r\nContent-Length: 0\r\n",
        ),
    ] {
        let answer = browser.send(&house, "a", line, lines, "").await;
        assert_eq!(answer.status, 403, "{line} {lines}");
    }
    assert_eq!(house.a.seen().len(), before, "nothing reached the tenant");
    let follow =
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    assert_eq!(
        browser.send(&house, "a", "GET /", follow, "").await.status,
        200,
        "a link may be followed"
    );
    house.close().await;
}

#[tokio::test]
async fn a_stranger_cannot_tell_a_name_that_exists_from_one_that_does_not() {
    let house = House::open().await;
    let mut browser = Browser::default();
    let known = browser.go(&house, "a", "/x").await;
    let unknown = browser.go(&house, "nobody-there", "/x").await;
    assert_eq!((known.status, unknown.status), (302, 302));
    let names = |answer: &crate::support::Answer| {
        answer
            .headers
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&known), names(&unknown));
    let length = |answer: &crate::support::Answer| answer.header("location").unwrap().len();
    assert!(
        length(&known).abs_diff(length(&unknown)) < 32,
        "the states are of a length"
    );
    assert_eq!(browser.fetch(&house, "nobody-there", "/").await.status, 401);

    let mut alice = Browser::signed_in(&house, "alice").await;
    assert_eq!(alice.visit(&house, "nobody-there", "/x").await.status, 403);
    house.close().await;
}

#[tokio::test]
async fn plain_http_leads_to_tls() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let house = House::open().await;
    let mut plain = tokio::net::TcpStream::connect(house.gateway.http()[0])
        .await
        .unwrap();
    let request = format!(
        "GET /x?y=1 HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        house.host("a")
    );
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    crate::support::soon("an answer", plain.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 301"), "{answer}");
    let location = format!("location: {}/x?y=1", house.origin("a"));
    assert!(answer.contains(&location), "{answer}");
    house.close().await;
}

#[tokio::test]
async fn d12_metrics_are_not_on_the_public_side() {
    let house = House::open().await;
    let mut browser = Browser::default();
    for target in ["/metrics", "/health/ready"] {
        assert_ne!(browser.fetch(&house, "auth", target).await.status, 200);
        assert_eq!(browser.fetch(&house, "a", target).await.status, 401);
    }
    assert!(house.gateway.admin().unwrap().ip().is_loopback());
    house.close().await;
}

#[tokio::test]
async fn l1_a_code_works_once() {
    let house = House::open().await;
    let mut browser = Browser::signed_in(&house, "alice").await;
    let login =
        serde_json::json!({ "username": "alice", "password": crate::support::house::PASSWORD });
    let first = browser
        .post(&house, "auth", "/.portcullis/api/v1/login", &login)
        .await;
    let again =
        serde_json::json!({ "ticket": first.json()["ticket"], "code": house.code("alice", 0) });
    let answer = browser
        .post(&house, "auth", "/.portcullis/api/v1/login/totp", &again)
        .await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    house.close().await;
}

#[tokio::test]
async fn c8_a_half_done_login_is_no_session() {
    let house = House::open().await;
    let mut browser = Browser::default();
    let login =
        serde_json::json!({ "username": "alice", "password": crate::support::house::PASSWORD });
    let first = browser
        .post(&house, "auth", "/.portcullis/api/v1/login", &login)
        .await;
    assert_eq!(first.json()["state"], "second_factor");
    let ticket = first.json()["ticket"].as_str().unwrap().to_owned();
    for label in ["a", "auth"] {
        browser.set_cookie(&house.host(label), "__Host-portcullis", &ticket);
        assert_eq!(
            browser
                .fetch(&house, label, "/.portcullis/api/v1/session")
                .await
                .status,
            401
        );
    }
    assert_eq!(browser.fetch(&house, "a", "/").await.status, 401);
    house.close().await;
}

#[tokio::test]
async fn c1_a_cookie_that_came_twice_is_refused() {
    let house = House::open().await;
    let mut browser = Browser::signed_in(&house, "alice").await;
    browser.visit(&house, "a", "/").await;
    let mine = browser.cookies(&house.host("a"));
    let tossed = format!("{}; __Host-portcullis=attacker\r\n", mine.trim_end());
    let lines = format!(
        "{tossed}Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"
    );
    let answer = Browser::default()
        .send(&house, "a", "GET /", &lines, "")
        .await;
    assert_eq!(answer.status, 401);
    house.close().await;
}

#[tokio::test]
async fn b3_many_tabs_restored_at_once_all_land_where_they_were() {
    let house = House::open().await;
    let mut browser = Browser::signed_in(&house, "alice").await;
    let mut returns = Vec::new();
    for tab in 0..20 {
        let sent = browser.go(&house, "a", &format!("/tab/{tab}")).await;
        assert_eq!(sent.status, 302);
        returns.push(split(&house, "a", sent.header("location").unwrap()));
    }
    for (tab, (label, target)) in returns.into_iter().enumerate() {
        let page = browser.visit(&house, &label, &target).await;
        assert_eq!(page.status, 200, "tab {tab}: {}", page.text());
        assert_eq!(house.a.last().line, format!("GET /tab/{tab} HTTP/1.1"));
    }
    house.close().await;
}
