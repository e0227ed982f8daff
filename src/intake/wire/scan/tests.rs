//! What the scan lets through and what it stops.

use proptest::prelude::*;

use super::*;

pub(crate) const BOUNDS: Bounds = Bounds {
    head: 4096,
    line: 1024,
    lines: 20,
};

fn verdict(bytes: &[u8]) -> Result<(), Malformed> {
    Wire::new(BOUNDS).feed(bytes).map_err(|it| it.why)
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").into_bytes()
}

/// Sends a body in chunks, and trailers.
fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

#[test]
fn honest_requests_pass_one_after_the_other() {
    let get = b"GET /a?b=%20#".strip_suffix(b"#").unwrap();
    let mut stream = [get, b" HTTP/1.1\r\nHost: a\r\nX:y\r\n\r\n"].concat();
    stream.extend(post("Content-Length: 5\r\n", "hello"));
    stream.extend(post("content-length:0  \r\n", ""));
    stream.extend(post(
        "Transfer-Encoding: Chunked\r\n",
        "5\r\nhello\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
    ));
    stream.extend(b"\r\nGET http://a/ HTTP/1.0\r\n\r\n");
    assert_eq!(verdict(&stream), Ok(()));
}

#[test]
fn h12_a_line_and_a_head_may_be_as_long_as_their_bounds() {
    let head = |target: usize, values: &[usize]| {
        let mut out = format!("GET /{} HTTP/1.1\r\nHost:a\r\n", "t".repeat(target - 1));
        for value in values {
            out.push_str("X:");
            out.push_str(&"v".repeat(*value));
            out.push_str("\r\n");
        }
        out.push_str("\r\n");
        verdict(out.as_bytes())
    };
    let most = BOUNDS.line - "X".len();
    assert_eq!(head(1, &[most]), Ok(()));
    assert_eq!(head(1, &[most + 1]), Err(Malformed::TooLarge));
    let target = BOUNDS.line - "GET ".len();
    assert_eq!(head(target, &[]), Ok(()));
    assert_eq!(head(target + 1, &[]), Err(Malformed::TooLarge));
    // Names, values and the target together.
    let rest = BOUNDS.head - "GET Hosta".len() - 3 * BOUNDS.line;
    assert_eq!(head(rest, &[most; 3]), Ok(()));
    assert_eq!(head(rest + 1, &[most; 3]), Err(Malformed::TooLarge));
}

#[test]
fn a_body_in_pieces_ends_where_it_says() {
    for (head, body) in [
        ("Content-Length: 10\r\n", [r#"{"a":"#, " 123}"]),
        (
            "Transfer-Encoding: chunked\r\n",
            ["a\r\n{\"a\":", " 123}\r\n0\r\n\r\n"],
        ),
    ] {
        let mut wire = Wire::new(BOUNDS);
        wire.feed(&post(head, "")).unwrap();
        for piece in body {
            wire.feed(piece.as_bytes()).unwrap();
        }
        wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(wire.feed(b"not a request").is_err(), "{head}");
    }
}

#[test]
fn a_chunks_size_is_digits_and_ends_with_a_whole_line() {
    for body in [
        "\r\n\r\n",
        "5z\nhello\r\n0\r\n\r\n",
        ";x\r\n\r\n",
        "z",
        "5\r5",
        "5;x\n",
    ] {
        assert_eq!(verdict(&chunked(body)), Err(Malformed::Framing), "{body:?}");
    }
    let sixteen = chunked("10\r\n{sixteen bytes!}\r\n0\r\n\r\n");
    assert_eq!(verdict(&sixteen), Ok(()));
    let most = "0".repeat(usize::try_from(SIZE).unwrap());
    let sized = |digits: &str| {
        let body = format!("{digits}\r\n\r\n");
        verdict(&chunked(&body))
    };
    assert_eq!(sized(&most), Ok(()));
    assert_eq!(sized(&format!("{most}0")), Err(Malformed::Framing));
}

#[test]
fn s3_every_trailer_costs_something_and_has_a_name() {
    let trailers = |lines: &str| {
        let body = format!("0\r\n{lines}\r\n");
        verdict(&chunked(&body))
    };
    // A byte for the name, and one for the line.
    let most = TRAILERS / 2;
    assert_eq!(trailers(&"a:\r\n".repeat(most)), Ok(()));
    assert!(trailers(&"a:\r\n".repeat(most + 1)).is_err());
    for bad in [": x\r\n", "a: \0\r\n", "a b: x\r\n"] {
        assert!(trailers(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_request_line_is_read_to_its_last_byte() {
    let line = |line: &str| verdict(format!("{line}\r\nHost: a\r\n\r\n").as_bytes());
    let method = "M".repeat(METHOD);
    assert_eq!(line(&format!("{method} / HTTP/1.1")), Ok(()));
    assert!(line(&format!("{method}M / HTTP/1.1")).is_err());
    for version in [
        "HTTP/1.",
        "HTTP/1.11",
        "HTTP/1.1 ",
        "HTTP/1.2",
        "HTTP/11",
        "HTTP/",
    ] {
        assert!(line(&format!("GET / {version}")).is_err(), "{version:?}");
    }
    let empty = |count: u8| "\r\n".repeat(count.into());
    assert_eq!(line(&format!("{}GET / HTTP/1.1", empty(EMPTY))), Ok(()));
    assert!(line(&format!("{}GET / HTTP/1.1", empty(EMPTY + 1))).is_err());
}

#[test]
fn s1_ambiguous_framing_is_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked \x0b\r\n",
        "Transfer-Encoding: chun ked\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5,5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: -0\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        assert_eq!(
            verdict(&post(fields, "")),
            Err(Malformed::Framing),
            "{fields:?}"
        );
    }
}

#[test]
fn s2_http_1_0_has_no_chunks() {
    let request = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(verdict(request), Err(Malformed::Framing));
}

#[test]
fn s3_chunks_are_framed_strictly() {
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(257));
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";x\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "0\r\nContent-Length: 3\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nHost: b\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\n\n",
        long.as_str(),
    ] {
        let request = chunked(body);
        assert_eq!(verdict(&request), Err(Malformed::Framing), "{body:?}");
    }
}

#[test]
fn s3_trailers_are_counted_alike_however_they_are_cut() {
    for (length, good) in [(5000, true), (8300, false)] {
        let trailer = format!("0\r\nX: {}\r\n\r\n", "a".repeat(length));
        let request = chunked(&trailer);
        let mut wire = Wire::new(BOUNDS);
        let in_pieces = request.chunks(1).all(|it| wire.feed(it).is_ok());
        assert_eq!((verdict(&request).is_ok(), in_pieces), (good, good));
    }
}

#[test]
fn h11_heads_are_framed_strictly() {
    for fields in [
        "X: a\rb\r\n",
        "X: a\0b\r\n",
        "X: a\nY: b\r\n",
        "X: a\r\n folded\r\n",
        "X: a\r\n\tfolded\r\n",
        "X : a\r\n",
        ": a\r\n",
        "X\r\n",
        "X\0: a\r\n",
        "X: a\r\r\n",
    ] {
        assert_eq!(
            verdict(&post(fields, "")),
            Err(Malformed::Framing),
            "{fields:?}"
        );
    }
    for head in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\n\r\n",
    ] {
        assert!(verdict(head.as_bytes()).is_err(), "{head:?}");
    }
}

#[test]
fn p2_p4_a_target_without_sense_is_refused() {
    for target in ["/a#b", "/a b", "/a\x01", "/a\tb", "/\x7f"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let why = verdict(head.as_bytes()).unwrap_err();
        assert!(
            matches!(why, Malformed::Target | Malformed::Framing),
            "{target:?}"
        );
    }
}

#[test]
fn p5_there_is_one_host() {
    let twice = post("Host: a\r\n", "");
    assert_eq!(verdict(&twice), Err(Malformed::Host));
    assert_eq!(verdict(&post("hOsT: b\r\n", "")), Err(Malformed::Host));
}

#[test]
fn p8_a_method_has_a_bound() {
    let long = format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(40));
    assert_eq!(verdict(long.as_bytes()), Err(Malformed::Method));
    let connect = b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(verdict(connect), Err(Malformed::Method));
    assert_eq!(verdict(b" / HTTP/1.1\r\n\r\n"), Err(Malformed::Method));
}

#[test]
fn h12_heads_have_bounds_and_cookies_a_wider_one() {
    let line = format!("X: {}\r\n", "a".repeat(1100));
    assert_eq!(verdict(&post(&line, "")), Err(Malformed::TooLarge));
    assert_eq!(
        verdict(&post(&"X: y\r\n".repeat(20), "")),
        Err(Malformed::TooLarge)
    );
    let target = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1100));
    assert_eq!(verdict(target.as_bytes()), Err(Malformed::TooLarge));
    let much = format!("X: {}\r\n", "a".repeat(900)).repeat(5);
    assert_eq!(verdict(&post(&much, "")), Err(Malformed::TooLarge));
    let cookie = |length| post(&format!("Cookie: {}\r\n", "a".repeat(length)), "");
    let wide = Bounds {
        head: 96 << 10,
        ..BOUNDS
    };
    assert!(Wire::new(wide).feed(&cookie(65_000)).is_ok());
    assert!(Wire::new(wide).feed(&cookie(66_000)).is_err());
}

#[test]
fn after_a_fault_nothing_is_in_order() {
    let mut wire = Wire::new(BOUNDS);
    assert!(wire.feed(b"GET /#").is_err());
    assert_eq!(wire.feed(b"GET / HTTP/1.1\r\n").unwrap_err().at, 0);
}

/// Pieces of requests, good and bad, so that random streams get far.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\n",
        "Host: b\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "\r\n",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "abc",
        "X: y\r\n",
        "\n",
        "\r",
        "#",
    ]);
    prop_oneof![
        8 => known.prop_map(|it| it.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #[test]
    fn a_stream_is_judged_alike_however_it_is_cut(
        pieces in prop::collection::vec(piece(), 0..24),
        cuts in prop::collection::vec(1..9usize, 1..40),
    ) {
        let stream = pieces.concat();
        let whole = Wire::new(BOUNDS).feed(&stream);
        let mut wire = Wire::new(BOUNDS);
        let mut rest = stream.as_slice();
        let mut cut = Ok(());
        for length in cuts.iter().cycle() {
            if rest.is_empty() || cut.is_err() {
                break;
            }
            let (now, later) = rest.split_at(rest.len().min(*length));
            cut = wire.feed(now);
            rest = later;
        }
        prop_assert_eq!(
            whole.map_err(|it| it.why),
            cut.map_err(|it| it.why)
        );
    }
}
