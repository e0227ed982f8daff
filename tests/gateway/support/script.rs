//! A tenant whose every byte the test itself says.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{instance::Seen, soon};

/// A tenant that does nothing by itself.
pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    listener: TcpListener,
}

impl Script {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, listener }
    }

    /// The next connection from the gateway.
    pub(crate) async fn accept(&self) -> Line {
        let (stream, _) = soon("a connection", self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Line {
            stream,
            read: Vec::new(),
        }
    }

    /// The next connection and the head of the first request on it.
    pub(crate) async fn asked(&self) -> (Line, Seen) {
        let mut line = self.accept().await;
        let head = line.head().await;
        (line, head)
    }

    /// Whether nobody connects while `meanwhile` goes on.
    pub(crate) async fn is_left_alone<T>(&self, meanwhile: impl Future<Output = T>) -> (bool, T) {
        let mut came = false;
        let mut meanwhile = std::pin::pin!(meanwhile);
        loop {
            tokio::select! {
                biased;
                _ = self.listener.accept() => came = true,
                done = &mut meanwhile => return (!came, done),
            }
        }
    }
}

/// One connection from the gateway.
pub(crate) struct Line {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Line {
    /// The next request's head.
    pub(crate) async fn head(&mut self) -> Seen {
        let end = self.until(b"\r\n\r\n").await.expect("a request");
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut lines = head.lines();
        Seen {
            line: lines.next().unwrap().to_owned(),
            headers: lines
                .filter_map(|it| it.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
            body: Vec::new(),
        }
    }

    /// So many bytes of a body.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more().await, "the gateway hung up");
        }
        self.read.drain(..count).collect()
    }

    /// The next chunk of a body in chunks; `None` where it was cut.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = self.until(b"\r\n").await?;
        let line: Vec<u8> = self.read.drain(..end).collect();
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        while self.read.len() < size + 2 {
            if !self.more().await {
                return None;
            }
        }
        let chunk = self.read.drain(..size).collect();
        self.read.drain(..2);
        Some(chunk)
    }

    /// Says this. An error: the gateway has hung up.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        soon("saying", self.stream.write_all(bytes.as_ref())).await
    }

    /// Whether the gateway hangs up without another byte.
    pub(crate) async fn is_cut(&mut self) -> bool {
        self.read.is_empty() && !self.more().await
    }

    async fn until(&mut self, mark: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.read.windows(mark.len()).position(|it| it == mark) {
                return Some(at + mark.len());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        let mut piece = vec![0; 16 << 10];
        match soon("the gateway", self.stream.read(&mut piece)).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.read.extend_from_slice(&piece[..n]);
                true
            }
        }
    }
}
