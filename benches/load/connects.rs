//! Connections that last for one request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::Args;
use rustls::{HandshakeKind, client::Resumption};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use super::{
    sample::Sample,
    target::{Dialler, Offer, Target},
};

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    #[arg(long, default_value_t = 16)]
    at_once: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Come back with a ticket.
    #[arg(long)]
    resume: bool,
    /// Offer X25519MLKEM768 as browsers do, not X25519 alone.
    #[arg(long)]
    hybrid: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<Value> {
    let offer = if options.hybrid {
        Offer::Hybrid
    } else {
        Offer::Classic
    };
    let authority = options.target.authority();
    let mut request = format!("GET /kib HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    for header in &options.target.headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let request: Arc<str> = request.into();
    let until = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut visitors = JoinSet::new();
    for _ in 0..options.at_once {
        let resumption = if options.resume {
            Resumption::in_memory_sessions(4)
        } else {
            Resumption::disabled()
        };
        // Each visitor keeps tickets of its own, as a browser does.
        let dialler = options
            .target
            .dialler_with(&["http/1.1"], offer, resumption)?;
        visitors.spawn(visit(dialler, request.clone(), until));
    }
    let (mut sum, mut resumed) = (Sample::default(), 0);
    while let Some(visitor) = visitors.join_next().await {
        let (sample, count) = visitor??;
        sum.append(sample);
        resumed += count;
    }
    let mut said = sum.summary();
    if let Some(said) = said.as_object_mut() {
        said.insert("resumed".to_owned(), resumed.into());
    }
    Ok(said)
}

async fn visit(
    dialler: Dialler,
    request: Arc<str>,
    until: Instant,
) -> anyhow::Result<(Sample, u64)> {
    let (mut sample, mut resumed, mut answer) = (Sample::default(), 0, Vec::new());
    while Instant::now() < until {
        let began = Instant::now();
        let mut stream = dialler.dial().await?;
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        if let Err(error) = stream.read_to_end(&mut answer).await {
            // Some peers cut the connection without a word; the answer is whole all the same.
            if error.kind() != std::io::ErrorKind::UnexpectedEof {
                return Err(error.into());
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200 ") || answer.len() < 1024 {
            bail!("{}", String::from_utf8_lossy(&answer));
        }
        let kind = stream.get_ref().1.handshake_kind();
        resumed += u64::from(kind == Some(HandshakeKind::Resumed));
        sample.add(began.elapsed());
    }
    Ok((sample, resumed))
}
