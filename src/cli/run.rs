//! The gateway itself: `run` and `demo`; and `check`.

use std::{path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{DemoArgs, Outcome, desk, print, stop};
use crate::{
    account::upkeep::{self, Particulars},
    clock::Clock,
    config::{self, Config, Loaded, Log, LogFormat, watch::ConfigWatch},
    demo::{self, DemoOptions},
    gateway::Gateway,
    listen,
    name::UserName,
    store::{Store as _, UserRecord, sqlite::SqliteStore},
    telemetry::audit::{Actor, Event, What},
};

pub(super) fn gateway(file: &Path) -> anyhow::Result<Outcome> {
    let Loaded { config, warnings } = desk::load_all(file)?;
    log_by(&config.log);
    greet(&config);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let gateway = Arc::new(Gateway::open(config, Clock::system())?);
    for address in gateway.https() {
        tracing::info!(%address, "https");
    }
    for address in gateway.http() {
        tracing::info!(%address, "http");
    }
    serve(&gateway, file)?;
    Ok(Outcome::Done)
}

pub(super) fn demo(args: &DemoArgs) -> anyhow::Result<Outcome> {
    log_by(&Log {
        level: "warn,portcullis=info".to_owned(),
        ..Log::default()
    });
    let options = DemoOptions {
        port: args.port,
        data: std::path::absolute(&args.data)?,
        certs: std::path::absolute(&args.certs)?,
        listen: args.listen,
        docker: args.docker,
    };
    // First: a second demo would share the port, and take the file and the link from the other.
    anyhow::ensure!(
        !listen::is_taken(options.address()),
        "port {} is in use, maybe by another demo: end that, or choose another with --port",
        options.port
    );
    let listener =
        std::net::TcpListener::bind("127.0.0.1:0").context("cannot start the demo's tenant")?;
    listener.set_nonblocking(true)?;
    let tenant = listener.local_addr()?;
    let over = CancellationToken::new();
    let thread = host_tenant(listener, &options, over.clone())?;

    let file = demo::furnish(&options, tenant)?;
    let config = desk::load(&file)?;
    let invitation = first_account(&config)?;
    let gateway = Arc::new(Gateway::open(config, Clock::system())?);
    introduce(&options, &file, invitation.as_deref());
    serve(&gateway, &file)?;
    over.cancel();
    // A panic has been printed by its thread.
    let _ = thread.join();
    Ok(Outcome::Done)
}

/// Runs the built-in tenant on a thread of its own, as a container would be.
fn host_tenant(
    listener: std::net::TcpListener,
    options: &DemoOptions,
    over: CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let client = std::fs::read(options.data.join("socket.io.min.js"));
    let client = client.ok().map(Bytes::from);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new()
        .name("demo-tenant".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        demo::tenant::serve(listener, client, over, TaskTracker::new()).await;
                    }
                    Err(error) => tracing::error!(%error, "the demo's tenant cannot listen"),
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(1));
        })?;
    Ok(thread)
}

/// A one-time link for the first account, for as long as nobody has set it up.
fn first_account(config: &Config) -> anyhow::Result<Option<String>> {
    let now = Clock::system().now();
    let mut store = SqliteStore::open(&config.store.path, now)?;
    let users = store.users()?;
    let ready = |it: &UserRecord| it.password_hash.is_some() && it.has_second_factor();
    if users.iter().any(ready) {
        return Ok(None);
    }
    let user = match users.into_iter().next() {
        Some(user) => user,
        None => upkeep::add(
            &mut store,
            &UserName::parse("admin")?,
            Particulars::default(),
            now,
        )?,
    };
    let link = upkeep::invite(&mut store, &config.login, &user.id, true, now)?;
    let origin = upkeep::portal_origin(config).context("the demo has a portal")?;
    Ok(Some(format!("{origin}/setup/{}", link.reveal())))
}

fn introduce(options: &DemoOptions, file: &Path, invitation: Option<&str>) {
    let (root, port) = (demo::ROOT, options.port);
    print::say("\nPortcullis demo\n");
    print::say(format_args!("  the tenant   https://demo.{root}:{port}/"));
    print::say(format_args!("  the portal   https://auth.{root}:{port}/"));
    match invitation {
        Some(link) => {
            print::say(format_args!("  set up       {link}"));
            print::say(
                "               (works once, for 24 hours: choose a password, then scan the code)",
            );
        }
        None => print::say("  the account  is set up already: sign in as you did"),
    }
    // After `make demo` it is on nobody's PATH.
    let program = std::env::current_exe().unwrap_or_else(|_| "portcullis".into());
    print::say(format_args!(
        "  commands     {} --config {} user list\n",
        program.display(),
        file.display()
    ));
    print::say(demo::trust_advice(&options.certs));
    print::say("\nCtrl-C ends it.");
}

/// Runs until SIGTERM or SIGINT; SIGHUP and changes of the file or the certificates reload.
fn serve(gateway: &Arc<Gateway>, file: &Path) -> anyhow::Result<()> {
    let file = std::path::absolute(file)?;
    let certificates = gateway.house.config.load().certificates.dir.clone();
    let (reloading, path) = (Arc::clone(gateway), file.clone());
    let watch = ConfigWatch::start(&[file.clone(), certificates], move |changed| {
        if changed.contains(&path) {
            reload(&reloading, &path);
        } else {
            let dir = reloading.house.config.load().certificates.dir.clone();
            reloading.house.certificates.reload(&dir);
        }
    })
    .context("the configuration cannot be watched")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let mut hup = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = term.recv() => return std::io::Result::Ok(()),
                _ = int.recv() => return Ok(()),
                _ = hup.recv() => reload(gateway, &file),
            }
        }
    })?;
    drop(watch);
    tracing::info!("draining");
    gateway.close();
    tracing::info!("closed");
    Ok(())
}

/// Puts the file in force if it is good; otherwise says what is wrong and changes nothing.
fn reload(gateway: &Gateway, file: &Path) {
    let running = gateway.house.config.load_full();
    let metrics = &gateway.house.metrics;
    match config::reload(file, &config::environment(), &running) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            gateway.reload(loaded.config);
            tell(gateway, What::ConfigReloaded);
            crate::telemetry::count(&metrics.reloads, "good");
        }
        Err(faults) => {
            for fault in &faults {
                tracing::error!("{fault}");
            }
            tracing::error!("the configuration was NOT reloaded: the former one stays in force");
            crate::telemetry::count(&metrics.reloads, "refused");
            tell(gateway, What::ConfigRefused);
        }
    }
}

/// Writes down what became of a file.
fn tell(gateway: &Gateway, what: What) {
    let house = &gateway.house;
    let event = Event::new(what, house.clock.now(), Actor::gateway());
    if let Err(error) = house
        .store
        .call_blocking(move |store| store.append_audit(&event))
    {
        tracing::warn!(%error, "the reload is not in the audit log");
    }
}

fn greet(config: &Config) {
    if let (Some(root), Some(portal)) = (&config.root_domain, &config.portal.host) {
        tracing::info!(%root, %portal, "everything under the root is guarded");
    } else {
        tracing::warn!(
            "OPEN MODE: no root_domain is set. NOTHING IS GUARDED: nobody is asked to sign in."
        );
    }
}

/// Lines for people or machines, on standard error.
fn log_by(log: &Log) {
    let filter = tracing_subscriber::EnvFilter::try_new(&log.level)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().init(),
    }
}

pub(super) fn check(file: &Path) -> anyhow::Result<Outcome> {
    report(&config::check::check_command(file, false))
}

pub(super) fn schema() -> anyhow::Result<Outcome> {
    report(&config::check::check_command(Path::new(""), true))
}

fn report((said, exit): &(String, i32)) -> anyhow::Result<Outcome> {
    if *exit == 0 {
        print::say(said.trim_end());
        return Ok(Outcome::Done);
    }
    Err(stop(Outcome::BadUsage, said.trim_end()))
}
