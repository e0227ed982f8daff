//! Socket.IO round trips, as many as there is time for.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::Value;
use tokio::{task::JoinSet, time::timeout_at};

use super::{
    sample::Sample,
    socket::{Event, Socket},
    target::Target,
};

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    event: Event,
    #[arg(long, default_value_t = 32)]
    sockets: usize,
    /// Messages on their way at once, for each socket.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<Value> {
    let dialler = options.target.dialler(&["http/1.1"])?;
    let mut sockets = Vec::new();
    for _ in 0..options.sockets {
        sockets.push(Socket::open(&dialler, &options.target).await?);
    }
    let until = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut players = JoinSet::new();
    let event = options.event.frame()?;
    for socket in sockets {
        players.spawn(play(socket, event.clone(), options.in_flight, until));
    }
    let mut sum = Sample::default();
    while let Some(player) = players.join_next().await {
        sum.append(player??);
    }
    Ok(sum.summary())
}

async fn play(
    mut socket: Socket,
    event: Vec<u8>,
    in_flight: usize,
    until: Instant,
) -> anyhow::Result<Sample> {
    let mut sent: VecDeque<Instant> = std::iter::repeat_n(Instant::now(), in_flight).collect();
    socket.send(&event.repeat(in_flight)).await?;
    let mut sample = Sample::default();
    while let Ok(count) = timeout_at(until.into(), socket.events()).await {
        let (count, now) = (count?, Instant::now());
        for at in sent.drain(..count.min(sent.len())) {
            sample.add(now - at);
        }
        sent.extend(std::iter::repeat_n(now, count));
        socket.send(&event.repeat(count)).await?;
    }
    Ok(sample)
}
