//! The parts of the way that are looked at by themselves: pure functions of bytes that never change.

use std::{
    collections::HashMap, fmt::Write as _, hint::black_box, net::SocketAddr, path::Path, sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use portcullis::{
    body::Body,
    clock::Timestamp,
    config::{self, SocketIo, SocketRules},
    forward::clean::{self, Rules},
    intake::{
        Arrival, IntakeFacts, Level, admit,
        wire::{Bounds, Wire},
    },
    name::{HostName, TenantId, UserId},
    route::{Claimed, Plan, RouteTable, Tighten},
    secret::SealingKey,
    socket::{
        Way,
        conversation::Terms,
        frame::{self, Opcode},
        guard::Guard,
        lane::{Lane, Mode},
        seal::{Owner, Sealer},
    },
    store::{KeyRecord, Store as _, sqlite::SqliteStore},
    token::{self, NewToken, Tokens, Use, Want},
};

/// One of them.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// Does it once.
    pub(crate) once: Box<dyn FnMut()>,
}

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const HOST: &str = "r42.example.net";
/// Tenants in the table.
const TENANTS: usize = 300;

/// All of them, with whatever they need made.
pub(crate) fn all() -> Vec<Part> {
    let tokens = tokens();
    let token = session_token(&tokens);
    vec![
        check_token(tokens, token.clone()),
        match_route(),
        scan_head(&request_text(&token)),
        admit_request(&token),
        clean_answer(),
        scan_frames(),
        inspect_packets(Way::Up, "inspect_packets_up"),
        inspect_packets(Way::Down, "inspect_packets_down"),
    ]
}

fn part(name: &'static str, once: impl FnMut() + 'static) -> Part {
    Part {
        name,
        once: Box::new(once),
    }
}

/// The signature, the claims, and whether they fit the place.
fn check_token(tokens: Tokens, token: String) -> Part {
    let (host, tenant) = (host(), TenantId::from("t1"));
    part("check_token", move || {
        let verified = tokens.verify_session(black_box(&token), NOW).unwrap();
        let want = Want {
            usage: Use::Cookie,
            host: &host,
            tenant: &tenant,
        };
        black_box(verified.claims().check(want, NOW).unwrap());
    })
}

/// Ten names out of three hundred, so that no single bucket of the table decides.
fn match_route() -> Part {
    let mut text = "root_domain = \"example.net\"\n".to_owned();
    for n in 0..TENANTS {
        let upstream = "http://127.0.0.1:1880";
        writeln!(
            text,
            "[[tenant]]\nhosts = [\"r{n}.example.net\"]\nupstreams = [\"{upstream}\"]"
        )
        .unwrap();
    }
    let none = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let loaded = config::parse(&text, Path::new("bench.toml"), &[], &none).unwrap();
    let claims = Claimed(HashMap::new());
    let table = RouteTable::build(Plan {
        config: &loaded.config,
        found: Vec::new(),
        claims: &claims,
    });
    let name = |n: usize| HostName::parse(&format!("r{}.example.net", n * 29)).unwrap();
    let hosts: Vec<HostName> = (0..10).map(name).collect();
    part("match_route", move || {
        for host in &hosts {
            black_box(table.find(black_box(host)));
        }
    })
}

/// A request's bytes before hyper reads them.
fn scan_head(text: &str) -> Part {
    let bytes = text.as_bytes().to_vec();
    let bounds = Bounds {
        head: 96 << 10,
        line: 8 << 10,
        lines: 100,
    };
    part("scan_head", move || {
        let mut wire = Wire::new(bounds);
        wire.feed(black_box(&bytes)).unwrap();
        black_box(&wire);
    })
}

/// From a request as hyper gives it to one without anything that only the gateway may say.
fn admit_request(token: &str) -> Part {
    let arrival = Arrival {
        peer: SocketAddr::from(([127, 0, 0, 1], 40_000)),
        local: SocketAddr::from(([127, 0, 0, 1], 443)),
        tls: Some(Some(host())),
    };
    let facts = IntakeFacts {
        trusted_proxies: Vec::new(),
        body: 0,
        header: 8 << 10,
        headers: 100,
        guarded: true,
        is_ours: |it| token::is_ours(it),
    };
    let text = request_text(token);
    let mut headers = HeaderMap::new();
    for (name, value) in text.lines().filter_map(|it| it.split_once(": ")) {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    part("rewrite_headers", move || {
        let mut raw = Request::new(Body::Empty);
        *raw.uri_mut() = Uri::from_static("/app/?page=1");
        *raw.headers_mut() = headers.clone();
        let mut inbound = admit(black_box(raw), &arrival, &facts).unwrap();
        inbound.strip(Level::Guarded, &[]);
        black_box(inbound);
    })
}

/// What a browser may not be told by a tenant.
fn clean_answer() -> Part {
    let rules = Rules::new(Level::Guarded, host(), true);
    let mut answer = Response::new(());
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1024"));
    headers.insert(header::ETAG, HeaderValue::from_static("W/\"400-18c\""));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=0"),
    );
    headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
    headers.append(
        header::SET_COOKIE,
        HeaderValue::from_static("uib=1; Path=/; HttpOnly"),
    );
    part("clean_answer", move || {
        let (mut head, ()) = black_box(answer.clone()).into_parts();
        clean::clean(&mut head, &rules);
        black_box(head);
    })
}

/// Sixteen frames of a plain WebSocket that came at once.
fn scan_frames() -> Part {
    let bytes = frames(Way::Up, &"x".repeat(80));
    let mut mode = Mode::Plain {
        max_frame: 16 << 20,
    };
    let mut lane = Lane::new(Way::Up, &mode);
    let mut out = Vec::new();
    part("scan_frames", move || {
        let run = lane.run(black_box(&bytes), &mut mode, &mut out).unwrap();
        assert_eq!(run.verbatim, bytes.len());
    })
}

/// Sixteen Socket.IO events that came at once.
fn inspect_packets(way: Way, name: &'static str) -> Part {
    let mut guard = Guard::open(Arc::new(terms()));
    let begin = [
        (Way::Down, r#"0{"sid":"abc"}"#),
        (Way::Up, "40/app,"),
        (Way::Down, r#"40/app,{"sid":"me"}"#),
    ];
    for (way, text) in begin {
        guard.text(way, text.as_bytes(), &mut Vec::new()).unwrap();
    }
    let mut mode = Mode::EngineIo(Box::new(guard));
    let event = match way {
        Way::Up => r#"42/app,["uiBuilderClient",{"topic":"t","payload":{"n":12,"text":"hello"}}]"#,
        Way::Down => {
            r#"42/app,["uiBuilder",{"topic":"t","payload":{"n":12,"text":"hello"}},"Q833prW"]"#
        }
    };
    let bytes = frames(way, event);
    let mut lane = Lane::new(way, &mode);
    let mut out = Vec::new();
    part(name, move || {
        out.clear();
        let mut at = 0;
        while at < bytes.len() {
            let run = lane
                .run(black_box(bytes.get(at..).unwrap()), &mut mode, &mut out)
                .unwrap();
            assert!(run.consumed > 0);
            at += run.consumed;
        }
    })
}

fn frames(way: Way, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..16 {
        frame::write(&mut out, way, Opcode::Text, text.as_bytes());
    }
    out
}

fn host() -> HostName {
    HostName::parse(HOST).unwrap()
}

/// The tokens of a gateway whose key is known.
fn tokens() -> Tokens {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&folder.path().join("bench.db"), NOW).unwrap();
    let key = SealingKey::from_bytes([7; 32]);
    let known = KeyRecord {
        id: "bench".to_owned(),
        kind: "session".to_owned(),
        sealed: key.seal("key", b"bench", &[3; 32]),
        created: NOW,
        retires: None,
    };
    store.add_key(&known).unwrap();
    Tokens::open(&mut store, &key, "https://auth.example.net", NOW).unwrap()
}

fn session_token(tokens: &Tokens) -> String {
    let new = NewToken {
        user: &UserId::from("5f0e7c52"),
        host: &host(),
        tenant: &TenantId::from("t1"),
        sid: "c2Vzc2lvbi1zZXNzaW9uLXNlc3Npb24tMQ",
        device: &[9; 32],
        generation: 1,
        level: 2,
        usage: Use::Cookie,
        login_exp: NOW.plus(Duration::from_hours(12)),
        auth_time: NOW,
        amr: &["pwd".to_owned(), "otp".to_owned(), "mfa".to_owned()],
    };
    tokens.issue_session(&new, Duration::from_mins(5), NOW)
}

/// What a browser sends.
fn request_text(token: &str) -> String {
    format!(
        "GET /app/?page=1 HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\naccept-language: en-GB,en;q=0.7\r\n\
         accept-encoding: gzip, deflate, br, zstd\r\nsec-fetch-dest: document\r\nsec-fetch-mode: navigate\r\nsec-fetch-site: same-origin\r\n\
         cookie: theme=dark; __Host-portcullis={token}; lang=en\r\nx-forwarded-for: 203.0.113.7\r\nremote-user: root\r\n\r\n"
    )
}

fn terms() -> Terms {
    let owner = Owner {
        host: &host(),
        tenant: &TenantId::from("t1"),
        user: Some(&UserId::from("alice")),
        login: Some([1; 32]),
    };
    let seal = Sealer::new(&SealingKey::from_bytes([7; 32])).for_owner(&owner);
    Terms::new(
        seal,
        "0a0b0c0d".to_owned(),
        None,
        &SocketIo::default(),
        &Tighten::default(),
        &SocketRules::default(),
    )
}
