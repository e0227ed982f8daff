//! The live state of one login, shared by all that act under it.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::{Ended, Lease, Profile};
use crate::{
    clock::Timestamp,
    config::BindAddress,
    name::{HostName, TenantId, UserId},
    store::{Digest, GrantRecord, SessionRecord},
    token::{Given, NewToken, Tokens, Use},
};

/// What a step-up or a profile change replaces as a whole.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Who.
    pub profile: Arc<Profile>,
    /// 1 one factor, 2 two, 3 a hardware key among them.
    pub level: u8,
    /// Raised by each step-up.
    pub generation: u32,
    /// When the last factor was given.
    pub auth_time: Timestamp,
    /// The factors used.
    pub amr: Vec<String>,
    /// The hosts it was granted to.
    pub grants: Vec<Arc<Grant>>,
}

/// One host's part of a login.
#[derive(Debug)]
pub struct Grant {
    /// The host.
    pub host: HostName,
    /// The tenant it was when granted.
    pub tenant: TenantId,
    /// Its sockets that are open there (`socket::quota`).
    pub sockets: Arc<AtomicU32>,
    /// When what it sends to the tenant's sockets is made up for (`socket::pace`).
    pub messages: AtomicI64,
    ended: AtomicU8,
    /// Ended here, and the store has not confirmed it yet.
    pub(super) owed: AtomicBool,
    over: CancellationToken,
}

impl Grant {
    fn new(record: &GrantRecord, over: &CancellationToken) -> Self {
        let grant = Self {
            host: record.host.clone(),
            tenant: record.tenant.clone(),
            sockets: Arc::default(),
            messages: AtomicI64::new(0),
            ended: AtomicU8::new(0),
            owed: AtomicBool::new(false),
            over: over.child_token(),
        };
        if record.ended {
            grant.flip(Ended::Grant);
        }
        grant
    }

    /// Whether it was flipped; one atomic load.
    pub(super) fn check(&self) -> Result<(), Ended> {
        match Ended::from_code(self.ended.load(Ordering::Acquire)) {
            Some(ended) => Err(ended),
            None => Ok(()),
        }
    }

    pub(super) fn over(&self) -> &CancellationToken {
        &self.over
    }

    pub(super) fn flip(&self, why: Ended) {
        flip(&self.ended, &self.over, why);
    }
}

/// The first reason stays; the flag is up before anybody is woken.
fn flip(flag: &AtomicU8, over: &CancellationToken, why: Ended) {
    if flag
        .compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
    {
        over.cancel();
    }
}

/// The live state of one login on this gateway. Shared by all that act under it.
#[derive(Debug)]
pub struct Cell {
    /// SHA-256 of the `sid`.
    pub sid: Digest,
    /// Whose.
    pub user: UserId,
    /// SHA-256 of the device id.
    pub device: Digest,
    /// When it began.
    pub created: Timestamp,
    /// The hard limit.
    pub login_exp: Timestamp,
    /// Confined to this host: no tickets, no account pages.
    pub confined_to: Option<HostName>,
    /// Where it began; `None` when the record does not say.
    pub address: Option<IpAddr>,
    /// What may be replaced.
    pub standing: ArcSwap<Standing>,
    revision: AtomicU32,
    idle_expires: AtomicI64,
    last_used: AtomicI64,
    /// Used since the store was last told.
    pub(super) used: AtomicBool,
    /// Ended here, and the store has not confirmed the tombstone yet.
    pub(super) owed: AtomicBool,
    ended: AtomicU8,
    over: CancellationToken,
}

/// Why no lease is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefused {
    /// The login, or this host's part, is over.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The login was never granted to this host as this tenant.
    #[error("not granted to this host")]
    NotGranted,
    /// The token is of a generation that this gateway has not seen.
    #[error("of a generation that is not known here")]
    Generation,
}

impl Cell {
    /// The cell of a record, ended if the record is.
    pub(super) fn new(record: &SessionRecord, profile: Arc<Profile>) -> Self {
        let over = CancellationToken::new();
        let grants = record
            .grants
            .iter()
            .map(|it| Arc::new(Grant::new(it, &over)))
            .collect();
        let cell = Self {
            sid: record.sid,
            user: record.user.clone(),
            device: record.device,
            created: record.created,
            login_exp: record.login_exp,
            confined_to: record.confined_to.clone(),
            address: record
                .address
                .parse()
                .ok()
                .map(|it: IpAddr| it.to_canonical()),
            standing: ArcSwap::from_pointee(Standing {
                profile,
                level: record.level,
                generation: record.generation,
                auth_time: record.auth_time,
                amr: record.amr.clone(),
                grants,
            }),
            revision: AtomicU32::new(0),
            idle_expires: AtomicI64::new(record.idle_expires.0),
            last_used: AtomicI64::new(record.last_used.0),
            used: AtomicBool::new(false),
            owed: AtomicBool::new(false),
            ended: AtomicU8::new(0),
            over,
        };
        if let Some((reason, _)) = &record.ended {
            cell.flip(Ended::parse(reason));
        }
        cell
    }

    /// Whether the login still stands: a few atomic loads.
    pub fn check(&self, now: Timestamp) -> Result<(), Ended> {
        if let Some(ended) = self.ended() {
            return Err(ended);
        }
        if now >= self.login_exp {
            return Err(Ended::LoginExpired);
        }
        if now.0 >= self.idle_expires.load(Ordering::Relaxed) {
            return Err(Ended::Idle);
        }
        Ok(())
    }

    /// Why it was flipped, whatever the time is.
    pub fn ended(&self) -> Option<Ended> {
        Ended::from_code(self.ended.load(Ordering::Acquire))
    }

    /// Ready when the login was flipped.
    pub fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Grows with every change of the standing.
    pub fn revision(&self) -> u32 {
        self.revision.load(Ordering::Acquire)
    }

    /// When it goes idle, unless somebody uses it.
    pub fn idle_expires(&self) -> Timestamp {
        Timestamp(self.idle_expires.load(Ordering::Relaxed))
    }

    /// When it was last used.
    pub fn last_used(&self) -> Timestamp {
        Timestamp(self.last_used.load(Ordering::Relaxed))
    }

    /// Leave to act on `host` while it is `tenant`, with the lower of the token's level and the
    /// cell's. The caller checks the time with [`Lease::check`].
    pub fn lease(
        self: &Arc<Self>,
        host: &HostName,
        tenant: &TenantId,
        token_level: u8,
        token_generation: u32,
    ) -> Result<Lease, LeaseRefused> {
        if let Some(ended) = self.ended() {
            return Err(ended.into());
        }
        if self.confined_to.as_ref().is_some_and(|it| it != host) {
            return Err(LeaseRefused::NotGranted);
        }
        // The number before what it counts: a change in between is looked at again.
        let revision = self.revision();
        let standing = self.standing.load();
        if token_generation > standing.generation {
            return Err(LeaseRefused::Generation);
        }
        let grant = standing
            .grants
            .iter()
            .find(|it| it.host == *host && it.tenant == *tenant)
            .ok_or(LeaseRefused::NotGranted)?;
        grant.check()?;
        Ok(Lease {
            cell: Arc::clone(self),
            grant: Arc::clone(grant),
            level: token_level.min(standing.level),
            revision,
        })
    }

    /// Whether a client at `address` may use it.
    pub fn allows_address(&self, address: IpAddr, bind: BindAddress) -> bool {
        let prefix = match bind {
            BindAddress::Off => return true,
            BindAddress::Exact => None,
            BindAddress::Prefix => Some((24, 48)),
        };
        match (self.address, address.to_canonical(), prefix) {
            (Some(began), now, None) => began == now,
            (Some(IpAddr::V4(began)), IpAddr::V4(now), Some((bits, _))) => {
                began.to_bits() >> (32 - bits) == now.to_bits() >> (32 - bits)
            }
            (Some(IpAddr::V6(began)), IpAddr::V6(now), Some((_, bits))) => {
                began.to_bits() >> (128 - bits) == now.to_bits() >> (128 - bits)
            }
            _ => false,
        }
    }

    /// A session token for `host`, at the level that the login has now. `sid` is the plain id.
    #[expect(clippy::too_many_arguments, reason = "they are the token's own parts")]
    pub fn issue(
        &self,
        tokens: &Tokens,
        sid: &str,
        host: &HostName,
        tenant: &TenantId,
        usage: Use,
        life: Duration,
        now: Timestamp,
    ) -> String {
        let given = self.given();
        self.issue_for(&given, tokens, sid, host, tenant, usage, life, now)
    }

    /// What the login has been given until now.
    pub fn given(&self) -> Given {
        let standing = self.standing.load();
        Given {
            generation: standing.generation,
            level: standing.level,
            auth_time: standing.auth_time.secs(),
            amr: standing.amr.clone(),
        }
    }

    /// As [`Cell::issue`], for what had been `given` to an older token of the login.
    #[expect(clippy::too_many_arguments, reason = "they are the token's own parts")]
    pub fn issue_for(
        &self,
        given: &Given,
        tokens: &Tokens,
        sid: &str,
        host: &HostName,
        tenant: &TenantId,
        usage: Use,
        life: Duration,
        now: Timestamp,
    ) -> String {
        let new = NewToken {
            user: &self.user,
            host,
            tenant,
            sid,
            device: &self.device,
            generation: given.generation,
            level: given.level,
            usage,
            login_exp: self.login_exp,
            auth_time: Timestamp::from_secs(given.auth_time),
            amr: &given.amr,
        };
        tokens.issue_session(&new, life, now)
    }

    pub(super) fn flip(&self, why: Ended) {
        flip(&self.ended, &self.over, why);
    }

    /// Notes a use: relaxed atomics, at most once a second. An expiry never moves back.
    pub(super) fn touch(&self, idle: Duration, now: Timestamp) {
        let last = self.last_used.load(Ordering::Relaxed);
        if now.0.saturating_sub(last) < 1000 {
            return;
        }
        self.last_used.fetch_max(now.0, Ordering::Relaxed);
        self.idle_expires
            .fetch_max(now.plus(idle).min(self.login_exp).0, Ordering::Relaxed);
        self.used.store(true, Ordering::Relaxed);
    }

    /// Takes over what the store says now. What ended here stays ended.
    pub(super) fn merge(&self, record: &SessionRecord) {
        if let Some((reason, _)) = &record.ended {
            self.flip(Ended::parse(reason));
            self.owed.store(false, Ordering::Release);
            return;
        }
        self.idle_expires
            .fetch_max(record.idle_expires.0, Ordering::Relaxed);
        self.last_used
            .fetch_max(record.last_used.0, Ordering::Relaxed);
        let old = self.standing.load_full();
        let grants = self.merge_grants(record, &old.grants);
        let same_grants = grants.len() == old.grants.len()
            && grants
                .iter()
                .zip(&old.grants)
                .all(|(a, b)| Arc::ptr_eq(a, b));
        if same_grants
            && old.level == record.level
            && old.generation == record.generation
            && old.auth_time == record.auth_time
            && old.amr == record.amr
        {
            return;
        }
        self.stand(Standing {
            profile: Arc::clone(&old.profile),
            level: record.level,
            generation: record.generation,
            auth_time: record.auth_time,
            amr: record.amr.clone(),
            grants,
        });
    }

    fn merge_grants(&self, record: &SessionRecord, old: &[Arc<Grant>]) -> Vec<Arc<Grant>> {
        for gone in old {
            let kept = record
                .grants
                .iter()
                .any(|it| it.host == gone.host && it.tenant == gone.tenant);
            if !kept {
                gone.flip(Ended::Grant);
            }
        }
        let merged = record.grants.iter().map(|record| {
            let known = old
                .iter()
                .find(|it| it.host == record.host && it.tenant == record.tenant);
            match known {
                Some(it) if record.ended => {
                    it.flip(Ended::Grant);
                    Arc::clone(it)
                }
                // Ended here and not yet in the store: it does not come back by being read.
                Some(it) if it.check().is_ok() || it.owed.load(Ordering::Acquire) => Arc::clone(it),
                Some(_) | None => Arc::new(Grant::new(record, &self.over)),
            }
        });
        merged.collect()
    }

    /// Replaces the profile, when only what tenants are told has changed.
    pub(super) fn rename(&self, profile: Arc<Profile>) {
        let old = self.standing.load_full();
        self.stand(Standing {
            profile,
            ..Standing::clone(&old)
        });
    }

    fn stand(&self, standing: Standing) {
        self.standing.store(Arc::new(standing));
        self.revision.fetch_add(1, Ordering::AcqRel);
    }
}
