//! Requests and answers under way: streams, sizes, reuse, and the end of a session in the middle.

use std::{cell::Cell, sync::Arc};

use portcullis::{
    config::{Config, PathPattern, Policy, Rule},
    route::{PathMatch, PathRoute},
};

use crate::support::{
    Browser, House, Script, Wire,
    browser::OWN,
    house::{PASSWORD, aim},
    soon,
};

/// A house whose tenant `a` is played by the test, and Alice, who may go there.
async fn stage() -> (House, Script, Browser) {
    stage_with(|_| {}).await
}

async fn stage_with(change: impl FnOnce(&mut Config)) -> (House, Script, Browser) {
    let script = Script::start().await;
    let house = House::with(|config| {
        aim(config, script.address);
        change(config);
    })
    .await;
    let mut alice = Browser::signed_in(&house, "alice").await;
    alice.enter(&house, "a").await;
    (house, script, alice)
}

/// A connection on which a request of Alice's has been sent, up to the end of its head.
async fn ask(house: &House, alice: &Browser, line: &str, more: &str) -> Wire {
    let mut wire = house.wire("a").await;
    again(&mut wire, house, alice, line, more).await;
    wire
}

/// One more request on the same connection.
async fn again(wire: &mut Wire, house: &House, alice: &Browser, line: &str, more: &str) {
    let head = format!(
        "{line} HTTP/1.1\r\nHost: {}\r\n{}{OWN}{more}\r\n",
        house.authority("a"),
        alice.cookies(&house.host("a")),
    );
    wire.send(head).await.unwrap();
}

#[tokio::test]
async fn an_answer_to_head_keeps_its_length_and_has_no_body() {
    let (house, script, alice) = stage().await;
    let mut wire = ask(&house, &alice, "HEAD /big", "").await;
    let (mut line, head) = script.asked().await;
    assert_eq!(head.line, "HEAD /big HTTP/1.1");
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
        .await
        .unwrap();
    let answer = wire.answer_to(true).await.unwrap();
    assert_eq!(answer.header("content-length"), Some("1234"));
    // Both connections go on.
    again(&mut wire, &house, &alice, "GET /next", "").await;
    assert_eq!(line.head().await.line, "GET /next HTTP/1.1");
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await
        .unwrap();
    assert_eq!(wire.answer().await.unwrap().text(), "ok");
    house.close().await;
}

#[tokio::test]
async fn a_range_passes_both_ways() {
    let (house, script, alice) = stage().await;
    let mut wire = ask(&house, &alice, "GET /film", "Range: bytes=2-4\r\n").await;
    let (mut line, head) = script.asked().await;
    assert_eq!(head.header("range"), Some("bytes=2-4"));
    line.say("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/9\r\nAccept-Ranges: bytes\r\nContent-Length: 3\r\n\r\ncde")
        .await
        .unwrap();
    let answer = wire.answer().await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (206, "cde"));
    assert_eq!(answer.header("content-range"), Some("bytes 2-4/9"));
    house.close().await;
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_usable() {
    let (house, script, alice) = stage().await;
    let mut wire = ask(&house, &alice, "GET /0", "If-None-Match: \"x\"\r\n").await;
    let (mut line, head) = script.asked().await;
    assert_eq!(head.header("if-none-match"), Some("\"x\""));
    for (number, status) in ["304 Not Modified", "204 No Content", "304 Not Modified"]
        .into_iter()
        .enumerate()
    {
        line.say(format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\n\r\n"))
            .await
            .unwrap();
        let answer = wire.answer().await.unwrap();
        assert!(status.starts_with(&answer.status.to_string()));
        assert_eq!(answer.header("etag"), Some("\"x\""));
        let next = format!("GET /{}", number + 1);
        again(&mut wire, &house, &alice, &next, "").await;
        assert_eq!(line.head().await.line, format!("{next} HTTP/1.1"));
    }
    house.close().await;
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on_by_us_and_only_if_it_may() {
    let (house, script, alice) = stage().await;
    let expect = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    let stranger = Browser::default();
    let mut wire = ask(&house, &stranger, "POST /up", expect).await;
    assert_eq!(wire.head().await.unwrap().status, 401, "no body is wanted");

    let mut wire = ask(&house, &alice, "POST /up", expect).await;
    let (told, (mut line, head)) = tokio::join!(wire.head(), script.asked());
    assert_eq!(told.unwrap().status, 100);
    assert_eq!(head.header("expect"), None, "the tenant is not asked again");
    assert_eq!(head.header("content-length"), Some("5"));
    wire.send("hello").await.unwrap();
    assert_eq!(line.bytes(5).await, b"hello");
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await
        .unwrap();
    assert_eq!(wire.head().await.unwrap().status, 200);
    house.close().await;
}

#[tokio::test]
async fn chunks_pass_one_by_one_both_ways() {
    let (house, script, alice) = stage().await;
    let mut wire = ask(
        &house,
        &alice,
        "POST /both",
        "Transfer-Encoding: chunked\r\n",
    )
    .await;
    wire.send("3\r\none\r\n").await.unwrap();
    let (mut line, _) = script.asked().await;
    assert_eq!(
        line.chunk().await.unwrap(),
        b"one",
        "before the second is sent"
    );
    wire.send("3\r\ntwo\r\n").await.unwrap();
    assert_eq!(line.chunk().await.unwrap(), b"two");
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nun  \r\n")
        .await
        .unwrap();
    assert_eq!(wire.head().await.unwrap().status, 200);
    assert_eq!(wire.chunk().await.unwrap(), b"un  ");
    // s3: a visitor's trailers end here.
    wire.send("0\r\nX-Sum: 5\r\nRemote-User: admin\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(
        line.chunk().await.unwrap(),
        b"",
        "the end, and nothing after it"
    );
    line.say("4\r\ndeux\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(wire.chunk().await.unwrap(), b"deux");
    assert_eq!(wire.chunk().await.unwrap(), b"");
    house.close().await;
}

#[tokio::test]
async fn trailers_of_an_answer_pass_where_they_were_announced_and_wanted() {
    let (house, script, alice) = stage().await;
    let mut wire = ask(&house, &alice, "GET /t", "TE: trailers\r\n").await;
    let (mut line, _) = script.asked().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum, clear-site-data, x-portcullis-x\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\nclear-site-data: \"*\"\r\nx-portcullis-x: 1\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(wire.head().await.unwrap().status, 200);
    assert_eq!(wire.chunk().await.unwrap(), b"ok");
    assert_eq!(wire.chunk().await.unwrap(), b"");
    assert_eq!(wire.trailers().await, ["x-sum: 7"]);
    house.close().await;
}

#[tokio::test]
async fn w17_server_sent_events_stay_open_and_end_with_the_session() {
    let (house, script, mut alice) = stage().await;
    let mut wire = ask(
        &house,
        &alice,
        "GET /events",
        "Accept: text/event-stream\r\n",
    )
    .await;
    let (mut line, _) = script.asked().await;
    line.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
        .await
        .unwrap();
    assert_eq!(wire.head().await.unwrap().status, 200);
    assert_eq!(wire.chunk().await.unwrap(), b"data: 1\n\n");
    alice.sign_out(&house).await;
    assert_eq!(
        wire.chunk().await,
        None,
        "cut, not ended as if all had come"
    );
    assert!(line.is_cut().await, "and the tenant is rid of it too");
    house.close().await;
}

#[tokio::test]
async fn w2_nothing_of_a_download_passes_after_the_end() {
    let (house, script, mut alice) = stage().await;
    let mut wire = ask(&house, &alice, "GET /numbers", "").await;
    let (mut line, _) = script.asked().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(wire.head().await.unwrap().status, 200);
    let (said, heard, mark) = (Cell::new(0_u64), Cell::new(0_u64), Cell::new(u64::MAX));
    let saying = async {
        // Until the gateway hangs up.
        loop {
            said.set(said.get() + 1);
            let chunk = format!("8\r\n{:08}\r\n", said.get());
            if line.say(chunk).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let hearing = async {
        while let Some(chunk) = wire.chunk().await {
            let number: u64 = String::from_utf8(chunk).unwrap().parse().unwrap();
            assert_eq!(number, heard.get() + 1);
            heard.set(number);
        }
    };
    let ending = async {
        while heard.get() < 50 {
            tokio::task::yield_now().await;
        }
        alice.sign_out(&house).await;
        mark.set(said.get());
    };
    Box::pin(soon("the end", async {
        tokio::join!(saying, hearing, ending);
    }))
    .await;
    assert!(heard.get() <= mark.get(), "{heard:?} {mark:?}");
    house.close().await;
}

#[tokio::test]
async fn w2_nothing_of_an_upload_passes_after_the_end() {
    let (house, script, mut alice) = stage().await;
    let mut wire = ask(
        &house,
        &alice,
        "POST /numbers",
        "Transfer-Encoding: chunked\r\n",
    )
    .await;
    let (mut line, _) = script.asked().await;
    let (said, heard, mark) = (Cell::new(0_u64), Cell::new(0_u64), Cell::new(u64::MAX));
    let saying = async {
        loop {
            said.set(said.get() + 1);
            let chunk = format!("8\r\n{:08}\r\n", said.get());
            if wire.send(chunk).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let hearing = async {
        while let Some(chunk) = line.chunk().await {
            assert!(!chunk.is_empty(), "as if all had come");
            let number: u64 = String::from_utf8(chunk).unwrap().parse().unwrap();
            assert_eq!(number, heard.get() + 1);
            heard.set(number);
        }
    };
    let ending = async {
        while heard.get() < 50 {
            tokio::task::yield_now().await;
        }
        alice.sign_out(&house).await;
        mark.set(said.get());
    };
    Box::pin(soon("the end", async {
        tokio::join!(saying, hearing, ending);
    }))
    .await;
    assert!(heard.get() <= mark.get(), "{heard:?} {mark:?}");
    house.close().await;
}

#[tokio::test]
async fn w2_a_request_that_waits_for_its_answer_ends_with_the_session() {
    let (house, script, mut alice) = stage().await;
    let mut wire = ask(&house, &alice, "GET /slow", "").await;
    let (mut line, _) = script.asked().await;
    alice.sign_out(&house).await;
    let answer = wire.answer().await.unwrap();
    assert_eq!(answer.status, 401);
    assert!(line.is_cut().await);
    house.close().await;
}

#[tokio::test]
async fn a_connection_to_a_tenant_is_used_again() {
    let (house, script, alice) = stage().await;
    let mut wire = ask(&house, &alice, "GET /0", "").await;
    let (mut line, _) = script.asked().await;
    for number in 1..4 {
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await
            .unwrap();
        assert_eq!(wire.answer().await.unwrap().text(), "ok");
        // Another visitor's connection, too.
        wire = ask(&house, &alice, &format!("GET /{number}"), "").await;
        assert_eq!(line.head().await.line, format!("GET /{number} HTTP/1.1"));
    }
    house.close().await;
}

#[tokio::test]
async fn s12_an_answer_before_the_request_is_over_ends_the_connection() {
    let (house, script, alice) = stage().await;
    let mut wire = ask(&house, &alice, "POST /early", "Content-Length: 10\r\n").await;
    wire.send("12345").await.unwrap();
    let (mut line, _) = script.asked().await;
    assert_eq!(line.bytes(5).await, b"12345");
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
        .await
        .unwrap();
    assert_eq!(wire.answer().await.unwrap().text(), "early");
    assert!(line.is_cut().await, "never used again");
    let mut other = ask(&house, &alice, "GET /after", "").await;
    let (mut fresh, head) = script.asked().await;
    assert_eq!(head.line, "GET /after HTTP/1.1");
    fresh
        .say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await
        .unwrap();
    assert_eq!(other.answer().await.unwrap().text(), "ok");
    house.close().await;
}

#[tokio::test]
async fn s12_an_answer_longer_or_shorter_than_it_says_ends_the_connection() {
    let (house, script, alice) = stage().await;
    // Longer: what is left over is nobody's answer.
    let mut wire = ask(&house, &alice, "GET /long", "").await;
    let (mut line, _) = script.asked().await;
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        .await
        .unwrap();
    assert_eq!(wire.answer().await.unwrap().text(), "ok");
    let mut other = ask(&house, &alice, "GET /next", "").await;
    let (mut fresh, _) = script.asked().await;
    fresh
        .say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean")
        .await
        .unwrap();
    assert_eq!(other.answer().await.unwrap().text(), "clean");
    // Shorter: the visitor must see that not all came.
    let mut short = ask(&house, &alice, "GET /short", "").await;
    assert_eq!(fresh.head().await.line, "GET /short HTTP/1.1");
    fresh
        .say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        .await
        .unwrap();
    drop(fresh);
    let answer = short.answer().await.unwrap();
    assert_eq!(answer.header("content-length"), Some("9"));
    assert!(answer.body.len() < 9);
    assert!(short.is_hung_up().await);
    house.close().await;
}

#[tokio::test]
async fn a_body_larger_than_is_let_through_is_413() {
    let (house, script, alice) = stage_with(|config| config.limits.body = 1000).await;
    let (alone, answer) = script
        .is_left_alone(async {
            let mut wire = ask(&house, &alice, "POST /up", "Content-Length: 1001\r\n").await;
            wire.answer().await.unwrap()
        })
        .await;
    assert_eq!(answer.status, 413);
    assert!(alone, "its length was told beforehand");
    let mut wire = ask(&house, &alice, "POST /up", "Transfer-Encoding: chunked\r\n").await;
    let body = format!("3e8\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(1000));
    wire.send(body).await.unwrap();
    let (mut line, _) = script.asked().await;
    assert_eq!(wire.answer().await.unwrap().status, 413);
    // Whatever arrived of it, it did not end as if all had come.
    while let Some(chunk) = line.chunk().await {
        assert!(!chunk.is_empty());
    }
    house.close().await;
}

#[tokio::test]
async fn an_open_path_is_forwarded_as_nobodys_even_to_who_is_signed_in() {
    let (house, script, alice) = stage_with(|config| {
        let open = Rule {
            line: 1,
            paths: vec![PathPattern::Under("/public".to_owned())],
            policy: Policy::Open,
            ..Rule::default()
        };
        config.rules = vec![open].into();
    })
    .await;
    let forged = "Remote-User: admin\r\nX-Portcullis-Assertion: x.y.z\r\n";
    let mut wire = ask(&house, &alice, "GET /public/x", forged).await;
    let (mut line, head) = script.asked().await;
    for name in [
        "remote-user",
        "remote-groups",
        "remote-email",
        "x-forwarded-user",
        "x-user-role",
        "x-portcullis-assertion",
        "cookie",
    ] {
        assert_eq!(head.header(name), None, "{name}");
    }
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await
        .unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 200);
    house.close().await;
}

#[tokio::test]
async fn b1_origins_that_the_file_allows_may_call_and_others_may_not() {
    const FRIEND: &str = "https://friend.example";
    let (house, script, alice) = stage_with(|config| {
        Arc::make_mut(&mut config.tenants[0]).allow_origins = vec![FRIEND.to_owned()];
    })
    .await;
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /api HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-one\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n\r\n",
            house.authority("a")
        )
    };
    let (alone, (allowed, other)) = script
        .is_left_alone(async {
            let mut wire = house.wire("a").await;
            wire.send(preflight(FRIEND)).await.unwrap();
            let allowed = wire.answer().await.unwrap();
            wire.send(preflight("https://evil.example")).await.unwrap();
            (allowed, wire.answer().await.unwrap())
        })
        .await;
    assert!(alone, "preflights are answered here");
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(FRIEND));
    assert_eq!(
        allowed.header("access-control-allow-credentials"),
        Some("true")
    );
    assert_eq!(allowed.header("access-control-allow-methods"), Some("PUT"));
    assert_eq!(other.status, 401);
    assert_eq!(other.header("access-control-allow-origin"), None);

    let cookies = alice.cookies(&house.host("a"));
    let call = |origin: &str| {
        format!(
            "PUT /api HTTP/1.1\r\nHost: {}\r\n{cookies}Origin: {origin}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nContent-Length: 0\r\n\r\n",
            house.authority("a")
        )
    };
    let mut wire = house.wire("a").await;
    wire.send(call(FRIEND)).await.unwrap();
    let (mut line, head) = script.asked().await;
    assert_eq!(head.header("remote-user"), Some("alice"));
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: *\r\n\r\nok")
        .await
        .unwrap();
    let answer = wire.answer().await.unwrap();
    let origins: Vec<&str> = answer.all("access-control-allow-origin").collect();
    assert_eq!(origins, [FRIEND]);
    wire.send(call("https://evil.example")).await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 403);
    house.close().await;
}

#[tokio::test]
async fn a_path_of_a_host_may_lead_to_another_container_and_be_rewritten() {
    let (house, script, alice) = stage().await;
    let other = Script::start().await;
    house.reroute("a", |route| {
        let mut upstream = route.paths[0].upstreams[0].clone();
        upstream.address = other.address;
        route.paths.push(PathRoute {
            matches: PathMatch::Prefix {
                text: "/api/".to_owned(),
                no_regex: false,
            },
            upstreams: vec![upstream].into(),
            dest: Some("/v2/".to_owned()),
            ..route.paths[0].clone()
        });
        route.path_matters = true;
    });
    for (asked, seen, at) in [
        ("/api/x?y=%2F", "/v2/x?y=%2F", &other),
        ("/apix", "/apix", &script),
        ("/", "/", &script),
    ] {
        let mut wire = ask(&house, &alice, &format!("GET {asked}"), "").await;
        let (mut line, head) = at.asked().await;
        assert_eq!(head.line, format!("GET {seen} HTTP/1.1"));
        line.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
    // p9: on such a host a path with two readings goes nowhere.
    for ambiguous in ["/api/../x", "/api%2f..", "/api/%2e%2e/x", "//api/x"] {
        let mut wire = ask(&house, &alice, &format!("GET {ambiguous}"), "").await;
        assert_eq!(wire.answer().await.unwrap().status, 400, "{ambiguous}");
    }
    house.close().await;
}

#[tokio::test]
async fn c13_what_is_renewed_or_refused_is_kept_by_no_cache() {
    // Past half its life the token is renewed in passing.
    let (house, script, alice) = stage_with(|config| {
        config.session.token = std::time::Duration::from_secs(1);
    })
    .await;
    let stranger = Browser::default();
    let mut wire = ask(&house, &stranger, "GET /page", "").await;
    let refused = wire.answer().await.unwrap();
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("cache-control"), Some("private, no-store"));
    let mut tries = 0;
    loop {
        let mut wire = ask(&house, &alice, "GET /page", "").await;
        let (mut line, _) = script.asked().await;
        line.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: public, max-age=600\r\n\r\n")
            .await
            .unwrap();
        let answer = wire.answer().await.unwrap();
        if answer.header("set-cookie").is_none() {
            tries += 1;
            assert!(tries < 2000, "never renewed");
            continue;
        }
        let kept = answer.header("cache-control").unwrap();
        assert!(
            kept.contains("private") || kept.contains("no-store"),
            "with a cookie in it: {kept}"
        );
        break;
    }
    house.close().await;
}

#[tokio::test]
async fn h5_wrong_passwords_count_by_the_peers_own_address() {
    let house = House::with(|config| config.login.max_failures = 3).await;
    let mut browser = Browser::default();
    let mut locked = false;
    for guess in 0..20 {
        let body = serde_json::json!({ "username": "alice", "password": format!("wrong {guess}") })
            .to_string();
        let lines = format!(
            "{OWN}X-Forwarded-For: 9.9.9.{guess}\r\nForwarded: for=9.9.8.{guess}\r\nX-Real-IP: 9.9.7.{guess}\r\nConnection: X-Forwarded-For\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
        let answer = browser
            .send(
                &house,
                "auth",
                "POST /.portcullis/api/v1/login",
                &lines,
                &body,
            )
            .await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some());
            locked = true;
            break;
        }
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
    assert!(
        locked,
        "h4: naming the header in Connection changes nothing"
    );
    let login = serde_json::json!({ "username": "alice", "password": PASSWORD });
    let answer = browser
        .post(&house, "auth", "/.portcullis/api/v1/login", &login)
        .await;
    assert_eq!(answer.status, 429, "also with the right one");
    house.close().await;
}
