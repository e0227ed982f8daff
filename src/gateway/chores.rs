//! The house's own thread: Docker, the store's changes, the clock's sweeps, the admin listener.

use std::{
    io,
    rc::Rc,
    sync::{Arc, mpsc::SyncSender},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{sync::watch, task::LocalSet, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{self, Health},
    config::Config,
    discovery::Discovery,
    forward::Pool,
    pipeline::House,
    store::{Change, StoreError, poke},
};

/// How often expired sessions are looked for.
const SWEEP: Duration = Duration::from_millis(250);
/// How often the store is asked for changes that nobody poked us about.
const TAIL: Duration = Duration::from_millis(100);
/// How often use of sessions is written down.
const FLUSH: Duration = Duration::from_secs(5);
/// How often what is long over is thrown away, and the store told that this gateway still runs.
const TIDY: Duration = Duration::from_secs(15);

/// What the thread needs.
pub(super) struct Chores {
    pub(super) house: Arc<House>,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) admin: Option<std::net::TcpListener>,
    pub(super) health: Arc<Health>,
    /// Told when the first route table is in force.
    pub(super) routed: SyncSender<()>,
    pub(super) stop: CancellationToken,
}

/// Starts the thread.
pub(super) fn start(chores: Chores) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("house".to_owned())
        .spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
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
        let Self {
            house,
            config,
            admin,
            health,
            routed,
            stop,
        } = self;
        if let Some(listener) = admin {
            let (metrics, stop, spawn) = (house.metrics.clone(), stop.clone(), tasks.clone());
            tasks.spawn_local(async move {
                if let Err(error) = admin::serve(listener, health, metrics, stop, spawn).await {
                    tracing::error!(%error, "the admin listener stopped");
                }
            });
        }
        let mut table = house.routes.watch();
        tasks.spawn_local(async move {
            if table.changed().await.is_ok() {
                // Whoever no longer waits has gone on without.
                let _ = routed.try_send(());
            }
        });
        tasks.spawn_local(
            Discovery {
                config,
                store: house.store.clone(),
                clock: house.clock.clone(),
                routes: Arc::clone(&house.routes),
                metrics: house.metrics.clone(),
                claims_changed: Arc::clone(&house.claims_changed),
                findings: Arc::default(),
                over: stop.clone(),
            }
            .run(),
        );
        tasks.spawn_local(answer_commands(Arc::clone(&house), stop.clone()));
        tasks.spawn_local(farewells(Arc::clone(&house), tasks.clone(), stop.clone()));
        tasks.spawn_local(follow(Arc::clone(&house), stop.clone()));
        tasks.spawn_local(sweep(Arc::clone(&house), stop.clone()));
        tasks.spawn_local(write_down(Arc::clone(&house), stop.clone()));
        stop.cancelled().await;
        tasks.close();
        if tokio::time::timeout(Duration::from_secs(2), tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("a chore did not end in time");
        }
        if let Err(error) = house.sessions.flush().await {
            tracing::warn!(%error, "the last use of sessions was not written down");
        }
    }
}

/// Follows the store's changes: ours come back and change nothing; another process's are applied.
async fn follow(house: Arc<House>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(TAIL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        match catch_up(&house).await {
            Ok(()) => {
                house.metrics.store_up.set(1);
                house.sessions.set_authoritative(true);
            }
            Err(error) => {
                house.metrics.store_up.set(0);
                house.sessions.set_authoritative(false);
                tracing::warn!(%error, "the store's changes could not be read");
            }
        }
    }
}

/// Applies what is new, one at a time: `seen` is held while it goes on.
async fn catch_up(house: &House) -> Result<(), StoreError> {
    let mut seen = house.seen.lock().await;
    let after = *seen;
    let changes = house
        .store
        .call(move |store| store.changes_since(after))
        .await?;
    let begun = house.clock.now();
    let any = !changes.is_empty();
    for (number, change) in changes {
        match change {
            Change::Session(_) | Change::User(_) => house.sessions.apply(change).await?,
            Change::Claims => house.claims_changed.notify_one(),
            Change::Keys => house.reload_keys().await,
        }
        *seen = number;
    }
    if any {
        let took = begun.until(house.clock.now());
        house.metrics.revocation_seconds.observe(took.as_secs_f64());
    }
    Ok(())
}

/// Answers commands that want to know whether their change is applied here.
async fn answer_commands(house: Arc<House>, stop: CancellationToken) {
    let path = house.config.load().store.path.clone();
    let poke = match poke::Poke::listen(&path) {
        Ok(poke) => poke,
        Err(error) => {
            tracing::error!(%error, "commands cannot be answered: they will say that nobody confirmed");
            return;
        }
    };
    let apply = |number: i64| {
        let house = Arc::clone(&house);
        async move {
            let done = catch_up(&house).await;
            done.is_ok() && *house.seen.lock().await >= number
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = poke.serve(apply) => {}
    }
}

/// Tells tenants of polling connections that have lost their login while no poll was under way.
async fn farewells(house: Arc<House>, tasks: TaskTracker, stop: CancellationToken) {
    let pool = Pool::new(&house.config.load().limits, tasks.clone());
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        for post in house.engines.sweep(house.clock.now()) {
            tasks.spawn_local(crate::pipeline::deliver(Rc::clone(&pool), post));
        }
        pool.sweep();
        house.limit.sweep();
    }
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
        house
            .metrics
            .sessions
            .set(i64::try_from(house.sessions.live()).unwrap_or(i64::MAX));
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
            _ = flush.tick() => house.sessions.flush().await.map(drop),
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
