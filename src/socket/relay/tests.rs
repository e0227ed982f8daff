//! Relays over pipes in memory, under real vigils.

use std::{net::SocketAddr, sync::Arc};

use http::Method;
use prometheus_client::metrics::family::Family;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    authn::{self, Shown},
    authz::{self, Ask, Decision, Fetch, Sight},
    clock::{Clock, Timestamp},
    config::SocketMode,
    intake::path::Decided,
    name::TenantId,
    route::{HostRoute, PathMatch, PathRoute, RouteTable, Routes, Tighten, Upstream},
    session::{self, Ended, fixture},
    socket::{
        conversation::{Terms, tests::terms_of},
        frame::{self, Opcode},
        guard::Guard,
        pace::tests::pace,
    },
};

const HOST: &str = "r1.example.net";
const TENANT: &str = "t1";

/// A gateway with one tenant, one login and one socket between two ends that the test holds.
struct Stage {
    clock: Clock,
    cell: Arc<session::Cell>,
    routes: Arc<Routes>,
    draining: CancellationToken,
    metrics: Metrics,
    rules: SocketRules,
    touched: Cell<u32>,
    /// How often the upstream was written to.
    writes: Cell<u32>,
    /// Whether what is written to it is never known to have gone out.
    stuck: Cell<bool>,
    /// What each side said before the relay began.
    said: [Bytes; 2],
}

/// A leg whose writes are counted, and whose flushes may be stuck.
struct Counted<'a>(DuplexStream, &'a Cell<u32>, &'a Cell<bool>);

impl AsyncRead for Counted<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, into)
    }
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        this.1.set(this.1.get() + 1);
        Pin::new(&mut this.0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.2.get() {
            return Poll::Pending;
        }
        Pin::new(&mut this.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

fn upstream() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1880))
}

fn table(tenant: &str, address: SocketAddr) -> (Arc<HostRoute>, RouteTable) {
    let route = Arc::new(HostRoute {
        pattern: HOST.into(),
        tenant: TenantId::from(tenant),
        changed_hands: false,
        owner: "p".into(),
        paths: vec![PathRoute {
            matches: PathMatch::Prefix {
                text: "/".to_owned(),
                no_regex: false,
            },
            upstreams: [Upstream {
                address,
                label: "c".into(),
            }]
            .into(),
            dest: None,
            tighten: Tighten::default(),
            internal: false,
        }],
        settings: Arc::default(),
        rules: Arc::default(),
        guarded: true,
        path_matters: false,
        plain_http: false,
    });
    let mut table = RouteTable::default();
    table.exact.insert(fixture::host(HOST), Arc::clone(&route));
    (route, table)
}

impl Stage {
    fn set() -> Self {
        let routes = Arc::new(Routes::default());
        routes.swap(table(TENANT, upstream()).1);
        Self {
            clock: Clock::held(fixture::START),
            cell: fixture::cell(&fixture::user("alice"), 2, HOST, TENANT),
            routes,
            draining: CancellationToken::new(),
            metrics: Metrics::new(),
            rules: SocketRules::default(),
            touched: Cell::default(),
            writes: Cell::default(),
            stuck: Cell::default(),
            said: [const { Bytes::new() }; 2],
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn vigil(&self) -> Vigil {
        let (route, _) = table(TENANT, upstream());
        let ask = Ask {
            host: fixture::host(HOST),
            path: Decided::Plain("/".to_owned()),
            method: Method::GET,
            client: "192.0.2.7".parse().unwrap(),
            kind: authz::Kind::Socket,
            fetch: Fetch {
                site: None,
                present: false,
                top_level: false,
                origin: Some(format!("https://{HOST}")),
            },
            own_origin: format!("https://{HOST}"),
        };
        let identity = authn::fixture::identity(&self.cell, HOST, TENANT, Shown::Cookie);
        let path = route.paths.first();
        let decision = authz::decide(&route, path, ask, Ok(identity), self.now());
        let Decision::Admit(permit) = decision else {
            panic!("{decision:?}");
        };
        let sight = Sight {
            routes: Arc::clone(&self.routes),
            clock: self.clock.clone(),
            draining: self.draining.clone(),
        };
        Vigil::new(permit, upstream(), sight.into(), self.routes.epoch())
    }

    /// Runs a relay with `test` at both its ends.
    async fn play<F>(&self, mode: Mode, pipe: usize, test: impl FnOnce(End2, End2) -> F) -> End
    where
        F: Future<Output = ()>,
    {
        let (client, client_leg) = duplex(pipe);
        let (server, server_leg) = duplex(pipe);
        let [said_up, said_down] = self.said.clone();
        let setting = Setting {
            rules: &self.rules,
            touch_every: Duration::from_mins(1),
            login_url: "https://auth.example.net/login",
            metrics: &self.metrics,
        };
        let client_leg = Leg {
            io: client_leg,
            read: said_up,
        };
        let server_leg = Leg {
            io: Counted(server_leg, &self.writes, &self.stuck),
            read: said_down,
        };
        let relay = relay(client_leg, server_leg, self.vigil(), mode, &setting, |_| {
            self.touched.set(self.touched.get() + 1);
        });
        let client = End2::new(client, Way::Up);
        let server = End2::new(server, Way::Down);
        let (end, ()) = tokio::join!(relay, test(client, server));
        end
    }
}

fn counted(family: &Family<Kind, Counter>, kind: &str) -> u64 {
    let kind = kind.to_owned();
    family.get_or_create(&Kind { kind }).get()
}

/// The two ends, who sends that `way` first.
fn in_order(way: Way, client: End2, server: End2) -> (End2, End2) {
    match way {
        Way::Up => (client, server),
        Way::Down => (server, client),
    }
}

fn plain() -> Mode {
    Mode::Plain {
        max_frame: 16 << 20,
    }
}

fn engine() -> Mode {
    Mode::EngineIo(Box::new(Guard::open(Arc::new(terms_of("alice", 1)))))
}

/// One end of a socket: what it sends goes `way`.
struct End2 {
    io: DuplexStream,
    way: Way,
    inbox: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Close(u16),
    Gone,
}

impl End2 {
    fn new(io: DuplexStream, way: Way) -> Self {
        Self {
            io,
            way,
            inbox: Vec::new(),
        }
    }

    async fn say(&mut self, text: &str) {
        self.send(Opcode::Text, text.as_bytes()).await;
    }

    async fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut out = Vec::new();
        frame::write(&mut out, self.way, opcode, payload);
        self.io.write_all(&out).await.unwrap();
    }

    async fn hear(&mut self) -> Heard {
        let from = match self.way {
            Way::Up => Way::Down,
            Way::Down => Way::Up,
        };
        loop {
            if let Some(header) = frame::parse(&self.inbox, from).unwrap()
                && header.total() <= self.inbox.len()
            {
                let mut plain = Vec::new();
                frame::unmask_into(&header, header.payload(&self.inbox), &mut plain);
                self.inbox.drain(..header.total());
                return match header.opcode {
                    Opcode::Text => Heard::Text(String::from_utf8(plain).unwrap()),
                    Opcode::Close => Heard::Close(u16::from_be_bytes([plain[0], plain[1]])),
                    Opcode::Continuation | Opcode::Binary | Opcode::Ping | Opcode::Pong => {
                        Heard::Binary(plain)
                    }
                };
            }
            let mut buffer = [0; 4096];
            match self.io.read(&mut buffer).await {
                Ok(0) | Err(_) => return Heard::Gone,
                Ok(read) => self.inbox.extend_from_slice(&buffer[..read]),
            }
        }
    }

    async fn hears(&mut self, text: &str) {
        assert_eq!(self.hear().await, Heard::Text(text.to_owned()));
    }

    /// Hears everything until the connection is gone: the close frame, and the notice or not.
    async fn hears_the_end(&mut self, told: bool) {
        let mut heard = Vec::new();
        while heard.last() != Some(&Heard::Gone) {
            heard.push(self.hear().await);
        }
        let notice = Heard::Text(NOTICE.to_owned());
        assert_eq!(heard.contains(&notice), told, "{heard:?}");
        assert!(heard.contains(&Heard::Close(1008)));
    }

    /// Opens the Engine.IO connection and a namespace, from this upstream's side.
    async fn opens(&mut self, client: &mut Self) {
        self.say(r#"0{"sid":"abc"}"#).await;
        assert!(
            matches!(client.hear().await, Heard::Text(it) if it.starts_with(r#"0{"sid":"abc."#))
        );
        client.say(r#"40/app,{"user":{"userId":"admin"}}"#).await;
        self.hears("40/app,{}").await;
        self.say(r#"40/app,{"sid":"me"}"#).await;
        client.hears(r#"40/app,{"sid":"me"}"#).await;
    }
}

const NOTICE: &str = r#"42/app,["uiBuilderControl",{"uibuilderCtrl":"session invalid","from":"server","reason":"revoked","login_url":"https://auth.example.net/login","_auth":{"userValidated":false}}]"#;

#[tokio::test(start_paused = true)]
async fn w17_a_plain_websocket_talks_and_closes() {
    let stage = Stage::set();
    let open = stage.metrics.sockets.clone();
    let end = stage
        .play(plain(), 64, |mut client, mut server| async move {
            client.say("hello").await;
            server.hears("hello").await;
            assert_eq!(open.get(), 1);
            let large = vec![9; 200_000];
            tokio::join!(server.send(Opcode::Binary, &large), async {
                assert_eq!(client.hear().await, Heard::Binary(large.clone()));
            });
            client.send(Opcode::Close, &1000u16.to_be_bytes()).await;
            assert_eq!(server.hear().await, Heard::Close(1000));
            server.send(Opcode::Close, &1000u16.to_be_bytes()).await;
            assert_eq!(client.hear().await, Heard::Close(1000));
            assert_eq!(client.hear().await, Heard::Gone);
        })
        .await;
    assert_eq!(end, End::Closed);
    assert_eq!(stage.metrics.sockets.get(), 0);
    assert_eq!(counted(&stage.metrics.frames, "passed"), 2);
}

#[tokio::test(start_paused = true)]
async fn w17_a_silent_plain_websocket_is_closed_with_its_session() {
    let stage = Stage::set();
    let cell = Arc::clone(&stage.cell);
    let end = stage
        .play(plain(), 1024, |mut client, mut server| async move {
            client.say("hello").await;
            server.hears("hello").await;
            fixture::end(&cell, Ended::Logout);
            assert_eq!(client.hear().await, Heard::Close(1008));
            assert_eq!(server.hear().await, Heard::Close(1008));
            assert_eq!(server.hear().await, Heard::Gone);
        })
        .await;
    assert_eq!(end, End::Over(Over::Session(Ended::Logout)));
}

#[tokio::test(start_paused = true)]
async fn w6_w7_socket_io_is_told_and_disconnected_on_both_sides() {
    let stage = Stage::set();
    let cell = Arc::clone(&stage.cell);
    stage
        .play(engine(), 4096, |mut client, mut server| async move {
            server.opens(&mut client).await;
            fixture::end(&cell, Ended::Revoked);
            client.hears(NOTICE).await;
            client.hears("41/app,").await;
            assert_eq!(client.hear().await, Heard::Close(1008));
            server.hears("41/app,").await;
            assert_eq!(server.hear().await, Heard::Close(1008));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_the_transport_only() {
    let stage = Stage::set();
    let draining = stage.draining.clone();
    let end = stage
        .play(engine(), 4096, |mut client, mut server| async move {
            server.opens(&mut client).await;
            draining.cancel();
            assert_eq!(client.hear().await, Heard::Close(1001));
            assert_eq!(server.hear().await, Heard::Close(1001));
        })
        .await;
    assert_eq!(end, End::Over(Over::Draining));
}

#[tokio::test(start_paused = true)]
async fn w5_a_tenant_that_is_gone_or_another_closes_and_an_equal_table_does_not() {
    for (tenant, address, code) in [
        ("t1", SocketAddr::from(([127, 0, 0, 1], 9)), 1001),
        ("t2", upstream(), 1008),
    ] {
        let stage = Stage::set();
        let routes = Arc::clone(&stage.routes);
        stage
            .play(plain(), 4096, |mut client, mut server| async move {
                routes.swap(table(TENANT, upstream()).1);
                client.say("still").await;
                server.hears("still").await;
                routes.swap(table(tenant, address).1);
                assert_eq!(client.hear().await, Heard::Close(code));
                assert_eq!(server.hear().await, Heard::Close(code));
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn w3_a_session_past_its_time_ends_the_socket_at_its_next_frame() {
    let stage = Stage::set();
    let clock = stage.clock.clone();
    let end = stage
        .play(plain(), 4096, |mut client, mut server| async move {
            server.say("before").await;
            client.hears("before").await;
            clock.advance(Duration::from_hours(13));
            server.say("after").await;
            assert_eq!(client.hear().await, Heard::Close(1008));
            assert_eq!(server.hear().await, Heard::Close(1008));
        })
        .await;
    assert_eq!(end, End::Over(Over::Session(Ended::LoginExpired)));
}

#[tokio::test(start_paused = true)]
async fn w21_what_is_not_in_the_grammar_is_not_relayed_and_closes() {
    for bad in [
        "42/other,[\"a\"]",
        "2/app, 1[",
        "40/a/../b,",
        "bAAAA",
        "42/app,[1]",
    ] {
        let stage = Stage::set();
        stage
            .play(engine(), 4096, |mut client, mut server| async move {
                server.opens(&mut client).await;
                client.say(bad).await;
                assert_eq!(client.hear().await, Heard::Close(1008));
                assert_eq!(server.hear().await, Heard::Close(1008));
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_in_one_go_goes_on_in_one_go_changed_or_not() {
    let stage = Stage::set();
    let writes = &stage.writes;
    stage
        .play(engine(), 1 << 16, |mut client, mut server| async move {
            server.opens(&mut client).await;
            let before = writes.get();
            let plain = r#"42/app,["mine",1]"#;
            let told = r#"42/app,["uiBuilderClient",{"_client":{"userId":"admin"},"n":1}]"#;
            let heard = r#"42/app,["uiBuilderClient",{"n":1}]"#;
            let said = [told, plain, told, told, plain];
            let mut all = Vec::new();
            for text in said {
                frame::write(&mut all, Way::Up, Opcode::Text, text.as_bytes());
            }
            client.io.write_all(&all).await.unwrap();
            for text in said {
                server.hears(if text == told { heard } else { plain }).await;
            }
            assert_eq!(writes.get() - before, 1);
            // What stands before a message that is refused goes on.
            frame::write(&mut all, Way::Up, Opcode::Text, b"42/app,[");
            client.io.write_all(&all).await.unwrap();
            for text in said {
                server.hears(if text == told { heard } else { plain }).await;
            }
            assert_eq!(server.hear().await, Heard::Close(1008));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn w10_a_refused_namespace_is_answered_by_us() {
    let mut terms = terms_of("alice", 1);
    terms.namespaces = vec![vec!["/app".to_owned()]];
    let mode = Mode::EngineIo(Box::new(Guard::open(Arc::new(terms))));
    let stage = Stage::set();
    stage
        .play(mode, 4096, |mut client, mut server| async move {
            server.opens(&mut client).await;
            let asked = Instant::now();
            client.say("40/other,").await;
            assert!(matches!(client.hear().await, Heard::Text(it) if it.starts_with("44/other,{")));
            assert_eq!(asked.elapsed(), Duration::ZERO, "it waits for nothing else");
            client.say("42/app,[\"a\"]").await;
            server.hears("42/app,[\"a\"]").await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_falls_over_closes_the_client_with_1001() {
    let stage = Stage::set();
    let end = stage
        .play(plain(), 4096, |mut client, server| async move {
            drop(server);
            assert_eq!(client.hear().await, Heard::Close(1001));
        })
        .await;
    assert_eq!(end, End::UpstreamGone);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_neither_reads_nor_answers_holds_nothing_up() {
    let stage = Stage::set();
    let cell = Arc::clone(&stage.cell);
    let started = Instant::now();
    stage
        .play(plain(), 64, |mut client, server| async move {
            // The server reads nothing: the client's frames fill the pipes.
            for _ in 0..3 {
                client.say(&"x".repeat(50)).await;
            }
            fixture::end(&cell, Ended::Disabled);
            assert_eq!(client.hear().await, Heard::Close(1008));
            assert_eq!(client.hear().await, Heard::Gone);
            drop(server);
        })
        .await;
    assert!(started.elapsed() <= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn w3_an_open_socket_counts_as_use_and_under_session_only_what_a_person_sends() {
    for (idle, silent) in [(SocketIdle::Absolute, 5), (SocketIdle::Session, 0)] {
        let mut stage = Stage::set();
        stage.rules.idle = idle;
        stage
            .play(engine(), 4096, |mut client, mut server| async move {
                server.opens(&mut client).await;
                for _ in 0..11 {
                    tokio::time::advance(Duration::from_secs(30)).await;
                    server.say("2").await;
                    client.hears("2").await;
                    client.say("3").await;
                    server.hears("3").await;
                }
            })
            .await;
        // (Opening the namespace was the person's page, once.)
        assert_eq!(stage.touched.get(), silent + 1, "{idle:?}");
    }
}

/// Numbered streams in both directions at once; the session ends in the midst of them.
async fn numbers(mode: Mode, prefix: &str, pipe: usize) {
    let stage = Stage::set();
    let cell = Arc::clone(&stage.cell);
    let is_engine = matches!(mode, Mode::EngineIo(_));
    stage
        .play(mode, pipe, |mut client, mut server| async move {
            if is_engine {
                server.opens(&mut client).await;
            }
            let sent = Cell::new(usize::MAX);
            let over = Cell::new(false);
            let (client_in, client_out) = tokio::io::split(client.io);
            let (server_in, server_out) = tokio::io::split(server.io);
            let stream = |mut out: tokio::io::WriteHalf<DuplexStream>, way| {
                let (sent, over, cell) = (&sent, &over, &cell);
                async move {
                    for number in 0..1000usize {
                        if way == Way::Up && number == 300 {
                            fixture::end(cell, Ended::Logout);
                            over.set(true);
                            sent.set(number);
                        }
                        let mut bytes = Vec::new();
                        let late = if over.get() { "late" } else { "" };
                        let text = format!("{prefix}[\"n\",\"{late}\",{number}]");
                        frame::write_text(&mut bytes, way, &text);
                        if out.write_all(&bytes).await.is_err() {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                    out
                }
            };
            let listen = |mut io: tokio::io::ReadHalf<DuplexStream>, from| async move {
                let (mut all, mut buffer, mut next) = (Vec::new(), [0; 512], 0);
                loop {
                    match io.read(&mut buffer).await {
                        Ok(0) | Err(_) => break,
                        Ok(read) => all.extend_from_slice(&buffer[..read]),
                    }
                }
                let mut closed = None;
                let mut at = 0;
                while let Some(header) = frame::parse(&all[at..], from).unwrap() {
                    let mut plain = Vec::new();
                    frame::unmask_into(&header, header.payload(&all[at..]), &mut plain);
                    assert!(at + header.total() <= all.len(), "a frame was cut");
                    at += header.total();
                    if header.opcode == Opcode::Close {
                        closed = Some(u16::from_be_bytes([plain[0], plain[1]]));
                        continue;
                    }
                    let text = String::from_utf8(plain).unwrap();
                    if text.contains("[\"n\"") {
                        assert!(!text.contains("late"), "sent after the end: {text}");
                        assert!(text.ends_with(&format!(",{next}]")), "{text} {next}");
                        next += 1;
                    }
                }
                assert_eq!(closed, Some(1008));
                next
            };
            let (client_heard, server_heard, _, _) = tokio::join!(
                listen(client_in, Way::Down),
                listen(server_in, Way::Up),
                stream(client_out, Way::Up),
                stream(server_out, Way::Down),
            );
            assert!(server_heard <= sent.get());
            assert!(client_heard > 0 && server_heard > 0);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_passes_after_the_end() {
    for pipe in [70, 512, 8192] {
        numbers(plain(), "", pipe).await;
        numbers(engine(), "42/app,", pipe).await;
    }
}

#[tokio::test(start_paused = true)]
async fn w16_who_reads_nothing_is_closed_and_who_reads_slowly_is_not() {
    for way in [Way::Down, Way::Up] {
        let stage = Stage::set();
        let started = Instant::now();
        let end = stage
            .play(plain(), 64, |mut client, mut server| async move {
                server.say("heard").await;
                client.hears("heard").await;
                let (talks, silent) = match way {
                    Way::Down => (&mut server, &mut client),
                    Way::Up => (&mut client, &mut server),
                };
                let mut long = Vec::new();
                frame::write(&mut long, way, Opcode::Text, &[b'x'; 10_000]);
                // A little every fifty seconds, ten minutes long; then nothing more.
                let slowly = async {
                    for _ in 0..12 {
                        sleep(Duration::from_secs(50)).await;
                        silent.io.read_exact(&mut [0; 10]).await.unwrap();
                    }
                };
                // (What is left may be taken and thrown away, or not be taken any more.)
                let _ = tokio::join!(talks.io.write_all(&long), slowly);
                let _ = talks.io.read_to_end(&mut Vec::new()).await;
            })
            .await;
        assert_eq!(end, End::Unread(way));
        let took = started.elapsed();
        assert!(took > Duration::from_mins(11), "{took:?}");
        assert!(took < Duration::from_mins(12), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn w16_what_never_goes_out_is_not_read_either() {
    let stage = Stage::set();
    stage.stuck.set(true);
    let end = stage
        .play(plain(), 256, |mut client, mut server| async move {
            client.say("heard").await;
            server.hears("heard").await;
            assert_eq!(client.hear().await, Heard::Close(1001));
            let _ = client.io.read_to_end(&mut Vec::new()).await;
        })
        .await;
    assert_eq!(end, End::Unread(Way::Up));
}

#[tokio::test(start_paused = true)]
async fn what_either_side_said_before_the_relay_began_is_judged_and_goes_first() {
    let mut stage = Stage::set();
    stage.said = [Way::Up, Way::Down].map(|way| {
        let mut said = Vec::new();
        frame::write(&mut said, way, Opcode::Text, b"first");
        said.into()
    });
    let end = stage
        .play(plain(), 256, |mut client, mut server| async move {
            client.say("then").await;
            server.say("then").await;
            for end in [&mut client, &mut server] {
                end.hears("first").await;
                end.hears("then").await;
                end.send(Opcode::Close, &1000u16.to_be_bytes()).await;
            }
            for end in [&mut client, &mut server] {
                assert_eq!(end.hear().await, Heard::Close(1000));
            }
        })
        .await;
    assert_eq!(end, End::Closed);
}

#[test]
fn every_end_has_a_name_and_some_are_limits() {
    let grammar = Refused::Grammar("x");
    for (end, name, limit) in [
        (End::Closed, "closed", None),
        (End::ClientGone, "client_gone", None),
        (End::UpstreamGone, "upstream_gone", None),
        (End::Over(Over::Session(Ended::Logout)), "logout", None),
        (End::Over(Over::Token), "token", None),
        (End::Over(Over::Policy), "policy", None),
        (End::Over(Over::TenantChanged), "tenant_changed", None),
        (End::Over(Over::TenantGone), "tenant_gone", None),
        (End::Over(Over::Draining), "draining", None),
        (End::Refused(Way::Up, grammar), "client_refused", None),
        (End::Refused(Way::Down, grammar), "upstream_refused", None),
        (
            End::Refused(Way::Up, Refused::TooFast),
            "client_refused",
            Refused::TooFast.limit(),
        ),
        (End::Unread(Way::Up), "slow_upstream", Some("slow_upstream")),
        (End::Unread(Way::Down), "slow_client", Some("slow_client")),
    ] {
        assert_eq!((end.as_str(), end.limit()), (name, limit));
    }
    assert!(Refused::TooFast.limit().is_some_and(|it| !it.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn w15_what_was_dropped_is_counted() {
    let stage = Stage::set();
    let terms = Terms {
        pace: pace(1, 3),
        ..terms_of("alice", 1)
    };
    let mode = Mode::EngineIo(Box::new(Guard::open(Arc::new(terms))));
    stage
        .play(mode, 4096, |mut client, mut server| async move {
            server.opens(&mut client).await;
            for _ in 0..4 {
                client.say(r#"42/app,["a"]"#).await;
            }
            for _ in 0..2 {
                server.hears(r#"42/app,["a"]"#).await;
            }
            assert!(matches!(client.hear().await, Heard::Text(it) if it.contains("rate")));
        })
        .await;
    assert_eq!(counted(&stage.metrics.socket_limits, "rate"), 2);
}

/// A guard of a connection on which a token in a message can speak for the session.
fn with_reception(stage: &Stage, mode: SocketMode) -> Mode {
    let house = fixture::House::open();
    let reception = authn::fixture::reception(&house, &stage.clock, HOST, TENANT);
    let owner = authn::fixture::identity(&stage.cell, HOST, TENANT, Shown::Cookie);
    let terms = Terms {
        mode,
        owner: Some(owner),
        ..terms_of("alice", 1)
    };
    let terms = terms.with_reception(Some(reception), String::new());
    Mode::EngineIo(Box::new(Guard::open(Arc::new(terms))))
}

#[tokio::test(start_paused = true)]
async fn a_grace_that_a_message_began_ends_when_it_is_over_and_not_some_time_later() {
    let mut stage = Stage::set();
    // Otherwise the bell rings every minute all the same.
    stage.rules.idle = SocketIdle::Session;
    let grace = terms_of("alice", 1).grace;
    let mode = with_reception(&stage, SocketMode::InBand);
    let (clock, began) = (stage.clock.clone(), Instant::now());
    let end = stage
        .play(mode, 4096, |mut client, mut server| async move {
            server.opens(&mut client).await;
            client.say(r#"42/app,["a"]"#).await;
            assert!(matches!(client.hear().await, Heard::Text(it) if it.contains("missing")));
            clock.advance(grace);
            while client.hear().await != Heard::Gone {}
        })
        .await;
    assert_eq!(end, End::Over(Over::Token));
    assert!(began.elapsed() < grace * 2, "{:?}", began.elapsed());
}

/// How a session goes idle: somebody notices, or the next message does.
#[derive(Clone, Copy)]
enum Idle {
    Noticed,
    Found,
}

impl Idle {
    /// Brings it about; `speaker` says what it is found by.
    async fn come(self, clock: &Clock, cell: &session::Cell, speaker: &mut End2) {
        match self {
            Self::Noticed => fixture::end(cell, Ended::Idle),
            Self::Found => {
                clock.advance(Duration::from_hours(11));
                let _ = timeout(MOMENT, speaker.say(r#"42/app,["b"]"#)).await;
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

const MOMENT: Duration = Duration::from_millis(10);

#[tokio::test(start_paused = true)]
async fn w22_what_waits_when_a_session_goes_idle_is_never_written() {
    for idle in [Idle::Noticed, Idle::Found] {
        for way in [Way::Up, Way::Down] {
            let stage = Stage::set();
            let (clock, cell) = (stage.clock.clone(), Arc::clone(&stage.cell));
            let mode = with_reception(&stage, SocketMode::Session);
            let end = stage
                .play(mode, 256, |mut client, mut server| async move {
                    server.opens(&mut client).await;
                    let (mut talker, mut other) = in_order(way, client, server);
                    // The other reads nothing, so that most of it waits.
                    let event = format!(r#"42/app,["{}"]"#, "x".repeat(3000));
                    let _ = timeout(MOMENT, talker.say(&event)).await;
                    sleep(MOMENT).await;
                    idle.come(&clock, &cell, &mut other).await;
                    assert_ne!(other.hear().await, Heard::Text(event));
                })
                .await;
            assert_eq!(end, End::Over(Over::Session(Ended::Idle)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_waits_an_idle_session_is_told_and_borne_with() {
    for (idle, by_server) in [
        (Idle::Noticed, false),
        (Idle::Found, false),
        (Idle::Found, true),
    ] {
        let stage = Stage::set();
        let (clock, cell) = (stage.clock.clone(), Arc::clone(&stage.cell));
        let mode = with_reception(&stage, SocketMode::Session);
        stage
            .play(mode, 256, |mut client, mut server| async move {
                server.opens(&mut client).await;
                sleep(MOMENT).await;
                let speaker = if by_server { &mut server } else { &mut client };
                idle.come(&clock, &cell, speaker).await;
                let mut told = 0;
                while let Ok(heard) = timeout(Duration::from_secs(5), client.hear()).await {
                    assert!(matches!(heard, Heard::Text(it) if it.contains("expired")));
                    told += 1;
                }
                assert!(told > 0);
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_socket_counts_as_use_where_the_file_says_so() {
    let mut stage = Stage::set();
    stage.rules.idle = SocketIdle::Absolute;
    let touched = &stage.touched;
    stage
        .play(plain(), 256, |client, server| async move {
            sleep(Duration::from_secs(10 * 60 + 30)).await;
            assert_eq!(touched.get(), 10);
            drop((client, server));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_socket_on_which_nothing_is_due_sleeps() {
    let mut stage = Stage::set();
    stage.rules.idle = SocketIdle::Session;
    stage
        .play(engine(), 4096, |mut client, mut server| async move {
            server.opens(&mut client).await;
            // (Held time goes on only when nobody is awake.)
            sleep(Duration::from_hours(3)).await;
            client.say("42/app,[\"a\"]").await;
            server.hears("42/app,[\"a\"]").await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_client_said_before_it_went_away_has_a_moment_to_arrive() {
    let stage = Stage::set();
    stage.stuck.set(true);
    let end = stage
        .play(plain(), 256, |mut client, mut server| async move {
            client.say("last words").await;
            server.hears("last words").await;
            drop(client);
            // It is never known to have gone out.
            let began = Instant::now();
            assert_eq!(server.hear().await, Heard::Gone);
            assert!(began.elapsed() >= LINGER && began.elapsed() < LINGER * 2);
        })
        .await;
    assert_eq!(end, End::ClientGone);
}

#[tokio::test(start_paused = true)]
async fn a_leg_that_goes_away_after_its_close_frame_was_no_accident() {
    for way in [Way::Up, Way::Down] {
        let end = Stage::set()
            .play(plain(), 256, |client, server| async move {
                let (mut first, mut other) = in_order(way, client, server);
                first.send(Opcode::Close, &1000u16.to_be_bytes()).await;
                assert_eq!(other.hear().await, Heard::Close(1000));
                drop(first);
                while other.hear().await != Heard::Gone {}
            })
            .await;
        assert_eq!(end, End::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_words_stand_between_no_attachments() {
    let event = format!(r#"42/app,["{}"]"#, "x".repeat(300));
    let binary =
        r#"452-/app,["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#.to_owned();
    for (first, then, told) in [
        (event.clone(), (Opcode::Text, event.into_bytes()), true),
        (binary, (Opcode::Binary, vec![1; 300]), false),
    ] {
        let stage = Stage::set();
        let cell = Arc::clone(&stage.cell);
        stage
            .play(engine(), 256, |mut client, mut server| async move {
                server.opens(&mut client).await;
                let talk = async {
                    server.say(&first).await;
                    for _ in 0..2 {
                        server.send(then.0, &then.1).await;
                    }
                };
                // The client reads nothing: of what waits for it the last is dropped at the end.
                let _ = timeout(MOMENT, talk).await;
                fixture::end(&cell, Ended::Revoked);
                sleep(MOMENT).await;
                client.hears_the_end(told).await;
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_words_take_the_place_of_a_message_and_of_no_attachment() {
    let event = format!(r#"42/app,["{}"]"#, "x".repeat(300)).into_bytes();
    let binary = br#"452-/app,["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let attachment = (Opcode::Binary, vec![1; 300]);
    let text = |it: &[u8]| (Opcode::Text, it.to_vec());
    for (last, told) in [
        (vec![text(&event), text(&event)], true),
        (vec![text(binary), attachment.clone(), attachment], false),
    ] {
        let stage = Stage::set();
        let cell = Arc::clone(&stage.cell);
        // The client's pipe is full amid the last but one: the last is dropped at the end.
        let mut all = Vec::new();
        for (opcode, payload) in std::iter::repeat_n(text(&event), 12).chain(last) {
            frame::write(&mut all, Way::Down, opcode, &payload);
        }
        stage
            .play(engine(), 4096, |mut client, mut server| async move {
                server.opens(&mut client).await;
                server.io.write_all(&all).await.unwrap();
                sleep(MOMENT).await;
                fixture::end(&cell, Ended::Revoked);
                sleep(MOMENT).await;
                client.hears_the_end(told).await;
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_leg_has_its_moment_to_hear_the_end_and_to_answer() {
    for stuck in [false, true] {
        let stage = Stage::set();
        let cell = Arc::clone(&stage.cell);
        stage.stuck.set(stuck);
        stage
            .play(plain(), 64, |mut client, mut server| async move {
                // Most of it waits for a server that reads nothing.
                client.say(&"x".repeat(300)).await;
                let moment = Duration::from_millis(300);
                sleep(moment).await;
                fixture::end(&cell, Ended::Revoked);
                assert_eq!(client.hear().await, Heard::Close(1008));
                let early = timeout(moment, client.hear()).await;
                assert!(early.is_err(), "it may answer still: {early:?}");
                client.send(Opcode::Close, &1008u16.to_be_bytes()).await;
                server.hears(&"x".repeat(300)).await;
                assert_eq!(server.hear().await, Heard::Close(1008));
                // Whatever it says first is no answer.
                server.say("as I was saying").await;
                let early = timeout(moment, server.hear()).await;
                assert!(early.is_err(), "{early:?}");
                server.send(Opcode::Close, &1008u16.to_be_bytes()).await;
                let over = timeout(moment, server.hear()).await;
                // What may not have gone out is given all of the second.
                assert_eq!(over.is_err(), stuck, "{over:?}");
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_a_client_says_counts_as_use() {
    let mut stage = Stage::set();
    stage.rules.idle = SocketIdle::Session;
    let touched = &stage.touched;
    stage
        .play(plain(), 256, |mut client, mut server| async move {
            server.say("news").await;
            client.hears("news").await;
            assert_eq!(touched.get(), 0);
            client.say("thanks").await;
            server.hears("thanks").await;
            assert_eq!(touched.get(), 1);
        })
        .await;
}
