//! One watcher for each Docker engine that the file names, and what each last told.

use std::{cell::RefCell, convert::Infallible, pin::Pin, rc::Rc};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::Notify;

use crate::{
    clock::Clock,
    config::Config,
    docker::{self, Snapshot, Source},
};

/// The engines that the file names.
pub fn sources(config: &Config) -> Vec<Source> {
    let docker = &config.docker;
    docker
        .hosts
        .iter()
        .filter(|host| {
            let is_local = host.starts_with("unix://") || host.starts_with('/');
            if !is_local {
                tracing::error!(
                    host,
                    "only unix:// Docker hosts are followed yet; this one is not"
                );
            }
            is_local
        })
        .map(|host| Source {
            host: host.clone(),
            filters: docker.filters.clone(),
            resync: docker.resync,
        })
        .collect()
}

type Told = Rc<RefCell<Vec<Option<Snapshot>>>>;

/// The watchers, polled by whoever waits for [`Watchers::changed`].
pub struct Watchers {
    sources: Vec<Source>,
    running: FuturesUnordered<Pin<Box<dyn Future<Output = Infallible>>>>,
    told: Told,
    /// What stands until every watcher of a new set has told something.
    before: Vec<Option<Snapshot>>,
    news: Rc<Notify>,
}

impl std::fmt::Debug for Watchers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchers")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl Watchers {
    /// Starts one for each engine.
    pub fn start(config: &Config, clock: &Clock) -> Self {
        let mut watchers = Self {
            sources: Vec::new(),
            running: FuturesUnordered::new(),
            told: Rc::default(),
            before: Vec::new(),
            news: Rc::default(),
        };
        watchers.follow(config, clock);
        watchers
    }

    /// Follows what the file names now. Without a difference nothing happens; with one the
    /// routes stay until the new engines have told theirs.
    pub fn follow(&mut self, config: &Config, clock: &Clock) {
        let wanted = sources(config);
        if wanted == self.sources {
            return;
        }
        self.before = self.snapshots();
        self.sources.clone_from(&wanted);
        self.told = Rc::new(RefCell::new(vec![None; wanted.len()]));
        self.running = wanted
            .into_iter()
            .enumerate()
            .map(|(at, source)| {
                watcher(
                    at,
                    source,
                    clock.clone(),
                    self.told.clone(),
                    self.news.clone(),
                )
            })
            .collect();
    }

    /// What each engine runs; `None` where one has not told yet.
    pub fn snapshots(&self) -> Vec<Option<Snapshot>> {
        let told = self.told.borrow();
        if told.iter().all(Option::is_some) || self.before.is_empty() {
            told.clone()
        } else {
            self.before.clone()
        }
    }

    /// Waits until an engine tells something new.
    pub async fn changed(&mut self) {
        let news = self.news.clone();
        let run = async {
            while self.running.next().await.is_some() {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = news.notified() => (),
            () = run => (),
        }
    }
}

fn watcher(
    at: usize,
    source: Source,
    clock: Clock,
    told: Told,
    news: Rc<Notify>,
) -> Pin<Box<dyn Future<Output = Infallible>>> {
    Box::pin(async move {
        let tell = |snapshot: Snapshot| {
            let mut told = told.borrow_mut();
            let Some(slot) = told.get_mut(at) else {
                return;
            };
            // An engine that never answered has told nothing.
            if snapshot.connected || slot.is_some() {
                *slot = Some(snapshot);
                news.notify_one();
            }
        };
        docker::watch(&source, &clock, tell).await
    })
}
