//! Whose hosts are whose: no container takes another owner's names, nor ours.

use crate::{
    config::Config,
    name::{HostName, TenantId},
    route::{
        Asked, Claimed, Discovered,
        build::{FILE, is_within},
    },
    store::ClaimRecord,
};

/// What a claim says of a host.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) tenant: TenantId,
    pub(super) changed_hands: bool,
}

/// Whether `one` may have what it asks for; else why not, for people. `strict`: claims count.
pub(super) fn judge(
    one: &Discovered,
    name: &str,
    config: &Config,
    claims: &Claimed,
    strict: bool,
) -> Result<Verdict, String> {
    reserved(&one.host, config)?;
    if strict && one.owner != FILE {
        too_wide(&one.host, config)?;
    }
    let claim = claims.0.get(name).filter(|it| it.released.is_none());
    if strict && one.owner != FILE {
        match claim {
            Some(claim) if claim.owner != one.owner => {
                return Err(format!("the host belongs to {}", claim.owner));
            }
            Some(own) => overlap(one, own, claims, config)?,
            None => return Err("nobody has claimed the host".to_owned()),
        }
    }
    Ok(match claim {
        Some(claim) => Verdict {
            tenant: claim.tenant.clone(),
            changed_hands: claim.changed_hands,
        },
        None => Verdict {
            tenant: TenantId::from(name),
            changed_hands: false,
        },
    })
}

/// Whether a container may claim a host at all: to be asked before a claim is made in the store,
/// so that nobody holds what they cannot have.
pub fn may_claim(asked: &Asked, config: &Config) -> Result<(), String> {
    reserved(asked, config)?;
    too_wide(asked, config)
}

/// The portal and the manager can never be had.
fn reserved(asked: &Asked, config: &Config) -> Result<(), String> {
    let ours = [&config.portal.host, &config.manager.host];
    let taken = |host: &HostName| matches!(asked, Asked::Exact(it) if it == host);
    if ours.into_iter().flatten().any(taken) {
        return Err("the host is the gateway's own".to_owned());
    }
    Ok(())
}

/// Under a guarded root a container may not ask for names that it does not name: whatever
/// nobody else has would be its own, and every tenant to come.
fn too_wide(asked: &Asked, config: &Config) -> Result<(), String> {
    let Some(root) = &config.root_domain else {
        return Ok(());
    };
    match asked {
        Asked::Leading(below) if below == root || root.is_under(below) => {
            Err("a wildcard over the whole root may only stand in the file".to_owned())
        }
        Asked::Exact(_) | Asked::Leading(_) => Ok(()),
        Asked::Trailing(_) | Asked::Regex(..) => {
            Err("open-ended names may only stand in the file".to_owned())
        }
    }
}

/// Names below another owner's wildcard, and wildcards above another owner's names: the older
/// claim stands. A claim on what nobody may have counts for nothing.
fn overlap(
    one: &Discovered,
    own: &ClaimRecord,
    claims: &Claimed,
    config: &Config,
) -> Result<(), String> {
    let theirs = |it: &&ClaimRecord| {
        it.released.is_none()
            && it.owner != one.owner
            && (it.since, &it.host) < (own.since, &own.host)
            && Asked::parse(&it.host).is_ok_and(|it| may_claim(&it, config).is_ok())
    };
    let taken = match &one.host {
        Asked::Exact(host) => host
            .as_str()
            .match_indices('.')
            .filter_map(|(at, _)| host.as_str().get(at + 1..))
            .filter_map(|above| claims.0.get(&format!("*.{above}")))
            .find(theirs),
        Asked::Leading(below) => std::iter::once(below.as_str())
            .chain(
                below
                    .as_str()
                    .match_indices('.')
                    .filter_map(|(at, _)| below.as_str().get(at + 1..)),
            )
            .flat_map(|above| [claims.0.get(above), claims.0.get(&format!("*.{above}"))])
            .flatten()
            .find(theirs)
            .or_else(|| {
                claims.0.values().filter(theirs).find(|it| {
                    let host = it.host.strip_prefix("*.").unwrap_or(&it.host);
                    HostName::parse(host).is_ok_and(|it| is_within(&it, below.as_str()))
                })
            }),
        Asked::Trailing(_) | Asked::Regex(..) => None,
    };
    match taken {
        Some(claim) => Err(format!(
            "overlaps {}, which belongs to {}",
            claim.host, claim.owner
        )),
        None => Ok(()),
    }
}
