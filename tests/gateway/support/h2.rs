//! HTTP/2 frame by frame (RFC 9113): what is sent is exactly what the test says.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    client::conn::http2::{self, SendRequest},
    ext::Protocol,
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

use super::{Answer, House, soon};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
/// The last frame of its stream.
pub(crate) const END_STREAM: u8 = 1;
/// The last frame of its header block.
pub(crate) const END_HEADERS: u8 = 4;

/// A frame.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header block of literals: never indexed, never compressed.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            length(&mut out, text.len());
            out.extend(text.as_bytes());
        }
    }
    out
}

/// RFC 7541, section 5.1, with a prefix of seven bits.
fn length(out: &mut Vec<u8>, mut length: usize) {
    if length < 127 {
        out.push(u8::try_from(length).unwrap());
        return;
    }
    out.push(127);
    length -= 127;
    while length >= 128 {
        out.push(u8::try_from(length % 128).unwrap() | 128);
        length /= 128;
    }
    out.push(u8::try_from(length).unwrap());
}

async fn connect(
    address: SocketAddr,
    trust: &Arc<ClientConfig>,
    name: &str,
) -> TlsStream<TcpStream> {
    let mut config = ClientConfig::clone(trust);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = soon(
        "TLS handshake",
        TlsConnector::from(Arc::new(config)).connect(name, tcp),
    )
    .await
    .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream
}

/// A connection, in both its directions.
pub(crate) struct Frames {
    pub(crate) to: WriteHalf<TlsStream<TcpStream>>,
    pub(crate) from: Heard,
}

/// What the gateway says on it.
pub(crate) struct Heard(ReadHalf<TlsStream<TcpStream>>);

impl Frames {
    /// A connection made for that host, its preface said.
    pub(crate) async fn open(house: &House, label: &str) -> Self {
        let stream = connect(house.address, &house.trust, &house.host(label)).await;
        let (from, mut to) = tokio::io::split(stream);
        to.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        to.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        to.flush().await.unwrap();
        Self {
            to,
            from: Heard(from),
        }
    }

    /// Sends these bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        soon("sending", async {
            self.to.write_all(bytes).await?;
            self.to.flush().await
        })
        .await
    }

    /// The first frame that decides what becomes of a stream: its head, its reset, or the end
    /// of the connection. `None`: hung up.
    pub(crate) async fn fate(&mut self, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.from.frame().await?;
            let is_its = frame.stream == stream && [HEADERS, RST_STREAM].contains(&frame.kind);
            if is_its || frame.kind == GOAWAY {
                return Some(frame);
            }
        }
    }
}

impl Heard {
    /// The next frame; `None` when the gateway hung up.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        let mut payload = Vec::new();
        soon("a frame", async {
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            payload.resize(usize::try_from(length).unwrap(), 0);
            self.0.read_exact(&mut payload).await.ok()
        })
        .await?;
        Some(Frame {
            kind: head[3],
            stream: u32::from_be_bytes(head[5..9].try_into().unwrap()) & 0x7fff_ffff,
            payload,
        })
    }
}

fn request(method: &str, url: &str, headers: &str, body: Bytes) -> http::Request<Full<Bytes>> {
    let mut request = http::Request::builder().method(method).uri(url);
    for line in headers.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request.body(Full::new(body)).unwrap()
}

/// A WebSocket over HTTP/2.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// An honest client.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    _task: JoinSet<()>,
}

impl Client {
    /// A connection made for that host.
    pub(crate) async fn open(house: &House, label: &str) -> Self {
        let stream = connect(house.address, &house.trust, &house.host(label)).await;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move { drop(connection.await) });
        Self {
            sender,
            _task: task,
        }
    }

    /// One request; `headers` as lines, each with its CRLF.
    pub(crate) async fn ask(&mut self, method: &str, url: &str, headers: &str) -> Answer {
        self.send(method, url, headers, Bytes::new()).await.unwrap()
    }

    /// Opens a WebSocket on a stream of its own (RFC 8441); the answer's status where there is
    /// none. To be called after another request: only then has the gateway said that it may be.
    pub(crate) async fn socket(
        &mut self,
        protocol: &'static str,
        url: &str,
        headers: &str,
    ) -> Result<Socket, u16> {
        let mut request = request("CONNECT", url, headers, Bytes::new());
        let protocol = Protocol::from_static(protocol);
        request.extensions_mut().insert(protocol);
        let headers = request.headers_mut();
        headers.insert("sec-websocket-version", "13".parse().unwrap());
        soon("a socket", async {
            self.sender.ready().await.unwrap();
            let answer = self.sender.send_request(request).await.unwrap();
            if answer.status() != 200 {
                return Err(answer.status().as_u16());
            }
            for name in ["sec-websocket-accept", "connection", "upgrade"] {
                assert!(!answer.headers().contains_key(name), "{name}");
            }
            let stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
            Ok(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
        })
        .await
    }

    /// The same with a body; an error where the stream was reset.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        url: &str,
        headers: &str,
        body: impl Into<Bytes>,
    ) -> hyper::Result<Answer> {
        let request = request(method, url, headers, body.into());
        soon("an answer", async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            let headers = head.headers.iter().map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            });
            Ok(Answer {
                status: head.status.as_u16(),
                headers: headers.collect(),
                body: body.collect().await?.to_bytes().to_vec(),
            })
        })
        .await
    }
}
