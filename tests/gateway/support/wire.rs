//! One connection, byte by byte: what is sent is exactly what the test says.

use std::{net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::soon;

/// A TLS connection to the gateway.
pub(crate) struct Wire {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

/// An HTTP/1.1 answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(it, _)| it.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Every header of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(it, _)| it.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A client's TLS settings that trust `ca_pem` alone.
pub(crate) fn trusting(ca_pem: &str, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
    Arc::new(config)
}

impl Wire {
    /// Connects, asking for `server_name`.
    pub(crate) async fn open(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        server_name: &str,
    ) -> std::io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(server_name.to_owned()).unwrap();
        let stream = soon(
            "TLS handshake",
            TlsConnector::from(config).connect(name, tcp),
        )
        .await?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    /// Sends these bytes. An error means that the other side has hung up already.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        soon("sending", async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        })
        .await
    }

    /// Reads some more; `false` at the end.
    async fn more(&mut self) -> bool {
        let mut piece = vec![0; 16 << 10];
        match soon("an answer", self.stream.read(&mut piece)).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.read.extend_from_slice(&piece[..n]);
                true
            }
        }
    }

    /// The next answer, `None` when the other side hung up instead. `head` for an answer to HEAD.
    pub(crate) async fn answer_to(&mut self, head: bool) -> Option<Answer> {
        loop {
            let answer = self.one(head).await?;
            if answer.status != 100 {
                return Some(answer);
            }
        }
    }

    /// The next answer to anything but HEAD.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        self.answer_to(false).await
    }

    /// The head of the next answer, also of one that only says to go on.
    pub(crate) async fn head(&mut self) -> Option<Answer> {
        self.one(true).await
    }

    /// The next chunk of a body in chunks; `None` where it was cut.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        if size == 0 {
            return Some(Vec::new());
        }
        while self.read.len() < size + 2 {
            if !self.more().await {
                return None;
            }
        }
        let chunk = self.read.drain(..size).collect();
        self.read.drain(..2);
        Some(chunk)
    }

    /// The trailers after the last chunk, as they came.
    pub(crate) async fn trailers(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(line) = self.line().await.filter(|it| !it.is_empty()) {
            all.push(line);
        }
        all
    }

    async fn one(&mut self, head: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let text = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end);
        let mut lines = text.lines();
        let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|it| it.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if head || status < 200 || status == 204 || status == 304 {
            return Some(answer);
        }
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().ok()?;
            while self.read.len() < length {
                if !self.more().await {
                    break;
                }
            }
            answer.body = self.read.drain(..length.min(self.read.len())).collect();
        } else if answer.header("transfer-encoding").is_some() {
            answer.body = self.chunks().await;
        } else {
            while self.more().await {}
            answer.body = std::mem::take(&mut self.read);
        }
        Some(answer)
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.line().await else {
                return body;
            };
            let Ok(size) = usize::from_str_radix(line.trim(), 16) else {
                return body;
            };
            while self.read.len() < size + 2 {
                if !self.more().await {
                    return body;
                }
            }
            body.extend(self.read.drain(..size));
            self.read.drain(..2);
            if size == 0 {
                return body;
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.read, b"\r\n") {
                let line = String::from_utf8_lossy(&self.read[..at]).into_owned();
                self.read.drain(..at + 2);
                return Some(line);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Whether the other side hangs up without another byte.
    pub(crate) async fn is_hung_up(&mut self) -> bool {
        self.read.is_empty() && !self.more().await
    }

    /// What was read ahead, and the stream itself: for what comes after an upgrade.
    pub(crate) fn into_parts(self) -> (TlsStream<TcpStream>, Vec<u8>) {
        (self.stream, self.read)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|it| it == needle)
}
