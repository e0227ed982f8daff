//! Puts it together: opens, starts one runtime per core and the house's own, reloads, drains,
//! closes.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{sync::watch, task::LocalSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    account::{self, Accounts},
    admin::{self, Health},
    breached::NoList,
    clock::Clock,
    config::{Config, check::breached_list},
    connection, listen,
    pipeline::{Furniture, House, Pipeline, house::portal_origin},
    session::Sessions,
    store::{self, Store as _, StoreError, StoreHandle, sqlite::SqliteStore},
    telemetry::Metrics,
    tls::{Certificates, Tls, TlsError},
    token::Tokens,
};

pub mod chores;

/// How long the start waits for the first route table.
const FIRST_TABLE: Duration = Duration::from_secs(5);

/// Why a gateway did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A listener.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
    /// A thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The store.
    #[error("cannot open the store at {}", path.display())]
    Store {
        /// Where.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `login.breached_passwords` is there to refuse passwords, and cannot.
    #[error("login.breached_passwords: {}", path.display())]
    Breached {
        /// Which list.
        path: PathBuf,
        /// Why.
        source: NoList,
    },
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    /// What all cores share.
    pub house: Arc<House>,
    /// The configuration in force; whoever sends a new one has it applied.
    config: watch::Sender<Arc<Config>>,
    https: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    health: Arc<Health>,
    draining: CancellationToken,
    closed: CancellationToken,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Gateway {
    /// Opens the store, binds every address, starts every thread. Visitors may come at once.
    pub fn open(config: Config, clock: Clock) -> Result<Self, OpenError> {
        let workers = match config.listen.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let https = listen::bind_all(&config.listen.https, workers).map_err(OpenError::Listen)?;
        let http = listen::bind_all(&config.listen.http, workers).map_err(OpenError::Listen)?;
        let admin = config
            .listen
            .admin
            .map(admin::bind)
            .transpose()
            .map_err(OpenError::Listen)?;
        let admin_at = admin.as_ref().and_then(|it| it.local_addr().ok());
        let (secured, plain) = (addresses(&https), addresses(&http));

        let metrics = Metrics::new();
        let certificates = Arc::new(Certificates::open(&config.certificates.dir));
        let tls = Tls::new(Arc::clone(&certificates), config.limits.handshake_timeout)?;
        let port = secured.first().map_or(443, SocketAddr::port);
        let house = Arc::new(furnish(config, port, clock, metrics, certificates)?);

        let draining = CancellationToken::new();
        let closed = CancellationToken::new();
        let health = Arc::new(Health::default());
        let sender = watch::Sender::new(house.config.load_full());
        let mut threads = Vec::new();
        let (routed, first_table) = mpsc::sync_channel(1);
        chores::start(chores::Chores {
            house: Arc::clone(&house),
            config: sender.subscribe(),
            admin,
            health: Arc::clone(&health),
            routed,
            stop: closed.clone(),
        })
        .map(|it| threads.push(it))
        .map_err(OpenError::Thread)?;
        // Before that every host is unknown. Where the store is slow, visitors meet a table that
        // has the portal and nothing else.
        let _ = first_table.recv_timeout(FIRST_TABLE);
        for (number, (https, http)) in https.into_iter().zip(http).enumerate() {
            let worker = Worker {
                number,
                https,
                http,
                tls: tls.clone(),
                house: Arc::clone(&house),
                draining: draining.clone(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("core-{number}"))
                .spawn(move || worker.run())
                .map_err(OpenError::Thread)?;
            threads.push(thread);
        }
        health.set_ready();
        Ok(Self {
            house,
            config: sender,
            https: secured,
            http: plain,
            admin: admin_at,
            health,
            draining,
            closed,
            threads: Mutex::new(threads),
        })
    }

    /// Where TLS is served: one address per `listen.https`.
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// Where plain HTTP is served.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where health and metrics are.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Puts a new, checked configuration in force. Connections stay; those that it no longer
    /// allows are ended. What needs a restart (listeners, store) is named in the log.
    pub fn reload(&self, config: Config) {
        let before = self.house.config.load();
        if before.listen != config.listen {
            tracing::warn!("[listen] changed: takes effect at the next start");
        }
        if before.store != config.store {
            tracing::warn!("[store] changed: takes effect at the next start");
        }
        let config = Arc::new(config);
        self.house.adopt(Arc::clone(&config));
        self.house.certificates.reload(&config.certificates.dir);
        self.config.send_replace(config);
        tracing::info!("configuration reloaded");
    }

    /// Stops accepting, ends sockets with 1001, finishes the work in hand within
    /// `limits.drain`, closes the store. Blocks.
    pub fn close(&self) {
        self.health.set_draining();
        self.draining.cancel();
        let mut threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let house = if threads.is_empty() {
            None
        } else {
            Some(threads.remove(0))
        };
        for core in threads {
            // A panic has been printed by its thread.
            let _ = core.join();
        }
        self.closed.cancel();
        if let Some(house) = house {
            let _ = house.join();
        }
    }
}

fn addresses(lists: &[Vec<std::net::TcpListener>]) -> Vec<SocketAddr> {
    lists
        .first()
        .into_iter()
        .flatten()
        .filter_map(|it| it.local_addr().ok())
        .collect()
}

fn furnish(
    config: Config,
    port: u16,
    clock: Clock,
    metrics: Metrics,
    certificates: Arc<Certificates>,
) -> Result<House, OpenError> {
    let path = config.store.path.clone();
    let store_error = |source| OpenError::Store {
        path: path.clone(),
        source,
    };
    let mut sqlite = SqliteStore::open(&path, clock.now()).map_err(store_error)?;
    let key = store::key::open_sealing_key(&config.store, &mut sqlite).map_err(store_error)?;
    let issuer = portal_origin(&config, port).unwrap_or_else(|| "https://localhost".to_owned());
    let tokens = Tokens::open(&mut sqlite, &key, &issuer, clock.now()).map_err(store_error)?;
    // Before the sessions are loaded: what comes in between is applied twice, not missed.
    let seen = sqlite.last_change().map_err(store_error)?;
    let store = StoreHandle::start(Box::new(sqlite)).map_err(OpenError::Thread)?;
    let sessions =
        Sessions::open(store.clone(), clock.clone(), &config.session).map_err(store_error)?;
    if let Some(path) = config.login.breached_passwords.clone() {
        breached_list(&path).map_err(|source| OpenError::Breached { path, source })?;
    }
    let accounts = Accounts::new(
        store.clone(),
        key.clone(),
        clock.clone(),
        config.login.clone(),
        account::issuer(&config),
    );
    Ok(House::new(Furniture {
        config,
        port,
        clock,
        store,
        key,
        tokens: Arc::new(tokens),
        sessions,
        accounts,
        certificates,
        metrics,
        seen,
    }))
}

/// One core.
struct Worker {
    number: usize,
    https: Vec<std::net::TcpListener>,
    http: Vec<std::net::TcpListener>,
    tls: Tls,
    house: Arc<House>,
    draining: CancellationToken,
}

impl Worker {
    fn run(self) {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(core = self.number, %error, "a core has no runtime");
                return;
            }
        };
        let local = LocalSet::new();
        let patience = self.house.config.load().limits.drain;
        local.block_on(&runtime, async move {
            let tasks = TaskTracker::new();
            // This core's own: what every request asks is a lock that no other core takes.
            let stop = self.draining.child_token();
            let pipeline = Rc::new(Pipeline::new(
                Arc::clone(&self.house),
                self.number,
                tasks.clone(),
                stop.clone(),
            ));
            let most = self.house.config.load().limits.connections;
            let places = Arc::new(tokio::sync::Semaphore::new(most));
            for listener in self.https {
                let (pipeline, tls, places) =
                    (Rc::clone(&pipeline), self.tls.clone(), Arc::clone(&places));
                let (stop, spawn) = (stop.clone(), tasks.clone());
                tasks.spawn_local(async move {
                    let took = listen::accept(listener, stop, |stream, peer| {
                        // Full: whoever comes now is turned away, whoever is here is served.
                        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                            return;
                        };
                        let (pipeline, tls) = (Rc::clone(&pipeline), tls.clone());
                        spawn
                            .spawn_local(connection::serve_tls(pipeline, tls, stream, peer, place));
                    })
                    .await;
                    report(took);
                });
            }
            // As many again, and none of theirs: a flood in the clear shuts nobody out of TLS.
            let places = Arc::new(tokio::sync::Semaphore::new(most));
            for listener in self.http {
                let (pipeline, places) = (Rc::clone(&pipeline), Arc::clone(&places));
                let (stop, spawn) = (stop.clone(), tasks.clone());
                tasks.spawn_local(async move {
                    let took = listen::accept(listener, stop, |stream, peer| {
                        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                            return;
                        };
                        let pipeline = Rc::clone(&pipeline);
                        spawn.spawn_local(connection::serve_plain(pipeline, stream, peer, place));
                    })
                    .await;
                    report(took);
                });
            }
            tasks.spawn_local(Rc::clone(&pipeline).housekeeping());
            self.draining.cancelled().await;
            tasks.close();
            if tokio::time::timeout(patience, tasks.wait()).await.is_err() {
                tracing::warn!(
                    core = self.number,
                    left = tasks.len(),
                    "connections cut at the end of the drain"
                );
            }
        });
        // Tasks that are left hold connections: dropping the set cuts them.
        drop(local);
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
}

fn report(took: io::Result<()>) {
    if let Err(error) = took {
        tracing::error!(%error, "a listener stopped");
    }
}
