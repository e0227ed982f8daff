//! `portcullis claim`: which tenant owns which host name.

use std::path::Path;

use clap::Subcommand;

use super::{Outcome, desk::Desk, print, stop};
use crate::{
    discovery::claims::rests_until,
    name::HostName,
    route::Asked,
    store::{ClaimRecord, FREED_AT_ONCE, Store as _, StoreError, together},
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
    let (claims, now) = (desk.store.claims()?, desk.now());
    let root = desk.config.root_domain.as_ref();
    let rests = |it: &ClaimRecord| rests_until(it, &Asked::parse(&it.host).ok()?, root, now);
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
                    "free": it.released.is_some() && rests(it).is_none(),
                })
            })
            .collect();
        print::say_json(&claims.into());
        return Ok(Outcome::Done);
    }
    let rows: Vec<_> = claims
        .into_iter()
        .map(|it| {
            let state = match rests(&it) {
                Some(until) => format!("rests until {}", print::time(until)),
                None if it.released.is_some() => "free".to_owned(),
                None => "held".to_owned(),
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
    let freed = if rest { desk.now() } else { FREED_AT_ONCE };
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

#[cfg(test)]
mod tests {
    use super::{super::desk::tests::desk, *};
    use crate::store::CLAIM_REST;

    #[test]
    fn a_name_is_freed_for_a_gateway_whose_clock_is_behind_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = desk(folder.path());
        for (rest, expected) in [(false, "project:b"), (true, "project:a")] {
            let host = format!("rests-{rest}.example.net");
            let behind = desk.now().minus(CLAIM_REST);
            desk.store.claim(&host, "project:a", behind).unwrap();
            release(&mut desk, &host, rest).unwrap();
            let owner = desk.store.claim(&host, "project:b", behind).unwrap().owner;
            assert_eq!(owner, expected);
        }
    }
}
