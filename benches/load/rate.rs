//! Requests at a rate that does not hang on the answers.
//!
//! Each stream has its timetable. A request that is sent late because the one before it was not
//! answered yet counts from when it was due; one that is sent late because this program's timer
//! fired late counts from when it was sent, since no peer could have been faster.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{
    sample::Sample,
    target::{Dialler, Target},
};

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Streams of each connection; more than one only over HTTP/2.
    #[arg(long, default_value_t = 1)]
    streams: u32,
    #[arg(long, value_enum, default_value_t = Protocol::Http1)]
    protocol: Protocol,
    /// Requests per second, over all streams.
    #[arg(long)]
    rate: f64,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Every other request is a POST.
    #[arg(long)]
    posts: bool,
    #[arg(long, default_value = "/kib")]
    path: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    Http1,
    Http2,
}

/// Whatever takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

type Content = Full<bytes::Bytes>;

enum Sender {
    Http1(http1::SendRequest<Content>),
    Http2(http2::SendRequest<Content>),
}

pub(crate) async fn run(options: Options) -> anyhow::Result<Value> {
    let name = match options.protocol {
        Protocol::Http1 => "http/1.1",
        Protocol::Http2 => "h2",
    };
    let dialler = options.target.dialler(&[name])?;
    let all = f64::from(options.connections * options.streams);
    let interval = Duration::from_secs_f64(all / options.rate);
    let options = Arc::new(options);
    let mut opened = Vec::new();
    for _ in 0..options.connections {
        match connect(&dialler, options.protocol).await? {
            Sender::Http1(it) => opened.push(Sender::Http1(it)),
            Sender::Http2(it) => {
                let senders = (0..options.streams).map(|_| Sender::Http2(it.clone()));
                opened.extend(senders);
            }
        }
    }
    let begin = Instant::now() + Duration::from_millis(20);
    let mut streams = JoinSet::new();
    for (number, sender) in (0u32..).zip(opened) {
        // Spread over the interval, so that not all are due at once.
        let first = begin + interval.mul_f64(f64::from(number) / all);
        let (dialler, options) = (dialler.clone(), options.clone());
        streams.spawn(async move {
            let mut stream = Stream {
                dialler,
                options,
                sender,
                sample: Sample::default(),
                failed: 0,
            };
            stream.run(first, interval).await;
            (stream.sample, stream.failed)
        });
    }
    let (mut sum, mut failed) = (Sample::default(), 0);
    while let Some(stream) = streams.join_next().await {
        let (sample, wrong) = stream?;
        sum.append(sample);
        failed += wrong;
    }
    let took = begin.elapsed();
    let per_second = f64::from(u32::try_from(sum.len())?) / took.as_secs_f64();
    let mut said = sum.summary();
    if let Some(said) = said.as_object_mut() {
        said.insert("failed".to_owned(), failed.into());
        said.insert("per_second".to_owned(), per_second.into());
    }
    Ok(said)
}

struct Stream {
    dialler: Dialler,
    options: Arc<Options>,
    sender: Sender,
    sample: Sample,
    failed: u64,
}

impl Stream {
    async fn run(&mut self, first: Instant, interval: Duration) {
        let end = first + Duration::from_secs_f64(self.options.seconds);
        let (mut due, mut free) = (first, first);
        let mut post = false;
        while due < end {
            sleep_until(due.into()).await;
            let from = if free > due { due } else { Instant::now() };
            match timeout(PATIENCE, self.ask(post)).await {
                Ok(Ok(StatusCode::OK)) => self.sample.add(from.elapsed()),
                Ok(Ok(_)) | Err(_) => self.failed += 1,
                Ok(Err(_)) => {
                    self.failed += 1;
                    if let Ok(sender) = connect(&self.dialler, self.options.protocol).await {
                        self.sender = sender;
                    }
                }
            }
            free = Instant::now();
            due += interval;
            post = self.options.posts && !post;
        }
    }

    async fn ask(&mut self, post: bool) -> anyhow::Result<StatusCode> {
        let target = &self.options.target;
        let (authority, path) = (target.authority(), &self.options.path);
        let mut request = Request::builder().method(if post { Method::POST } else { Method::GET });
        request = match self.options.protocol {
            Protocol::Http1 => request.uri(path).header("host", &authority),
            Protocol::Http2 => request.uri(format!("https://{authority}{path}")),
        };
        for (name, value) in target.pairs()? {
            request = request.header(name, value);
        }
        let content = if post {
            request = request.header("origin", format!("https://{authority}"));
            vec![b'x'; 256]
        } else {
            Vec::new()
        };
        let request = request.body(Full::new(content.into()))?;
        let answer = match &mut self.sender {
            Sender::Http1(it) => {
                it.ready().await?;
                it.send_request(request).await?
            }
            Sender::Http2(it) => {
                it.ready().await?;
                it.send_request(request).await?
            }
        };
        let status = answer.status();
        answer.into_body().collect().await?;
        Ok(status)
    }
}

async fn connect(dialler: &Dialler, protocol: Protocol) -> anyhow::Result<Sender> {
    let stream = TokioIo::new(dialler.dial().await?);
    // The tasks that drive the connections end with them; nobody waits for what they say.
    let executor = TokioExecutor::new();
    Ok(match protocol {
        Protocol::Http1 => {
            let (sender, connection) = http1::handshake(stream).await?;
            hyper::rt::Executor::execute(&executor, connection);
            Sender::Http1(sender)
        }
        Protocol::Http2 => {
            let (sender, connection) = http2::handshake(executor.clone(), stream).await?;
            hyper::rt::Executor::execute(&executor, connection);
            Sender::Http2(sender)
        }
    })
}
