//! The load of `make bench`: clients that cost little and are the same for every peer, and a tenant
//! that echoes. Everything goes to 127.0.0.1, and ends by itself. Each command prints lines of JSON.

#![expect(
    clippy::print_stdout,
    reason = "what was counted is read by the scripts beside it"
)]

use clap::Parser;

/// Connections that last for one request.
mod connects;
/// Sockets that are open and wait.
mod idle;
/// Requests at a rate that does not hang on the answers.
mod rate;
/// Socket.IO round trips, as many as there is time for.
mod rounds;
/// What was counted.
mod sample;
/// A client's side of an Engine.IO WebSocket.
mod socket;
/// Where the load goes, and with what.
mod target;
/// The tenant behind the peers.
mod work;

#[derive(Parser)]
enum Command {
    /// Is the tenant, until it is ended.
    Work(work::Options),
    /// Plays ping-pong over Socket.IO for a while.
    Rounds(rounds::Options),
    /// Opens sockets and keeps them until it is told to stop, or all are closed from there.
    Idle(idle::Options),
    /// Sends requests at a fixed rate.
    Rate(rate::Options),
    /// Opens a new connection for every request.
    Connects(connects::Options),
}

fn main() -> anyhow::Result<()> {
    let command = Command::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let said = runtime.block_on(async {
        match command {
            Command::Work(options) => work::run(&options).await,
            Command::Rounds(options) => rounds::run(options).await,
            Command::Idle(options) => idle::run(options).await,
            Command::Rate(options) => rate::run(options).await,
            Command::Connects(options) => connects::run(options).await,
        }
    })?;
    println!("{said}");
    // Tasks that still wait for something are not waited for.
    runtime.shutdown_background();
    Ok(())
}
