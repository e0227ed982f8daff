//! A stub tenant that speaks Engine.IO 4 over both transports, and as much of a client.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

use super::{
    Answer, Browser, House, Wire,
    browser::OWN,
    instance::{Seen, request},
    soon,
};

/// Where the tenant's Socket.IO is.
pub(crate) const PATH: &str = "/socket.io/?EIO=4&transport=";

/// A WebSocket to the gateway.
pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A tenant that runs. Every CONNECT is answered; events `echo` are said back.
pub(crate) struct Engine {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct State {
    outlets: Mutex<HashMap<String, Arc<Outlet>>>,
    heard: Mutex<Vec<String>>,
    heads: Mutex<Vec<Seen>>,
    news: Notify,
}

/// What is to be said on one connection.
#[derive(Default)]
struct Outlet {
    queue: Mutex<VecDeque<String>>,
    upgraded: Mutex<bool>,
    news: Notify,
}

impl Outlet {
    fn say(&self, packet: String) {
        self.queue.lock().unwrap().push_back(packet);
        self.news.notify_one();
    }

    fn take(&self) -> Vec<String> {
        self.queue.lock().unwrap().drain(..).collect()
    }

    fn is_upgraded(&self) -> bool {
        *self.upgraded.lock().unwrap()
    }
}

impl Engine {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let mut task = JoinSet::new();
        let shared = Arc::clone(&state);
        task.spawn(async move {
            let mut visits = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                visits.spawn(Arc::clone(&shared).visit(stream));
            }
        });
        Self {
            address,
            state,
            _task: task,
        }
    }

    /// Every packet that came from clients, without the transport's own.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.state.heard.lock().unwrap().clone()
    }

    /// Waits until a packet came.
    pub(crate) async fn hears(&self, packet: &str) {
        soon(packet, async {
            loop {
                let news = self.state.news.notified();
                if self.heard().iter().any(|it| it == packet) {
                    return;
                }
                news.await;
            }
        })
        .await;
    }

    /// The head of every request that came.
    pub(crate) fn heads(&self) -> Vec<Seen> {
        self.state.heads.lock().unwrap().clone()
    }

    /// Says a packet on every connection.
    pub(crate) fn say(&self, packet: &str) {
        for outlet in self.state.outlets.lock().unwrap().values() {
            outlet.say(packet.to_owned());
        }
    }
}

impl State {
    async fn visit(self: Arc<Self>, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut read = Vec::new();
        while let Some(seen) = request(&mut stream, &mut read).await {
            self.heads.lock().unwrap().push(seen.clone());
            if let Some(key) = seen.header("sec-websocket-key") {
                let key = key.to_owned();
                self.socket(stream, read, &seen, &key).await;
                return;
            }
            let (status, body) = tokio::select! {
                answer = self.poll(&seen) => answer,
                // The gateway hung up, or sent what no HTTP/1.1 client sends.
                _ = stream.read_u8() => return,
            };
            let raw = format!(
                "HTTP/1.1 {status} Said\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(raw.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn poll(&self, seen: &Seen) -> (u16, String) {
        let target = seen.line.split(' ').nth(1).unwrap_or_default();
        let Some(sid) = sid(target) else {
            let (sid, _) = self.open();
            return (200, opening(&sid));
        };
        let Some(outlet) = self.outlets.lock().unwrap().get(&sid).cloned() else {
            return (400, "{\"code\":1}".to_owned());
        };
        if seen.line.starts_with("POST") {
            for packet in String::from_utf8_lossy(&seen.body).split('\x1e') {
                self.hear(packet, &sid, &outlet);
            }
            return (200, "ok".to_owned());
        }
        loop {
            let news = outlet.news.notified();
            if outlet.is_upgraded() {
                return (200, "6".to_owned());
            }
            let packets = outlet.take();
            if !packets.is_empty() {
                return (200, packets.join("\x1e"));
            }
            news.await;
        }
    }

    fn open(&self) -> (String, Arc<Outlet>) {
        let mut outlets = self.outlets.lock().unwrap();
        let sid = format!("own{}", outlets.len());
        let outlet = Arc::new(Outlet::default());
        outlets.insert(sid.clone(), Arc::clone(&outlet));
        (sid, outlet)
    }

    fn hear(&self, packet: &str, sid: &str, outlet: &Outlet) {
        self.heard.lock().unwrap().push(packet.to_owned());
        self.news.notify_waiters();
        let namespace = packet
            .get(2..)
            .filter(|it| it.starts_with('/'))
            .and_then(|it| it.split_once(','))
            .map_or_else(String::new, |(it, _)| format!("{it},"));
        if packet.starts_with("40") {
            outlet.say(format!(
                "40{namespace}{{\"sid\":\"s-{sid}\",\"pid\":\"p-{sid}\"}}"
            ));
        } else if packet.contains("[\"echo\"") {
            outlet.say(packet.to_owned());
        }
    }

    async fn socket(&self, mut stream: TcpStream, read: Vec<u8>, seen: &Seen, key: &str) {
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        let mut socket =
            WebSocketStream::from_partially_read(stream, read, Role::Server, None).await;
        let target = seen.line.split(' ').nth(1).unwrap_or_default();
        let (sid, outlet) = if let Some(sid) = sid(target) {
            let Some(outlet) = self.outlets.lock().unwrap().get(&sid).cloned() else {
                return;
            };
            for (asked, said) in [("2probe", Some("3probe")), ("5", None)] {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) if text.as_str() == asked => {}
                    _ => return,
                }
                if let Some(said) = said
                    && socket.send(Message::text(said)).await.is_err()
                {
                    return;
                }
            }
            *outlet.upgraded.lock().unwrap() = true;
            outlet.news.notify_waiters();
            (sid, outlet)
        } else {
            let (sid, outlet) = self.open();
            if socket.send(Message::text(opening(&sid))).await.is_err() {
                return;
            }
            (sid, outlet)
        };
        loop {
            let packets = outlet.take();
            for packet in packets {
                if socket.send(Message::text(packet)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = outlet.news.notified() => {}
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.hear(text.as_str(), &sid, &outlet),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
            }
        }
    }
}

fn sid(target: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let pair = query.split('&').find_map(|it| it.strip_prefix("sid="))?;
    Some(pair.to_owned())
}

fn opening(sid: &str) -> String {
    format!(
        "0{{\"sid\":\"{sid}\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}}"
    )
}

/// The `sid` in an open packet.
pub(crate) fn sid_of(packet: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(packet.strip_prefix('0').unwrap()).unwrap();
    json["sid"].as_str().unwrap().to_owned()
}

/// Sends one polling request; its answer is read from the connection.
pub(crate) async fn poll(
    house: &House,
    browser: &Browser,
    sid: Option<&str>,
    body: Option<&str>,
) -> Wire {
    let query = sid.map_or_else(String::new, |it| format!("&sid={it}"));
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let length = if method == "POST" {
        format!(
            "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n",
            body.len()
        )
    } else {
        String::new()
    };
    let mut wire = house.wire("a").await;
    wire.send(format!(
        "{method} {PATH}polling{query} HTTP/1.1\r\nHost: {}\r\n{}{OWN}Origin: {}\r\n{length}\r\n{body}",
        house.authority("a"),
        browser.cookies(&house.host("a")),
        house.origin("a"),
    ))
    .await
    .unwrap();
    wire
}

/// The same, and its answer.
pub(crate) async fn polled(
    house: &House,
    browser: &Browser,
    sid: Option<&str>,
    body: Option<&str>,
) -> Answer {
    let mut wire = poll(house, browser, sid, body).await;
    soon("a poll", wire.answer()).await.expect("an answer")
}

/// Opens an Engine.IO connection by polling, and the namespace `/uib` on it: its `sid`.
pub(crate) async fn begin_polling(house: &House, browser: &Browser) -> String {
    let opened = polled(house, browser, None, None).await;
    assert_eq!(opened.status, 200, "{}", opened.text());
    let sid = sid_of(&opened.text());
    let posted = polled(house, browser, Some(&sid), Some("40/uib,")).await;
    assert_eq!((posted.status, posted.text().as_str()), (200, "ok"));
    let connected = polled(house, browser, Some(&sid), None).await;
    assert!(connected.text().starts_with("40/uib,{"), "{connected:?}");
    sid
}

/// Opens a WebSocket on tenant `a`; the answer if there is none.
pub(crate) async fn socket(
    house: &House,
    target: &str,
    lines: &str,
) -> Result<(Socket, Answer), Answer> {
    let mut wire = house.wire("a").await;
    wire.send(format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n",
        house.authority("a"),
    ))
    .await
    .unwrap();
    let answer = soon("the handshake", wire.answer())
        .await
        .expect("an answer");
    if answer.status != 101 {
        return Err(answer);
    }
    let (stream, read) = wire.into_parts();
    let socket = WebSocketStream::from_partially_read(stream, read, Role::Client, None).await;
    Ok((socket, answer))
}

/// What a page of tenant `a` in this browser sends with a handshake.
pub(crate) fn page(house: &House, browser: &Browser) -> String {
    format!(
        "{}Origin: {}\r\n",
        browser.cookies(&house.host("a")),
        house.origin("a")
    )
}

/// Opens an Engine.IO WebSocket and the namespace `/uib` on it.
pub(crate) async fn begin_socket(house: &House, browser: &Browser) -> Socket {
    let target = format!("{PATH}websocket");
    let (mut socket, _) = socket(house, &target, &page(house, browser)).await.unwrap();
    assert!(hear(&mut socket).await.unwrap().starts_with("0{"));
    say(&mut socket, "40/uib,").await;
    assert!(hear(&mut socket).await.unwrap().starts_with("40/uib,{"));
    socket
}

/// Says a text.
pub(crate) async fn say<S>(socket: &mut WebSocketStream<S>, text: &str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    socket.send(Message::text(text)).await.unwrap();
}

/// The next text; the close code where there is none.
pub(crate) async fn hear<S>(socket: &mut WebSocketStream<S>) -> Result<String, u16>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match soon("a message", socket.next()).await {
            Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
            Some(Ok(Message::Close(Some(frame)))) => return Err(frame.code.into()),
            Some(Ok(_)) => {}
            other => panic!("no close: {other:?}"),
        }
    }
}
