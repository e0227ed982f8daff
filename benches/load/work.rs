//! The tenant behind the peers: 1 KiB for whoever asks, a hole for uploads, and just enough
//! Engine.IO to echo. What it costs is counted for nobody.

use bytes::{Buf as _, BytesMut};
use clap::Args;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::socket::put_length;

#[derive(Args)]
pub(crate) struct Options {
    /// On 127.0.0.1.
    #[arg(long)]
    port: u16,
}

type Answer = Response<Full<bytes::Bytes>>;

pub(crate) async fn run(options: &Options) -> anyhow::Result<Value> {
    let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
    let mut visitors = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        visitors.spawn(async move {
            // A peer that hangs up is no failure.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .with_upgrades()
                .await;
        });
        while visitors.try_join_next().is_some() {}
    }
}

async fn answer(mut request: Request<Incoming>) -> hyper::Result<Answer> {
    if let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) {
        let accept = derive_accept_key(key.as_bytes());
        let upgrade = hyper::upgrade::on(&mut request);
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Ok(accept) = HeaderValue::from_str(&accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        hyper::rt::Executor::execute(&hyper_util::rt::TokioExecutor::new(), async move {
            if let Ok(upgraded) = upgrade.await {
                // Likewise.
                let _ = echo(TokioIo::new(upgraded)).await;
            }
        });
        return Ok(response);
    }
    if request.method() != Method::GET {
        let mut body = request.into_body();
        while let Some(piece) = body.frame().await {
            drop(piece?);
        }
    }
    Ok(Response::new(Full::new(bytes::Bytes::from_static(
        &[b'x'; 1024],
    ))))
}

/// Opens, connects `/`, and sends every event back, all that came at once in one write.
async fn echo(mut stream: TokioIo<Upgraded>) -> anyhow::Result<()> {
    let (mut inbox, mut out) = (BytesMut::new(), Vec::new());
    say(
        &mut out,
        br#"0{"sid":"lv_VI97HAXpY6yYW","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#,
    );
    loop {
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        inbox.reserve(16 << 10);
        if stream.read_buf(&mut inbox).await? == 0 {
            return Ok(());
        }
        while let Some((opcode, payload)) = take(&mut inbox) {
            match payload.as_ref() {
                _ if opcode == CLOSE => return Ok(()),
                [b'4', b'0', ..] => say(&mut out, br#"40{"sid":"wZX3oN0bSVIhsaknAAAI"}"#),
                [b'4', b'2', ..] => say(&mut out, &payload),
                _ => {}
            }
        }
    }
}

const CLOSE: u8 = 8;

/// The next frame, if it is whole: its opcode, and its payload without the mask.
fn take(inbox: &mut BytesMut) -> Option<(u8, BytesMut)> {
    let (first, short) = (*inbox.first()?, usize::from(*inbox.get(1)? & 0x7f));
    let (head, length) = match short {
        126 => (
            4,
            usize::from(u16::from_be_bytes([*inbox.get(2)?, *inbox.get(3)?])),
        ),
        _ => (2, short),
    };
    if inbox.len() < head + 4 + length {
        return None;
    }
    inbox.advance(head);
    let mask = inbox.split_to(4);
    let mut payload = inbox.split_to(length);
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Some((first & 0x0f, payload))
}

/// Appends a text frame.
fn say(out: &mut Vec<u8>, text: &[u8]) {
    out.push(0x81);
    put_length(out, text.len(), 0);
    out.extend_from_slice(text);
}
