//! `portcullis claim`: which tenant owns which host name.

use std::path::Path;

use clap::Subcommand;

use super::{Outcome, desk::Desk, print, stop};
use crate::{
    name::HostName,
    store::{CLAIM_REST, Store as _, StoreError, together},
    telemetry::audit::{Actor, Event, What},
};

/// `portcullis claim`
#[derive(Debug, Subcommand)]
pub enum ClaimCommand {
    /// Show every claim.
    List,
    /// Free a host name: another owner may have it at once, as a new tenant.
    Release {
        /// The host, as `claim list` shows it.
        host: String,
        /// Let it rest for 30 days first.
        #[arg(long)]
        rest: bool,
    },
}

pub(super) fn run(file: &Path, json: bool, command: ClaimCommand) -> anyhow::Result<Outcome> {
    let mut desk = Desk::open(file)?;
    match command {
        ClaimCommand::List => list(&mut desk, json),
        ClaimCommand::Release { host, rest } => release(&mut desk, &host, rest),
    }
}

fn list(desk: &mut Desk, json: bool) -> anyhow::Result<Outcome> {
    let claims = desk.store.claims()?;
    if json {
        let claims: Vec<_> = claims
            .iter()
            .map(|it| {
                serde_json::json!({
                    "host": it.host,
                    "owner": it.owner,
                    "tenant": it.tenant,
                    "since": print::time(it.since),
                    "changed_hands": it.changed_hands,
                    "released": it.released.map(print::time),
                })
            })
            .collect();
        print::say_json(&claims.into());
        return Ok(Outcome::Done);
    }
    let rows: Vec<_> = claims
        .into_iter()
        .map(|it| {
            let state = match it.released {
                None => "held".to_owned(),
                Some(at) => format!("released {}", print::time(at)),
            };
            vec![
                it.host,
                it.owner,
                it.tenant.to_string(),
                print::time(it.since),
                state,
            ]
        })
        .collect();
    print::say_table(&["HOST", "OWNER", "TENANT", "SINCE", "STATE"], &rows);
    Ok(Outcome::Done)
}

fn release(desk: &mut Desk, host: &str, rest: bool) -> anyhow::Result<Outcome> {
    let mut freed = desk.now();
    if !rest {
        freed = freed.minus(CLAIM_REST);
    }
    let spellings = [
        Some(host.to_owned()),
        HostName::parse(host).ok().map(|it| it.to_string()),
    ];
    for host in spellings.into_iter().flatten() {
        let event =
            Event::new(What::ClaimReleased, desk.now(), Actor::operator()).with("host", &host);
        let released = together(&mut desk.store, "release_claim", |store| {
            store.release_claim(&host, freed)?;
            store.append_audit(&event)
        });
        match released {
            Ok(()) => return desk.confirm(&format!("released {host}")),
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(stop(
        Outcome::NotFound,
        format!("nobody has claimed {host}"),
    ))
}
