//! HTTP/2: the same house, and what its framing makes possible.

use tokio::io::AsyncWriteExt as _;

use crate::support::{
    Browser, House,
    browser::OWN,
    h2::{
        CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING,
        RST_STREAM, block, frame,
    },
    soon,
};

async fn alice(house: &House) -> (Browser, String) {
    let mut browser = Browser::signed_in(house, "alice").await;
    browser.enter(house, "a").await;
    let lines = format!("{}{OWN}", browser.cookies(&house.host("a")));
    (browser, lines)
}

#[tokio::test]
async fn who_is_signed_in_gets_through_over_http_2() {
    let house = House::open().await;
    let (_, lines) = alice(&house).await;
    let mut client = Client::open(&house, "a").await;
    let url = format!("{}/x?y=%2F", house.origin("a"));
    let answer = client.ask("GET", &url, &lines).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let seen = house.a.last();
    assert_eq!(seen.line, "GET /x?y=%2F HTTP/1.1");
    assert_eq!(seen.header("remote-user"), Some("alice"));
    assert_eq!(seen.header("cookie"), None);
    let sent = client.send("POST", &url, &lines, "hello").await.unwrap();
    assert_eq!(sent.status, 200);
    assert_eq!(house.a.last().body, b"hello");
    assert_eq!(client.ask("GET", &url, OWN).await.status, 401, "a stranger");
    house.close().await;
}

#[tokio::test]
async fn c1_cookies_in_several_fields_are_one_line_and_a_repeated_one_is_refused() {
    let house = House::open().await;
    let (browser, _) = alice(&house).await;
    let mut client = Client::open(&house, "a").await;
    let url = format!("{}/", house.origin("a"));
    let mine = browser.cookies(&house.host("a"));
    let split = mine.trim_end().replace("; ", "\r\nCookie: ");
    let split = format!("Cookie: x=1\r\n{split}\r\nCookie: y=2\r\n{OWN}");
    assert_eq!(client.ask("GET", &url, &split).await.status, 200);
    assert_eq!(house.a.last().header("cookie"), Some("x=1; y=2"));
    let tossed = format!("{split}Cookie: __Host-portcullis=attacker\r\n");
    assert_eq!(client.ask("GET", &url, &tossed).await.status, 401);
    house.close().await;
}

#[tokio::test]
async fn p6_a_connection_made_for_one_host_serves_no_other() {
    let house = House::open().await;
    let (_, lines) = alice(&house).await;
    let mut client = Client::open(&house, "a").await;
    for label in ["b", "auth", "nobody"] {
        let url = format!("{}/", house.origin(label));
        let answer = client.ask("GET", &url, &lines).await;
        assert_eq!(answer.status, 421, "{label}");
    }
    assert!(house.b.seen().is_empty());
    let url = format!("{}/", house.origin("a"));
    assert_eq!(client.ask("GET", &url, &lines).await.status, 200, "goes on");
    house.close().await;
}

/// So many header lines.
fn numbered(count: usize, value: &str) -> String {
    let lines: Vec<String> = (0..count).map(|n| format!("x-{n}: {value}\r\n")).collect();
    lines.concat()
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "a table of requests, one after another"
)]
async fn s9_what_could_be_read_in_two_ways_upstream_goes_no_further() {
    let house = House::open().await;
    let (browser, _) = alice(&house).await;
    let (authority, evil) = (house.authority("a"), house.authority("b"));
    let cookie = browser.cookies(&house.host("a"));
    let cookie = cookie.trim_start_matches("Cookie: ").trim_end();
    let head = |method: &'static str, path: &'static str| {
        vec![
            (":method", method),
            (":scheme", "https"),
            (":authority", authority.as_str()),
            (":path", path),
            ("cookie", cookie),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "empty"),
        ]
    };
    let with = |fields: Vec<(&'static str, &'static str)>| {
        let mut all: Vec<(&str, &str)> = head("POST", "/smuggled");
        all.extend(fields);
        all
    };
    let mut doubled = head("GET", "/smuggled");
    doubled.insert(1, (":method", "POST"));
    let mut late = head("GET", "/smuggled");
    let path = late.remove(3);
    late.push(path);
    let without = |name: &str| {
        let mut all = head("GET", "/smuggled");
        all.retain(|(it, _)| *it != name);
        all
    };
    let mut two_hosts = head("GET", "/smuggled");
    two_hosts.push(("host", &evil));
    for (what, fields, body) in [
        (
            "a line break in the path",
            head("GET", "/x\r\nGET /smuggled"),
            "",
        ),
        ("a space in the path", head("GET", "/x HTTP/1.1"), ""),
        ("no path at all", head("GET", ""), ""),
        ("a path that is none", head("GET", "smuggled"), ""),
        ("a method with a space", head("GET /smuggled", "/x"), ""),
        (
            "transfer-encoding",
            with(vec![("transfer-encoding", "chunked")]),
            "x",
        ),
        ("connection", with(vec![("connection", "close")]), "x"),
        ("upgrade", with(vec![("upgrade", "websocket")]), "x"),
        (
            "a length too long",
            with(vec![("content-length", "5")]),
            "x",
        ),
        (
            "a length too short",
            with(vec![("content-length", "1")]),
            "xyz",
        ),
        (
            "two lengths",
            with(vec![("content-length", "1"), ("content-length", "3")]),
            "x",
        ),
        (
            "a length that is none",
            with(vec![("content-length", "+1")]),
            "x",
        ),
        (
            "a line break in a value",
            with(vec![("x-a", "b\r\nremote-user: admin")]),
            "x",
        ),
        ("a zero in a value", with(vec![("x-a", "b\0c")]), "x"),
        (
            "a line break in a name",
            with(vec![("x-a: b\r\nremote-user", "admin")]),
            "x",
        ),
        ("a capital in a name", with(vec![("X-A", "b")]), "x"),
        ("a pseudo header twice", doubled, ""),
        ("a pseudo header after others", late, ""),
        ("an unknown pseudo header", with(vec![(":evil", "1")]), "x"),
        ("no method", without(":method"), ""),
        ("another host", two_hosts, ""),
    ] {
        let before = house.a.seen().len();
        let mut frames = Frames::open(&house, "a").await;
        let ending = if body.is_empty() { END_STREAM } else { 0 };
        let mut raw = frame(HEADERS, END_HEADERS | ending, 1, &block(&fields));
        if !body.is_empty() {
            raw.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
        }
        frames.send(&raw).await.unwrap();
        let fate = frames.fate(1).await;
        let passed = fate
            .as_ref()
            // 0x88 is `:status: 200`, indexed.
            .is_some_and(|it| it.kind == HEADERS && it.payload.first() == Some(&0x88));
        assert!(!passed, "{what}: {fate:?}");
        // A head may have gone up before the body turned out to be wrong; never a whole request.
        let news = house.a.seen().split_off(before);
        assert!(news.is_empty(), "{what}: {news:?}");
    }
    house.close().await;
}

#[tokio::test]
async fn p2_a_fragment_is_nobodys_over_http_2() {
    let house = House::open().await;
    let (_, lines) = alice(&house).await;
    let cookie = lines.lines().next().unwrap();
    let authority = house.authority("a");
    let head = block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", &authority),
        (":path", "/admin#/public"),
        ("cookie", cookie.trim_start_matches("Cookie: ")),
        ("sec-fetch-site", "same-origin"),
    ]);
    let mut frames = Frames::open(&house, "a").await;
    frames
        .send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head))
        .await
        .unwrap();
    frames.fate(1).await.unwrap();
    // What is decided on is what is forwarded, and it is neither half of two things.
    for seen in house.a.seen() {
        assert_eq!(seen.line, "GET /admin HTTP/1.1");
    }
    house.close().await;
}

#[tokio::test]
async fn h12_large_heads_are_refused_over_http_2_too() {
    let house = House::open().await;
    let (_, lines) = alice(&house).await;
    let url = format!("{}/", house.origin("a"));
    for (what, more) in [
        (
            "a large line",
            format!("x-large: {}\r\n", "x".repeat(9 << 10)),
        ),
        ("many lines", numbered(200, "1")),
        ("the same line many times", "x-many: 1\r\n".repeat(200)),
        ("1 MB in all", numbered(130, &"x".repeat(8000))),
    ] {
        let mut client = Client::open(&house, "a").await;
        let answer = client
            .send("GET", &url, &format!("{lines}{more}"), "")
            .await;
        if let Ok(answer) = answer {
            assert_eq!(answer.status, 431, "{what}");
        }
    }
    assert!(house.a.seen().is_empty());
    // A cookie line may be longer, as on HTTP/1.
    let mut client = Client::open(&house, "a").await;
    let bomb = format!("{lines}cookie: bomb={}\r\n", "x".repeat(20 << 10));
    assert_eq!(client.ask("GET", &url, &bomb).await.status, 200);
    house.close().await;
}

/// Whether somebody else is served meanwhile, again and again, until the attack is over.
async fn others_go_on(house: &House, lines: &str, attack: impl Future<Output = bool>) -> bool {
    let mut client = Client::open(house, "a").await;
    let url = format!("{}/fine", house.origin("a"));
    let mut attack = std::pin::pin!(attack);
    let mut stopped = None;
    loop {
        // One more after it is over.
        let last = stopped;
        tokio::select! {
            biased;
            answer = client.ask("GET", &url, lines) => assert_eq!(answer.status, 200),
            done = &mut attack, if stopped.is_none() => stopped = Some(done),
        }
        if let Some(stopped) = last {
            return stopped;
        }
    }
}

/// Sends piece after piece until the gateway ends the connection: `true`; or all are sent.
async fn until_stopped(frames: Frames, pieces: impl Iterator<Item = Vec<u8>>) -> bool {
    let Frames { mut to, mut from } = frames;
    let hearing = async {
        while let Some(frame) = from.frame().await {
            if frame.kind == GOAWAY {
                return;
            }
        }
    };
    let sending = async {
        for piece in pieces {
            if to.write_all(&piece).await.is_err() || to.flush().await.is_err() {
                return true;
            }
        }
        false
    };
    soon("the attack", async {
        tokio::select! {
            () = hearing => true,
            refused = sending => refused,
        }
    })
    .await
}

#[tokio::test]
async fn s10_streams_opened_and_reset_end_the_connection_and_nobody_else_notices() {
    let house = House::open().await;
    let (_, lines) = alice(&house).await;
    let authority = house.authority("a");
    let head = block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", &authority),
        (":path", "/"),
    ]);
    let frames = Frames::open(&house, "a").await;
    let resets = (0..20_000_u32).map(|n| {
        let stream = 2 * n + 1;
        let mut piece = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        piece.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        piece
    });
    let stopped = others_go_on(&house, &lines, until_stopped(frames, resets)).await;
    assert!(stopped, "twenty thousand resets were taken");
    house.close().await;
}

#[tokio::test]
async fn s10_h12_header_blocks_without_end_are_bounded() {
    let house = House::open().await;
    let (_, lines) = alice(&house).await;
    let frames = Frames::open(&house, "a").await;
    let piece = block(&[("x-more", &"x".repeat(8000))]);
    let start = frame(HEADERS, 0, 1, &block(&[(":method", "GET")]));
    let more = (0..4000).map(move |_| frame(CONTINUATION, 0, 1, &piece));
    let flood = std::iter::once(start).chain(more);
    let stopped = others_go_on(&house, &lines, until_stopped(frames, flood)).await;
    assert!(stopped, "32 MB of one head were taken");
    // The same in frames that hold next to nothing.
    let frames = Frames::open(&house, "a").await;
    let start = frame(HEADERS, 0, 1, &block(&[(":method", "GET")]));
    let flood = std::iter::once(start).chain((0..200_000).map(|_| frame(CONTINUATION, 0, 1, &[])));
    let stopped = others_go_on(&house, &lines, until_stopped(frames, flood)).await;
    assert!(stopped, "200,000 frames of one head were taken");
    house.close().await;
}

#[tokio::test]
async fn s10_a_flood_of_pings_holds_nobody_up() {
    let house = House::open().await;
    let (_, lines) = alice(&house).await;
    let frames = Frames::open(&house, "a").await;
    let batch: Vec<u8> = (0..100).flat_map(|_| frame(PING, 0, 0, &[7; 8])).collect();
    let flood = (0..200).map(move |_| batch.clone());
    others_go_on(&house, &lines, until_stopped(frames, flood)).await;
    house.close().await;
}

#[tokio::test]
async fn w2_a_stream_over_http_2_is_cut_with_its_session() {
    use crate::support::{Script, house::aim};
    let script = Script::start().await;
    let house = House::with(|config| aim(config, script.address)).await;
    let (mut browser, lines) = alice(&house).await;
    let mut client = Client::open(&house, "a").await;
    let url = format!("{}/events", house.origin("a"));
    let (answer, mut line) = tokio::join!(client.send("GET", &url, &lines, ""), async {
        let (mut line, _) = script.asked().await;
        line.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            .await
            .unwrap();
        browser.sign_out(&house).await;
        line
    });
    assert!(answer.is_err(), "reset, not ended as if all had come");
    assert!(line.is_cut().await);
    let again = client.send("GET", &url, &lines, "").await.unwrap();
    assert_eq!(
        again.status, 401,
        "k3: the same token on the same connection"
    );
    house.close().await;
}
