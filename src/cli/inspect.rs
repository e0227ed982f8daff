//! What asks a gateway or its configuration and changes nothing: `routes`, `healthcheck`.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use tokio::task::LocalSet;

use super::{Outcome, desk, print, stop};
use crate::{
    clock::Clock,
    config::Config,
    discovery,
    route::RouteTable,
    store::{StoreHandle, sqlite::SqliteStore},
};

/// How long a health check waits.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn routes(file: &Path, json: bool) -> anyhow::Result<Outcome> {
    let (table, findings) = survey(&desk::load(file)?)?;
    let listing = discovery::listing::listing(&table, &findings);
    if json {
        print::say(listing.json()?);
    } else {
        print::say(listing.text().trim_end());
    }
    Ok(Outcome::Done)
}

/// The table as a gateway on this configuration would have it now.
pub(super) fn survey(config: &Config) -> anyhow::Result<(RouteTable, discovery::Findings)> {
    let clock = Clock::system();
    let store = StoreHandle::start(Box::new(SqliteStore::open(
        &config.store.path,
        clock.now(),
    )?))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new()
        .block_on(&runtime, discovery::survey(config, &store, &clock))
        .context("the containers could not be listed")
}

pub(super) fn healthcheck(file: &Path) -> anyhow::Result<Outcome> {
    let config = desk::load(file)?;
    let admin = config.listen.admin.ok_or_else(|| {
        stop(
            Outcome::Failed,
            "listen.admin is off: there is nothing to ask",
        )
    })?;
    let status =
        ask_ready(admin).with_context(|| format!("the gateway does not answer on {admin}"))?;
    if status == 200 {
        print::say("ready");
        Ok(Outcome::Done)
    } else {
        Err(stop(Outcome::Failed, "not ready"))
    }
}

fn ask_ready(admin: SocketAddr) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream
        .write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    status.context("not an HTTP answer")
}
