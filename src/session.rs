//! The live session cells, expiry, revocation and its spread between processes.
//!
//! The cell is the authority on a login; what a token says only bounds it. Every open
//! connection holds a [`Lease`] on its cell and asks it at every frame and chunk.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    clock::Timestamp,
    name::{GroupName, UserId, UserName},
    store::UserRecord,
    token::Subject,
};

mod cell;
mod ending;
mod live;
mod upkeep;

pub use cell::{Cell, Grant, LeaseRefused, Standing};
pub use live::{NewLogin, Sessions};

#[cfg(test)]
pub(crate) mod fixture;

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

impl Profile {
    /// What the store knows of a user, as far as tenants are told.
    pub fn of(user: &UserRecord) -> Self {
        Self {
            id: user.id.clone(),
            name: user.name.clone(),
            email: user.email.clone(),
            display_name: user.display_name.clone(),
            groups: user.groups.clone(),
        }
    }

    /// For an assertion.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            id: &self.id,
            name: &self.name,
            email: &self.email,
            display_name: &self.display_name,
            groups: &self.groups,
        }
    }

    /// Whether the groups are the same, in whatever order.
    fn has_groups_of(&self, user: &UserRecord) -> bool {
        self.groups.len() == user.groups.len()
            && user.groups.iter().all(|it| self.groups.contains(it))
            && self.groups.iter().all(|it| user.groups.contains(it))
    }
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

/// Leave to act under a login on one host, held by every open connection and asked at every
/// frame and chunk. Made by [`Cell::lease`] alone.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The login.
    pub cell: Arc<Cell>,
    /// This host's part of it.
    pub grant: Arc<Grant>,
    /// The lower of the token's level and the cell's when it was made; the cell can lower it.
    pub level: u8,
    /// The cell's revision then.
    pub revision: u32,
}

impl Lease {
    /// Whether it still stands: a few atomic loads.
    pub fn check(&self, now: Timestamp) -> Result<(), Ended> {
        self.cell.check(now)?;
        self.grant.check()
    }

    /// Why it was flipped, whatever the time is.
    pub fn ended(&self) -> Option<Ended> {
        self.cell.ended().or_else(|| self.grant.check().err())
    }

    /// The level now: never above what it was made with.
    pub fn level(&self) -> u8 {
        self.level.min(self.cell.standing.load().level)
    }

    /// Ready when the cell or the grant was flipped. (Expiry by time flips the cell too: the
    /// sweeper sees to it within 250 ms; [`Lease::check`] knows at once.)
    pub fn over(&self) -> &CancellationToken {
        self.grant.over()
    }
}

#[cfg(test)]
mod tests;
