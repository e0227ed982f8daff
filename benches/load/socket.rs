//! A client's side of an Engine.IO WebSocket, with no more to it than a load needs.

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BytesMut};
use clap::Args;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::target::{Dialler, Target};

/// The mask of every frame: what it is does not matter to anybody.
const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];
/// No message of the bench is longer.
const LONGEST: usize = u16::MAX as usize;

/// How the gateway's own messages begin.
const CONTROL: &[u8] = b"42[\"uiBuilderControl\"";

/// For what comes at once: a TLS record.
const ROOM: usize = 16 << 10;

/// An open socket whose Socket.IO namespace `/` is connected.
pub(crate) struct Socket {
    stream: TlsStream<TcpStream>,
    inbox: BytesMut,
}

impl Socket {
    pub(crate) async fn open(dialler: &Dialler, target: &Target) -> anyhow::Result<Self> {
        let mut socket = Self {
            stream: dialler.dial().await?,
            inbox: BytesMut::new(),
        };
        let authority = target.authority();
        let mut head = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {authority}\r\n\
             Origin: https://{authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for header in &target.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        socket.send(head.as_bytes()).await?;
        let end = loop {
            if let Some(at) = socket.inbox.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            socket.fill().await?;
        };
        let head = socket.inbox.split_to(end);
        if !head.starts_with(b"HTTP/1.1 101 ") {
            bail!("no socket: {}", String::from_utf8_lossy(&head));
        }
        socket.await_message("0{").await?;
        socket.send(&frame("40")).await?;
        socket.await_message("40").await?;
        Ok(socket)
    }

    pub(crate) async fn send(&mut self, frames: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(frames).await?;
        Ok(self.stream.flush().await?)
    }

    /// Waits for bytes, and counts the messages that begin with `42` and are whole now.
    pub(crate) async fn events(&mut self) -> anyhow::Result<usize> {
        loop {
            let mut count = 0;
            while let Some(payload) = self.take()? {
                if payload.starts_with(CONTROL) {
                    // A token accepted, or a message dropped, which would be counted for an echo.
                    if payload.windows(13).any(|it| it == b"jwt_auth_fail") {
                        bail!("dropped: {}", String::from_utf8_lossy(&payload));
                    }
                    continue;
                }
                count += usize::from(payload.starts_with(b"42"));
            }
            if count > 0 {
                return Ok(count);
            }
            self.fill().await?;
        }
    }

    async fn await_message(&mut self, front: &str) -> anyhow::Result<()> {
        loop {
            if let Some(payload) = self.take()? {
                if payload.starts_with(front.as_bytes()) {
                    return Ok(());
                }
                bail!(
                    "expected {front}, got {}",
                    String::from_utf8_lossy(&payload)
                );
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        self.inbox.reserve(ROOM);
        if self.stream.read_buf(&mut self.inbox).await? == 0 {
            bail!("closed from there");
        }
        Ok(())
    }

    /// The payload of the next frame, if it is whole.
    fn take(&mut self) -> anyhow::Result<Option<BytesMut>> {
        let [first, second, ..] = *self.inbox else {
            return Ok(None);
        };
        let (head, length) = match second {
            0..=125 => (2, usize::from(second)),
            126 => match *self.inbox {
                [_, _, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
                _ => return Ok(None),
            },
            _ => bail!("a frame that no peer has reason to send: {second}"),
        };
        if self.inbox.len() < head + length {
            return Ok(None);
        }
        self.inbox.advance(head);
        let payload = self.inbox.split_to(length);
        if first & 0x0f == 8 {
            bail!("closed from there: {payload:?}");
        }
        Ok(Some(payload))
    }
}

/// A client's frame.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mut out = vec![0x81];
    put_length(&mut out, text.len(), 0x80);
    out.extend(MASK);
    let payload = text.bytes().take(LONGEST).zip(MASK.iter().cycle());
    out.extend(payload.map(|(byte, mask)| byte ^ mask));
    out
}

/// Appends a frame's length, with the bit that says whether it is masked.
pub(crate) fn put_length(out: &mut Vec<u8>, length: usize, mask: u8) {
    match u8::try_from(length) {
        Ok(short) if short < 126 => out.push(mask | short),
        _ => {
            out.push(mask | 0x7e);
            out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
}

/// An event that goes back and forth.
#[derive(Args, Clone, Default)]
pub(crate) struct Event {
    /// Its name.
    #[arg(long)]
    event: Option<String>,
    /// Shown with each of them, as uibuilder's pages do.
    #[arg(long)]
    jwt: Option<String>,
}

impl Event {
    pub(crate) fn frame(&self) -> anyhow::Result<Vec<u8>> {
        let name = self.event.as_deref().unwrap_or("say");
        let jwt = self.jwt.as_ref();
        let auth = jwt.map_or_else(String::new, |it| format!(",\"_auth\":{{\"jwt\":\"{it}\"}}"));
        let text = format!(
            "42[\"{name}\",{{\"n\":1,\"text\":\"{}\"{auth}}}]",
            "x".repeat(40)
        );
        (text.len() <= LONGEST)
            .then(|| frame(&text))
            .context("too long an event")
    }
}
