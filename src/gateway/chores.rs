//! The house's own thread: Docker, the store's changes, the clock's sweeps, the admin listener.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use tokio::{sync::watch, task::LocalSet, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{self, Health},
    config::Config,
    discovery,
    pipeline::House,
    store::{Change, StoreError, poke},
};

/// How often expired sessions are looked for.
const SWEEP: Duration = Duration::from_millis(250);
/// How often the store is asked for changes that nobody poked us about.
const TAIL: Duration = Duration::from_millis(100);
/// How often use of sessions is written down.
const FLUSH: Duration = Duration::from_secs(5);
/// How often what is long over is thrown away.
const TIDY: Duration = Duration::from_secs(600);

/// What the thread needs.
pub(super) struct Chores {
    pub(super) house: Arc<House>,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) admin: Option<std::net::TcpListener>,
    pub(super) health: Arc<Health>,
    pub(super) stop: CancellationToken,
}

/// Starts the thread.
pub(super) fn start(chores: Chores) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("house".to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "the house has no runtime");
                return;
            }
        };
        LocalSet::new().block_on(&runtime, chores.run());
    })
}

impl Chores {
    async fn run(self) {
        let tasks = TaskTracker::new();
        let Self { house, config, admin, health, stop } = self;
        if let Some(listener) = admin {
            let (metrics, stop, spawn) = (house.metrics.clone(), stop.clone(), tasks.clone());
            tasks.spawn_local(async move {
                if let Err(error) = admin::serve(listener, health, metrics, stop, spawn).await {
                    tracing::error!(%error, "the admin listener stopped");
                }
            });
        }
        tasks.spawn_local(discovery::run(
            config,
            house.store.clone(),
            Arc::clone(&house.routes),
            house.claims_changed.subscribe(),
            house.metrics.clone(),
            house.clock.clone(),
            stop.clone(),
        ));
        tasks.spawn_local(follow(Arc::clone(&house), stop.clone()));
        tasks.spawn_local(sweep(Arc::clone(&house), stop.clone()));
        tasks.spawn_local(write_down(Arc::clone(&house), stop.clone()));
        stop.cancelled().await;
        tasks.close();
        if tokio::time::timeout(Duration::from_secs(2), tasks.wait()).await.is_err() {
            tracing::warn!("a chore did not end in time");
        }
        if let Err(error) = house.sessions.flush().await {
            tracing::warn!(%error, "the last use of sessions was not written down");
        }
    }
}

/// Follows the store's changes: ours come back and change nothing; another process's are applied.
async fn follow(house: Arc<House>, stop: CancellationToken) {
    let path = house.config.load().store.path.clone();
    let mut seen = match house.store.call(|store| store.last_change()).await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::error!(%error, "the store's changes cannot be followed");
            0
        }
    };
    let mut pokes = match poke::Poke::listen(&path) {
        Ok(pokes) => Some(pokes),
        Err(error) => {
            tracing::error!(%error, "the command line cannot be answered");
            None
        }
    };
    let mut tick = tokio::time::interval(TAIL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => None,
            asked = async {
                match &mut pokes {
                    Some(pokes) => pokes.next().await,
                    None => std::future::pending().await,
                }
            } => Some(asked),
        };
        match catch_up(&house, &mut seen).await {
            Ok(()) => {
                house.metrics.store_up.set(1);
                if let Some(asked) = asked {
                    asked.confirm(seen).await;
                }
            }
            Err(error) => {
                house.metrics.store_up.set(0);
                tracing::warn!(%error, "the store's changes could not be read");
            }
        }
    }
}

async fn catch_up(house: &House, seen: &mut i64) -> Result<(), StoreError> {
    let after = *seen;
    let changes = house.store.call(move |store| store.changes_since(after)).await?;
    for (number, change) in changes {
        match &change {
            Change::Session(_) | Change::User(_) => house.sessions.apply(&change).await?,
            Change::Claims => {
                house.claims_changed.send_modify(|it| *it += 1);
            }
            Change::Keys => house.reload_keys().await,
        }
        *seen = number;
    }
    Ok(())
}

async fn sweep(house: Arc<House>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        // At most one part in five hundred: a clock that stepped is caught up with unnoticed.
        house.clock.slew(SWEEP / 500);
        house.sessions.sweep(house.clock.now());
        house.metrics.sessions.set(i64::try_from(house.sessions.len()).unwrap_or(i64::MAX));
    }
}

async fn write_down(house: Arc<House>, stop: CancellationToken) {
    let mut flush = tokio::time::interval(FLUSH);
    let mut tidy = tokio::time::interval(TIDY);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            _ = flush.tick() => house.sessions.flush().await,
            _ = tidy.tick() => {
                let now = house.clock.now();
                house.store.call(move |store| store.sweep(now)).await
            }
        };
        if let Err(error) = done {
            tracing::warn!(%error, "the store did not take what was due");
        }
    }
}
