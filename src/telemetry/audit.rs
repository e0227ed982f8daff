//! Who did what to which account, when and from where.
//!
//! An event is words of ours, names and addresses. There is no field that a password, a code, a
//! link or a token could be put into by mistake: [`Event::with`] takes one of our own keys and a
//! short text, and nothing here takes a [`crate::secret::Secret`].

use std::{fmt::Write as _, net::IpAddr};

use serde_json::{Map, Value};

use super::agent;
use crate::{
    clock::Timestamp,
    name::{UserId, UserName},
};

/// Longest value of a detail, in bytes.
const LONGEST: usize = 256;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Somebody signed in, with all factors that they gave.
    SignedIn,
    /// Somebody gave a factor again, or a stronger one, on top of a session.
    SteppedUp,
    /// A password or a second factor was wrong.
    SignInFailed,
    /// Too many were wrong: no more are looked at for a while.
    Banned,
    /// An operator lifted that.
    BanLifted,
    /// A second factor was added.
    FactorAdded,
    /// A second factor was renamed.
    FactorRenamed,
    /// A second factor was removed.
    FactorRemoved,
    /// A second factor was not accepted, and not for a slip of the hand: a cloned key, say.
    FactorRefused,
    /// An operator took every second factor away.
    FactorsReset,
    /// A password was changed.
    PasswordChanged,
    /// E-mail, full name or groups were changed.
    ProfileChanged,
    /// Recovery codes were made; earlier ones are worth nothing.
    RecoveryCodesMade,
    /// A recovery code was used up.
    RecoveryCodeUsed,
    /// One session was ended.
    SessionEnded,
    /// Several sessions were ended at once.
    SessionsEnded,
    /// An account was made.
    UserAdded,
    /// An account was barred.
    UserDisabled,
    /// An account was let in again.
    UserEnabled,
    /// An account was removed.
    UserRemoved,
    /// A one-time link was made.
    LinkMade,
    /// A one-time link was used up, and the account set up.
    SetUp,
    /// A container asked for a host name that is another's.
    ClaimRefused,
    /// A host name was freed.
    ClaimReleased,
    /// A new configuration is in force.
    ConfigReloaded,
    /// A new configuration was refused; the old one is in force.
    ConfigRefused,
}

impl What {
    /// As it is stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignedIn => "signed_in",
            Self::SteppedUp => "stepped_up",
            Self::SignInFailed => "sign_in_failed",
            Self::Banned => "banned",
            Self::BanLifted => "ban_lifted",
            Self::FactorAdded => "factor_added",
            Self::FactorRenamed => "factor_renamed",
            Self::FactorRemoved => "factor_removed",
            Self::FactorRefused => "factor_refused",
            Self::FactorsReset => "factors_reset",
            Self::PasswordChanged => "password_changed",
            Self::ProfileChanged => "profile_changed",
            Self::RecoveryCodesMade => "recovery_codes_made",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::SessionEnded => "session_ended",
            Self::SessionsEnded => "sessions_ended",
            Self::UserAdded => "user_added",
            Self::UserDisabled => "user_disabled",
            Self::UserEnabled => "user_enabled",
            Self::UserRemoved => "user_removed",
            Self::LinkMade => "link_made",
            Self::SetUp => "set_up",
            Self::ClaimRefused => "claim_refused",
            Self::ClaimReleased => "claim_released",
            Self::ConfigReloaded => "config_reloaded",
            Self::ConfigRefused => "config_refused",
        }
    }
}

/// Who does something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `visitor` (over HTTP), `operator` (the command line) or `gateway`.
    pub by: String,
    /// A visitor's address.
    pub address: Option<IpAddr>,
    /// A visitor's browser in words, which is hearsay; empty for others.
    pub device: String,
}

impl Actor {
    /// Somebody over HTTP; `agent` is their browser's own word for itself.
    pub fn visitor(address: IpAddr, agent: &str) -> Self {
        Self {
            by: "visitor".to_owned(),
            address: Some(address.to_canonical()),
            device: agent::plainly(agent),
        }
    }

    /// Whoever has the command line on the host.
    pub fn operator() -> Self {
        Self {
            by: "operator".to_owned(),
            address: None,
            device: String::new(),
        }
    }

    /// Nobody in particular: a rule, or time.
    pub fn gateway() -> Self {
        Self {
            by: "gateway".to_owned(),
            ..Self::operator()
        }
    }
}

/// How a session is named in events and by `portcullis session list`: it grants nothing.
pub fn session_word(sid: &[u8; 32]) -> String {
    sid.iter().take(6).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What; one of [`What`]'s words, or a newer version's.
    pub what: String,
    /// Whom it is about, if anybody.
    pub user: Option<UserId>,
    /// Their name as it then was.
    pub name: Option<UserName>,
    /// Who did it.
    pub actor: Actor,
    /// More of it.
    pub details: Map<String, Value>,
}

impl Event {
    /// `what` happened at `at`, by `actor`.
    pub fn new(what: What, at: Timestamp, actor: Actor) -> Self {
        Self {
            at,
            what: what.as_str().to_owned(),
            user: None,
            name: None,
            actor,
            details: Map::new(),
        }
    }

    /// About this account.
    #[must_use]
    pub fn about(mut self, user: &UserId, name: &UserName) -> Self {
        self.user = Some(user.clone());
        self.name = Some(name.clone());
        self
    }

    /// With one more word on it. Control characters are left out, and what is too long is cut.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl AsRef<str>) -> Self {
        let mut text: String = value
            .as_ref()
            .chars()
            .filter(|it| !it.is_control())
            .collect();
        text.truncate(text.floor_char_boundary(LONGEST));
        self.details.insert(key.to_owned(), Value::String(text));
        self
    }

    /// With a number.
    #[must_use]
    pub fn with_count(mut self, key: &'static str, count: impl Into<u64>) -> Self {
        self.details.insert(key.to_owned(), count.into().into());
        self
    }

    /// A detail's text; empty where there is none.
    pub fn detail(&self, key: &str) -> &str {
        self.details
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_one_short_line() {
        let event = Event::new(What::SignedIn, Timestamp(0), Actor::operator())
            .with("why", "a\u{7}b\nc")
            .with("long", "ä".repeat(300));
        assert_eq!(event.detail("why"), "abc");
        assert_eq!(event.detail("long").len(), LONGEST);
        assert_eq!(event.detail("none"), "");
    }
}
