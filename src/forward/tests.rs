//! Requests taken to a small upstream on this machine and back.

use std::{cell::RefCell, collections::VecDeque, net::SocketAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::LocalSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    authn::{Shown, fixture::identity},
    authz::{Ask, Decision, Fetch, Kind, Sight, decide},
    body::BodyError,
    clock::Clock,
    config::Limits,
    intake::{Arrival, Credentials, Forwarded, Level, path::Decided},
    name::HostName,
    route::{RouteTable, Routes, TenantSettings, Tighten},
    session::{Cell, Ended, fixture},
};

/// An upstream that answers each request with the next of its bytes, and remembers what it was
/// asked. Empty bytes: it says nothing.
struct Instance {
    address: SocketAddr,
    asked: Rc<RefCell<Vec<String>>>,
    connections: Rc<RefCell<usize>>,
}

impl Instance {
    async fn start(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Rc::new(RefCell::new(Vec::new()));
        let connections = Rc::new(RefCell::new(0));
        let answers: VecDeque<&str> = answers.iter().copied().collect();
        let answers = Rc::new(RefCell::new(answers));
        let (log, count) = (asked.clone(), connections.clone());
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *count.borrow_mut() += 1;
                tokio::task::spawn_local(serve(stream, answers.clone(), log.clone()));
            }
        });
        Self {
            address,
            asked,
            connections,
        }
    }

    fn upstream(&self) -> Upstream {
        Upstream {
            address: self.address,
            label: "instance".into(),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    answers: Rc<RefCell<VecDeque<&'static str>>>,
    asked: Rc<RefCell<Vec<String>>>,
) {
    let mut text = Vec::new();
    loop {
        while !text.windows(4).any(|it| it == b"\r\n\r\n") {
            if stream.read_buf(&mut text).await.unwrap_or(0) == 0 {
                return;
            }
        }
        asked
            .borrow_mut()
            .push(String::from_utf8(std::mem::take(&mut text)).unwrap());
        let Some(answer) = answers.borrow_mut().pop_front() else {
            return;
        };
        if let Some(last) = answer.strip_suffix("<close>") {
            stream.write_all(last.as_bytes()).await.unwrap();
            return;
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn pool() -> Rc<Pool> {
    Pool::new(&Limits::default(), TaskTracker::new())
}

fn pool_of_another_core() -> Rc<Pool> {
    pool()
}

fn route() -> HostRoute {
    HostRoute {
        pattern: "a.example.net".into(),
        tenant: "t".into(),
        changed_hands: false,
        owner: "o".into(),
        paths: vec![path("/", None)],
        settings: Arc::default(),
        rules: Arc::default(),
        guarded: true,
        path_matters: false,
        plain_http: false,
    }
}

fn path(text: &str, dest: Option<&str>) -> PathRoute {
    PathRoute {
        matches: PathMatch::parse(text).unwrap(),
        upstreams: Arc::default(),
        dest: dest.map(str::to_owned),
        tighten: Tighten::default(),
        internal: false,
    }
}

fn stamp(level: Level) -> Stamp {
    Stamp {
        level,
        who: None,
        assertion: None,
    }
}

fn ask(method: Method, target: &str) -> Inbound {
    Inbound {
        id: "the-id".to_owned(),
        arrival: Arrival {
            peer: ([9, 9, 9, 9], 999).into(),
            local: ([10, 0, 0, 1], 443).into(),
            tls: Some(None),
        },
        client: [9, 9, 9, 9].into(),
        https: true,
        host: HostName::parse("a.example.net").unwrap(),
        port: None,
        method,
        target: target.parse().unwrap(),
        path: crate::intake::path::decide(target.split('?').next().unwrap()).unwrap(),
        headers: HeaderMap::new(),
        forwarded: None,
        credentials: Credentials::default(),
        websocket: false,
        http2: false,
        body: Body::Empty,
        upgrade: None,
    }
}

async fn get(pool: &Rc<Pool>, at: &Instance) -> Result<Response<Body>, ForwardError> {
    carry(pool, at, ask(Method::GET, "/"), None).await
}

async fn carry(
    pool: &Rc<Pool>,
    at: &Instance,
    inbound: Inbound,
    vigil: Option<Vigil>,
) -> Result<Response<Body>, ForwardError> {
    let (route, path, upstream) = (route(), path("/", None), at.upstream());
    let errand = Errand {
        route: &route,
        path: &path,
        upstream: &upstream,
        stamp: stamp(Level::Guarded),
        vigil,
    };
    send(pool, errand, Box::new(inbound)).await
}

async fn text(response: Response<Body>) -> Result<String, BodyError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// A body that a test feeds.
fn fed() -> (mpsc::Sender<Result<Frame<Bytes>, BodyError>>, Body) {
    let (feed, mut pieces) = mpsc::channel(4);
    let stream = futures_util::stream::poll_fn(move |context| pieces.poll_recv(context));
    (feed, Body::stream(StreamBody::new(stream)))
}

fn piece(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

fn locally<T>(test: impl Future<Output = T> + 'static) -> Pin<Box<dyn Future<Output = T>>> {
    Box::pin(async { LocalSet::new().run_until(test).await })
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

#[tokio::test]
async fn a_connection_is_used_again_after_a_clean_answer() {
    locally(async {
        let at = Instance::start(&[FINE, FINE, "HTTP/1.1 204 No Content\r\n\r\n", FINE]).await;
        let pool = pool();
        for expected in ["fine", "fine", "", "fine"] {
            let response = get(&pool, &at).await.unwrap();
            assert_eq!(text(response).await.unwrap(), expected);
        }
        assert_eq!((*at.connections.borrow(), pool.idle()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_dead_connection_costs_nobody_a_request() {
    locally(async {
        let closing = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine<close>";
        let at = Instance::start(&[closing, FINE]).await;
        let pool = pool();
        assert_eq!(text(get(&pool, &at).await.unwrap()).await.unwrap(), "fine");
        tokio::task::yield_now().await;
        let mut post = ask(Method::POST, "/");
        post.body = Body::full("x");
        let response = carry(&pool, &at, post, None).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "fine");
        assert_eq!(*at.connections.borrow(), 2);
    })
    .await;
}

#[tokio::test]
async fn s12_a_connection_is_not_used_again_after_an_early_or_odd_answer() {
    locally(async {
        let longer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfineHTTP/1.1 200 OK\r\n\r\n";
        let at = Instance::start(&[longer, FINE]).await;
        let pool = pool();
        assert_eq!(text(get(&pool, &at).await.unwrap()).await.unwrap(), "fine");
        assert_eq!(text(get(&pool, &at).await.unwrap()).await.unwrap(), "fine");
        assert_eq!(*at.connections.borrow(), 2);

        let at = Instance::start(&["HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno"]).await;
        let mut post = ask(Method::POST, "/");
        let (feed, body) = fed();
        post.body = body;
        feed.send(Ok(piece("some"))).await.unwrap();
        let response = carry(&pool, &at, post, None).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "no");
        assert_eq!(pool.idle(), 1, "only the other instance's");

        let at =
            Instance::start(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfine<close>"]).await;
        assert!(text(get(&pool, &at).await.unwrap()).await.is_err());
        assert_eq!(pool.idle(), 1);
    })
    .await;
}

#[tokio::test]
async fn s8_nobody_switches_protocols_unasked() {
    locally(async {
        let switch =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
        let at = Instance::start(&[switch]).await;
        let error = get(&pool(), &at).await.unwrap_err();
        assert!(matches!(error, ForwardError::Switched), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_body_streams_both_ways() {
    locally(async {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";
        let at = Instance::start(&[chunked]).await;
        let pool = pool();
        let mut post = ask(Method::POST, "/up?x=1");
        let (feed, body) = fed();
        post.body = body;
        feed.send(Ok(piece("hello"))).await.unwrap();
        let mut response = carry(&pool, &at, post, None).await.unwrap();
        let first = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "one");
        assert!(at.asked()[0].starts_with("POST /up?x=1 HTTP/1.1\r\n"));
        drop(feed);
    })
    .await;
}

#[tokio::test]
async fn a_body_larger_than_the_limit_is_the_visitors_fault() {
    locally(async {
        let at = Instance::start(&[]).await;
        let limits = Limits {
            body: 8,
            ..Limits::default()
        };
        let pool = Pool::new(&limits, TaskTracker::new());
        let (feed, body) = fed();
        let mut post = ask(Method::POST, "/");
        post.body = body;
        feed.send(Ok(piece("123456"))).await.unwrap();
        feed.send(Ok(piece("789"))).await.unwrap();
        let error = carry(&pool, &at, post, None).await.unwrap_err();
        assert!(matches!(error, ForwardError::BodyTooLarge), "{error:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_stalls_is_ended() {
    locally(async {
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
        let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
        let at = Instance::start(&["", half, "", events]).await;
        let pool = pool();
        let error = get(&pool, &at).await.unwrap_err();
        assert!(matches!(error, ForwardError::ResponseTimeout), "{error:?}");

        assert!(text(get(&pool, &at).await.unwrap()).await.is_err());

        let mut post = ask(Method::POST, "/");
        let (feed, body) = fed();
        post.body = body;
        let error = carry(&pool, &at, post, None).await.unwrap_err();
        assert!(
            matches!(
                error,
                ForwardError::BodyStalled | ForwardError::ResponseTimeout
            ),
            "{error:?}"
        );
        drop(feed);

        let mut response = get(&pool, &at).await.unwrap();
        assert!(response.body_mut().frame().await.unwrap().is_ok());
        let day = Duration::from_hours(24);
        let silent = tokio::time::timeout(day, response.body_mut().frame()).await;
        assert!(silent.is_err(), "server-sent events may be silent");
    })
    .await;
}

/// A vigil over a login at an instance's host.
fn vigil(at: &Instance) -> (Arc<Cell>, Arc<Routes>, Vigil) {
    let cell = fixture::cell(&fixture::user("alice"), 2, "a.example.net", "t");
    let mut route = route();
    route.paths[0].upstreams = Arc::new([at.upstream()]);
    let route = Arc::new(route);
    let mut table = RouteTable::default();
    table
        .exact
        .insert(fixture::host("a.example.net"), Arc::clone(&route));
    let routes = Arc::new(Routes::default());
    routes.swap(table);
    let ask = Ask {
        host: fixture::host("a.example.net"),
        path: Decided::Plain("/".to_owned()),
        method: Method::GET,
        client: [9, 9, 9, 9].into(),
        kind: Kind::Request,
        fetch: Fetch::read(&HeaderMap::from_iter([(
            HeaderName::from_static("sec-fetch-site"),
            http::HeaderValue::from_static("same-origin"),
        )])),
        own_origin: "https://a.example.net".to_owned(),
    };
    let who = identity(&cell, "a.example.net", "t", Shown::Cookie);
    let Decision::Admit(permit) = decide(&route, None, ask, Ok(who), fixture::START) else {
        panic!("not admitted");
    };
    let sight = Sight {
        routes: Arc::clone(&routes),
        clock: Clock::held(fixture::START),
        draining: CancellationToken::new(),
    };
    let vigil = Vigil::new(permit, at.address, sight.into(), routes.epoch());
    (cell, routes, vigil)
}

#[tokio::test]
async fn an_answer_ends_with_its_session_even_when_it_is_silent() {
    locally(async {
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
        let at = Instance::start(&[half]).await;
        let (cell, _, vigil) = vigil(&at);
        let pool = pool();
        let inbound = ask(Method::GET, "/");
        let mut response = carry(&pool, &at, inbound, Some(vigil)).await.unwrap();
        let first = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "half");
        let body = response.body_mut();
        let (next, ()) = tokio::join!(body.frame(), async {
            tokio::task::yield_now().await;
            fixture::end(&cell, Ended::Revoked);
        });
        assert!(next.unwrap().is_err());
        assert_eq!(pool.idle(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_its_answer_ends_with_its_session() {
    locally(async {
        let at = Instance::start(&[""]).await;
        let (cell, _, vigil) = vigil(&at);
        let pool = pool();
        let inbound = ask(Method::GET, "/");
        let (outcome, ()) = tokio::join!(carry(&pool, &at, inbound, Some(vigil)), async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            fixture::end(&cell, Ended::Logout);
        });
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, ForwardError::Over(Over::Session(Ended::Logout))),
            "{error:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_upload_ends_when_its_tenant_is_gone() {
    locally(async {
        let at = Instance::start(&[""]).await;
        let (_, routes, vigil) = vigil(&at);
        let mut post = ask(Method::POST, "/");
        let (feed, body) = fed();
        post.body = body;
        feed.send(Ok(piece("some"))).await.unwrap();
        let pool = pool();
        let (outcome, ()) = tokio::join!(carry(&pool, &at, post, Some(vigil)), async {
            while at.asked().is_empty() {
                tokio::task::yield_now().await;
            }
            routes.swap(RouteTable::default());
        });
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, ForwardError::Over(Over::TenantGone)),
            "{error:?}"
        );
        drop(feed);
    })
    .await;
}

/// What an upstream is told, without the request line, sorted.
async fn told(mut inbound: Inbound, stamp: Stamp) -> Vec<String> {
    locally(async {
        let at = Instance::start(&[FINE]).await;
        let (route, path, upstream) = (route(), path("/", None), at.upstream());
        inbound.strip(stamp.level, &[]);
        let errand = Errand {
            route: &route,
            path: &path,
            upstream: &upstream,
            stamp,
            vigil: None,
        };
        send(&pool(), errand, Box::new(inbound)).await.unwrap();
        let mut lines: Vec<String> = at.asked()[0]
            .split("\r\n")
            .skip(1)
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    })
    .await
}

#[tokio::test]
async fn h1_h3_the_upstream_hears_who_it_is_from_us_alone() {
    let mut inbound = ask(Method::GET, "/");
    for (name, value) in [
        ("remote-user", "admin"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-user-role", "root"),
        ("connection", "close, Remote-User, X-Portcullis-Assertion"),
        ("accept", "*/*"),
        ("expect", "100-continue"),
    ] {
        inbound.headers.append(name, value.parse().unwrap());
    }
    let user = fixture::user("alice");
    let cell = fixture::cell(&user, 2, "a.example.net", "t");
    let stamp = Stamp {
        level: Level::Guarded,
        who: Some(cell.standing.load().profile.clone()),
        assertion: Some("the.assertion.x".parse().unwrap()),
    };
    assert_eq!(
        told(inbound, stamp).await,
        [
            "accept: */*",
            "forwarded: for=9.9.9.9;host=a.example.net;proto=https",
            "host: a.example.net",
            "remote-email: alice@example.net",
            "remote-groups: ops",
            "remote-name: ALICE",
            "remote-user: alice",
            "x-forwarded-for: 9.9.9.9",
            "x-forwarded-groups: ops",
            "x-forwarded-host: a.example.net",
            "x-forwarded-port: 443",
            "x-forwarded-proto: https",
            "x-forwarded-user: alice",
            "x-portcullis-assertion: the.assertion.x",
            "x-real-ip: 9.9.9.9",
            "x-request-id: the-id",
            "x-user-role: ops",
        ]
    );
}

#[tokio::test]
async fn an_open_host_hears_what_nginx_proxy_says() {
    let mut inbound = ask(Method::GET, "/x?y");
    inbound.arrival.local = ([0u16, 0, 0, 0, 0, 0, 0, 1], 8443).into();
    inbound.arrival.peer = "[::ffff:10.0.0.9]:1".parse().unwrap();
    inbound.forwarded = Some(Forwarded {
        chain: Some("9.9.9.9".to_owned()),
        ..Forwarded::default()
    });
    assert_eq!(
        told(inbound, stamp(Level::OpenMode)).await,
        [
            "host: a.example.net:8443",
            "x-forwarded-for: 9.9.9.9, 10.0.0.9",
            "x-forwarded-host: a.example.net",
            "x-forwarded-port: 8443",
            "x-forwarded-proto: https",
            "x-forwarded-ssl: on",
            "x-original-uri: /x?y",
            "x-real-ip: 9.9.9.9",
        ]
    );
}

#[test]
fn a_target_goes_up_as_it_came_unless_a_destination_replaces_its_prefix() {
    for (at, dest, asked, expected) in [
        ("/", None, "/a%2Fb?x=%zz", "/a%2Fb?x=%zz"),
        ("/app", Some("/"), "/app?q", "/?q"),
        ("/app/", Some("/"), "/app/x%20y", "/x%20y"),
        ("/app", Some("/new"), "/%61pp/x%23?a=b", "/new/x%23?a=b"),
        ("= /app", Some("/new"), "/app", "/new"),
    ] {
        let inbound = ask(Method::GET, asked);
        let target = aim::target(&path(at, dest), &inbound).unwrap();
        assert_eq!(target, expected, "{asked} at {at}");
    }
}

fn cleaned(level: Level, lines: &[(&str, &str)]) -> Vec<String> {
    let mut head = Response::new(()).into_parts().0;
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        head.headers.append(name, value.parse().unwrap());
    }
    let inbound = ask(Method::GET, "/");
    clean::clean(
        &mut head,
        &clean::Rules::of(&route(), &stamp(level), &inbound),
    );
    let mut left: Vec<String> = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    left.sort();
    left
}

#[test]
fn h13_a_tenant_speaks_for_itself_only() {
    let lines = [
        ("x-portcullis-assertion", "x"),
        ("set-cookie", "__Host-portcullis=x; Secure; Path=/"),
        ("set-cookie", " =__host-PORTCULLIS-login-1=x"),
        ("set-cookie", "x=1; Domain=example.net"),
        ("set-cookie", "x=2; domain = .Example.NET ; Path=/"),
        ("set-cookie", "x=3; Domain=a.example.net"),
        ("set-cookie", "x=4; Path=/; Domain="),
        ("set-cookie", "domain=example.net"),
        ("clear-site-data", "\"*\""),
        ("strict-transport-security", "max-age=0"),
        ("alt-svc", "h3=\":1\""),
        ("service-worker-allowed", "/"),
        ("keep-alive", "timeout=5"),
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("content-type", "text/html"),
    ];
    assert_eq!(
        cleaned(Level::Guarded, &lines),
        [
            "content-security-policy: frame-ancestors 'self'",
            "content-type: text/html",
            "cross-origin-resource-policy: same-origin",
            "set-cookie: domain=example.net",
            "set-cookie: x=3; Domain=a.example.net",
            "set-cookie: x=4; Path=/; Domain=",
            "strict-transport-security: max-age=31536000",
        ]
    );
}

#[test]
fn a_tenant_that_says_who_may_frame_it_is_believed() {
    let says = [
        (
            "content-security-policy",
            "default-src 'self'; Frame-Ancestors *",
        ),
        ("cross-origin-resource-policy", "cross-origin"),
    ];
    let left = cleaned(Level::Guarded, &says);
    assert_eq!(left.len(), 3, "{left:?}");
    let left = cleaned(Level::Guarded, &[("x-frame-options", "DENY")]);
    assert!(
        !left.iter().any(|it| it.starts_with("content-security")),
        "{left:?}"
    );
}

#[test]
fn an_answer_without_a_body_claims_no_length_but_one_to_head_does() {
    let inbound = ask(Method::HEAD, "/");
    let rules = clean::Rules::of(&route(), &stamp(Level::Guarded), &inbound);
    for (status, kept) in [(204, false), (304, false), (200, true)] {
        let mut head = Response::builder()
            .status(status)
            .body(())
            .unwrap()
            .into_parts()
            .0;
        head.headers.insert(header::CONTENT_LENGTH, 9.into());
        clean::clean(&mut head, &rules);
        assert_eq!(
            head.headers.contains_key(header::CONTENT_LENGTH),
            kept,
            "{status}"
        );
    }
}

#[test]
fn an_open_hosts_answers_are_its_own() {
    let lines = [
        ("set-cookie", "x=1; Domain=example.net"),
        ("set-cookie", "__Host-portcullis=x"),
        ("clear-site-data", "\"*\""),
        ("x-portcullis-x", "1"),
        ("strict-transport-security", "max-age=5"),
    ];
    assert_eq!(
        cleaned(Level::OpenHost, &lines),
        [
            "clear-site-data: \"*\"",
            "set-cookie: x=1; Domain=example.net",
            "strict-transport-security: max-age=5",
        ]
    );
    assert_eq!(cleaned(Level::OpenMode, &lines).len(), lines.len());
}

#[tokio::test]
async fn b2_service_workers_stay_where_they_may_be() {
    locally(async {
        let at = Instance::start(&[FINE]).await;
        let script = |target| {
            let mut inbound = ask(Method::GET, target);
            let value = http::HeaderValue::from_static("script");
            inbound.headers.insert("service-worker", value);
            inbound
        };
        let refused = carry(&pool(), &at, script("/.portcullis/x.js"), None).await;
        assert!(matches!(refused, Err(ForwardError::ServiceWorker)));
        assert!(carry(&pool(), &at, script("/sw.js"), None).await.is_ok());
        let mut route = route();
        route.settings = Arc::new(TenantSettings {
            service_workers: Some(false),
            ..TenantSettings::default()
        });
        let refused = refuse_service_worker(&route, &script("/sw.js"));
        assert!(matches!(refused, Err(ForwardError::ServiceWorker)));
    })
    .await;
}

#[test]
fn several_upstreams_take_turns_and_a_client_may_stick_to_one() {
    let mut route = path("/", None);
    let upstream = |port| Upstream {
        address: ([127, 0, 0, 1], port).into(),
        label: "u".into(),
    };
    let pool = pool();
    assert_eq!(pool.choose(&route, Choice::Turn), None);
    route.upstreams = Arc::new([upstream(1), upstream(2), upstream(3)]);
    let mut turns: Vec<u16> = (0..3)
        .map(|_| pool.choose(&route, Choice::Turn).unwrap().address.port())
        .collect();
    turns.sort_unstable();
    assert_eq!(turns, [1, 2, 3]);
    let client = Choice::Sticky([9, 9, 9, 9].into());
    let first = pool.choose(&route, client);
    assert!((0..9).all(|_| pool.choose(&route, client) == first));
    let another = pool_of_another_core();
    assert_eq!(
        another.choose(&route, client),
        first,
        "the same on every core"
    );
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

async fn shake(answer: &'static str, by_token: bool) -> (Result<Shaken, ForwardError>, String) {
    let at = Instance::start(&[answer]).await;
    let mut inbound = ask(Method::GET, "/ws");
    inbound.websocket = true;
    for (name, value) in [
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "mqtt, v2"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ] {
        inbound.headers.insert(name, value.parse().unwrap());
    }
    if by_token {
        inbound.credentials.subprotocol = Some("token".to_owned());
    }
    let (route, path, upstream) = (route(), path("/", None), at.upstream());
    let errand = Errand {
        route: &route,
        path: &path,
        upstream: &upstream,
        stamp: stamp(Level::Guarded),
        vigil: None,
    };
    let outcome = handshake(&pool(), errand, Box::new(inbound)).await;
    (outcome, at.asked().concat())
}

#[tokio::test]
async fn a_handshake_gives_both_ends() {
    locally(async {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: \
                      Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x01\x00";
        let (outcome, asked) = shake(switch, true).await;
        assert!(asked.contains("upgrade: websocket\r\n"), "{asked}");
        assert!(asked.contains("sec-websocket-protocol: mqtt, v2\r\n"), "{asked}");
        assert!(!asked.contains("extensions"), "{asked}");
        let Ok(Shaken::Open(opened)) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(opened.early, "\x01\x00");
        let headers = opened.answer.headers();
        assert_eq!(opened.answer.status(), 101);
        assert_eq!(headers["sec-websocket-accept"], ACCEPT);
        assert_eq!(headers["sec-websocket-protocol"], "portcullis");
        assert_eq!(headers["upgrade"], "websocket");
        let mut upstream = opened.upstream;
        assert!(upstream.write_all(b"\x81\x00").await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn s4_s6_an_upstream_that_refuses_opens_no_tunnel() {
    locally(async {
        for (answer, status) in [
            (FINE, 200),
            ("HTTP/1.1 400 Bad\r\nContent-Length: 4\r\n\r\nfine", 400),
            ("HTTP/1.1 426 No\r\nContent-Length: 4\r\n\r\nfine", 426),
        ] {
            let (outcome, _) = shake(answer, false).await;
            let Ok(Shaken::Refused(response)) = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(response.status(), status);
            assert_eq!(text(response).await.unwrap(), "fine");
        }
    })
    .await;
}

#[tokio::test]
async fn s8_a_switch_must_be_the_one_that_was_asked_for() {
    locally(async {
        for answer in [
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: other\r\n\r\n",
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        ] {
            let (outcome, _) = shake(answer, false).await;
            assert!(matches!(outcome, Err(ForwardError::Switched)), "{answer}: {outcome:?}");
        }
    })
    .await;
}
