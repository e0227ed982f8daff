//! The live session cells, expiry, revocation and its spread between processes.
//!
//! The cell is the authority on a login; what a token says only bounds it. Every open
//! connection holds a [`Lease`] on its cell and asks it at every frame and chunk.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU8, Ordering},
};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Timestamp,
    name::{GroupName, HostName, TenantId, UserId, UserName},
    store::Digest,
};

/// Who somebody is, as far as tenants are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Immutable id.
    pub id: UserId,
    /// User name.
    pub name: UserName,
    /// E-mail; may be empty.
    pub email: String,
    /// Name in full; may be empty.
    pub display_name: String,
    /// Groups.
    pub groups: Vec<GroupName>,
}

/// Why a session, or a host's part of it, is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Ended {
    /// Its owner logged out.
    #[error("logged out")]
    Logout = 1,
    /// An administrator or the account page ended it.
    #[error("revoked")]
    Revoked = 2,
    /// The user was disabled or removed.
    #[error("the account is disabled")]
    Disabled = 3,
    /// The password or the factors changed.
    #[error("the credentials changed")]
    Credentials = 4,
    /// Somebody else signed in over it.
    #[error("somebody else signed in")]
    Replaced = 5,
    /// Nobody used it for too long. (The one end that a grace period follows.)
    #[error("idle for too long")]
    Idle = 6,
    /// The hard limit of the login.
    #[error("the login has expired")]
    LoginExpired = 7,
    /// The tenant's own log-out ended this host's part.
    #[error("signed out of this host")]
    Grant = 8,
}

impl Ended {
    fn from_code(code: u8) -> Option<Self> {
        [
            Self::Logout,
            Self::Revoked,
            Self::Disabled,
            Self::Credentials,
            Self::Replaced,
            Self::Idle,
            Self::LoginExpired,
            Self::Grant,
        ]
        .into_iter()
        .find(|it| *it as u8 == code)
    }

    /// As it is kept in the store and told in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::Disabled => "disabled",
            Self::Credentials => "credentials",
            Self::Replaced => "replaced",
            Self::Idle => "idle",
            Self::LoginExpired => "login_expired",
            Self::Grant => "grant",
        }
    }

    /// Reads [`Ended::as_str`] back; anything unknown is a revocation.
    pub fn parse(text: &str) -> Self {
        (1..=8)
            .filter_map(Self::from_code)
            .find(|it| it.as_str() == text)
            .unwrap_or(Self::Revoked)
    }
}

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
    ended: AtomicU8,
    over: CancellationToken,
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
    /// What may be replaced.
    pub standing: ArcSwap<Standing>,
    idle_expires: AtomicI64,
    last_used: AtomicI64,
    ended: AtomicU8,
    over: CancellationToken,
}

impl Cell {
    /// Whether the login still stands: a few atomic loads.
    pub fn check(&self, now: Timestamp) -> Result<(), Ended> {
        if let Some(ended) = Ended::from_code(self.ended.load(Ordering::Acquire)) {
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
}

/// Leave to act under a login on one host, held by every open connection and asked at every
/// frame and chunk.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The login.
    pub cell: Arc<Cell>,
    /// This host's part of it.
    pub grant: Arc<Grant>,
    /// The lower of the token's level and the cell's when it was made; the cell can lower it.
    pub level: u8,
}

impl Lease {
    /// Whether it still stands.
    pub fn check(&self, now: Timestamp) -> Result<(), Ended> {
        self.cell.check(now)?;
        match Ended::from_code(self.grant.ended.load(Ordering::Acquire)) {
            Some(ended) => Err(ended),
            None => Ok(()),
        }
    }

    /// Ready when the cell or the grant was flipped. (Expiry by time flips the cell too: the
    /// sweeper sees to it within 250 ms; [`Lease::check`] knows at once.)
    pub fn over(&self) -> &CancellationToken {
        &self.grant.over
    }
}
