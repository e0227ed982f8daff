//! A stub tenant: records every request as it arrived, byte by byte of its head, and answers.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// One request as the tenant saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(it, _)| it.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A tenant that runs.
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<VecDeque<Vec<u8>>>>,
    _task: JoinSet<()>,
}

impl Instance {
    /// Starts one. It answers `200 ok` until told otherwise, echoes WebSocket frames back.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let mut task = JoinSet::new();
        let (all, next) = (Arc::clone(&seen), Arc::clone(&answers));
        task.spawn(async move {
            let mut visits = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                visits.spawn(visit(stream, Arc::clone(&all), Arc::clone(&next)));
            }
        });
        Self {
            address,
            seen,
            answers,
            _task: task,
        }
    }

    /// The raw answer to the next request; once.
    pub(crate) fn answer_next(&self, raw: impl Into<Vec<u8>>) {
        self.answers.lock().unwrap().push_back(raw.into());
    }

    /// Everything seen so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last request seen.
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the tenant saw a request")
    }
}

async fn visit(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<VecDeque<Vec<u8>>>>,
) {
    let mut read = Vec::new();
    loop {
        let Some(request) = request(&mut stream, &mut read).await else {
            return;
        };
        let key = request.header("sec-websocket-key").map(str::to_owned);
        seen.lock().unwrap().push(request);
        let scripted = answers.lock().unwrap().pop_front();
        if let (Some(key), None) = (key, &scripted) {
            echo_frames(stream, read, &key).await;
            return;
        }
        let raw = scripted.unwrap_or_else(|| {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nok".to_vec()
        });
        if stream.write_all(&raw).await.is_err() {
            return;
        }
    }
}

/// The next request on a connection, its body read.
pub(crate) async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(at) = read.windows(4).position(|it| it == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, read).await?;
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    read.drain(..end);
    let mut lines = head.lines();
    let mut seen = Seen {
        line: lines.next()?.to_owned(),
        headers: lines
            .filter_map(|it| it.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        body: Vec::new(),
    };
    if let Some(length) = seen
        .header("content-length")
        .and_then(|it| it.parse::<usize>().ok())
    {
        while read.len() < length {
            more(stream, read).await?;
        }
        seen.body = read.drain(..length).collect();
    } else if seen.header("transfer-encoding").is_some() {
        loop {
            let at = loop {
                if let Some(at) = read.windows(2).position(|it| it == b"\r\n") {
                    break at;
                }
                more(stream, read).await?;
            };
            let size = usize::from_str_radix(&String::from_utf8_lossy(&read[..at]), 16).ok()?;
            read.drain(..at + 2);
            while read.len() < size + 2 {
                more(stream, read).await?;
            }
            seen.body.extend(read.drain(..size));
            read.drain(..2);
            if size == 0 {
                break;
            }
        }
    }
    Some(seen)
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    let mut piece = vec![0; 8192];
    match stream.read(&mut piece).await {
        Ok(0) | Err(_) => None,
        Ok(n) => {
            read.extend_from_slice(&piece[..n]);
            Some(())
        }
    }
}

/// Accepts the handshake and says every message back.
async fn echo_frames(mut stream: TcpStream, read: Vec<u8>, key: &str) {
    use futures_util::{SinkExt as _, StreamExt as _};
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    if stream.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    let mut socket = tokio_tungstenite::WebSocketStream::from_partially_read(
        stream,
        read,
        tokio_tungstenite::tungstenite::protocol::Role::Server,
        None,
    )
    .await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}
