//! Sockets that are open and wait; with `--beat`, each says something now and then and must get it
//! back.

use std::{sync::Arc, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    socket::{Event, Socket},
    target::Target,
};

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    #[arg(long, default_value_t = 4000)]
    sockets: usize,
    /// Milliseconds between the messages of a socket; 0: none.
    #[arg(long, default_value_t = 0)]
    beat: u64,
}

/// Handshakes at once.
const AT_ONCE: usize = 32;
/// How long an echo may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn run(options: Options) -> anyhow::Result<Value> {
    let dialler = options.target.dialler(&["http/1.1"])?;
    let (options, places) = (Arc::new(options), Arc::new(Semaphore::new(AT_ONCE)));
    let mut opening = JoinSet::new();
    for _ in 0..options.sockets {
        let (dialler, options, places) = (dialler.clone(), options.clone(), places.clone());
        opening.spawn(async move {
            let _place = places.acquire().await?;
            Socket::open(&dialler, &options.target).await
        });
    }
    let mut waiting = JoinSet::new();
    while let Some(socket) = opening.join_next().await {
        waiting.spawn(wait(socket??, options.beat));
    }
    println!("{}", json!({"open": waiting.len()}));
    let (mut closed, mut first, mut last) = (0, 0, 0);
    let mut told_to_stop = signal(SignalKind::terminate())?;
    while !waiting.is_empty() {
        tokio::select! {
            _ = told_to_stop.recv() => break,
            Some(at) = waiting.join_next() => {
                last = at?;
                first = if closed == 0 { last } else { first };
                closed += 1;
            }
        }
    }
    Ok(json!({"closed": closed, "first_us": first, "last_us": last}))
}

/// Until it is closed; gives the time of day, in microseconds.
async fn wait(mut socket: Socket, beat: u64) -> i64 {
    while beat == 0 || say(&mut socket, beat).await {
        if beat == 0 && socket.events().await.is_err() {
            break;
        }
    }
    jiff::Timestamp::now().as_microsecond()
}

async fn say(socket: &mut Socket, beat: u64) -> bool {
    // What comes while it sleeps waits in the socket.
    sleep(Duration::from_millis(beat)).await;
    let Ok(event) = Event::default().frame() else {
        return false;
    };
    socket.send(&event).await.is_ok()
        && matches!(timeout(PATIENCE, socket.events()).await, Ok(Ok(_)))
}
