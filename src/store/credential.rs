//! Keys and passkeys, and the ceremonies that are under way, as they are kept.

use super::Digest;
use crate::{clock::Timestamp, name::UserId};

/// What a credential was registered as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    /// A security key: the second factor after a password.
    Key,
    /// A passkey: verifies its user, and is both factors at once.
    Passkey,
    /// A key registered for U2F, in another program, and taken in.
    U2f,
}

impl CredentialKind {
    /// As it is stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Passkey => "passkey",
            Self::U2f => "u2f",
        }
    }

    /// The reverse.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Key, Self::Passkey, Self::U2f]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

/// A key or a passkey of somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRecord {
    /// The authenticator's own id for it: one person's only.
    pub id: Vec<u8>,
    /// Whose.
    pub user: UserId,
    /// What it was registered as.
    pub kind: CredentialKind,
    /// What its owner calls it.
    pub name: String,
    /// The public key and what was said of it, in the `WebAuthn` library's own form, sealed.
    pub sealed: Vec<u8>,
    /// The highest signature counter seen; 0 where the authenticator has none.
    pub counter: u32,
    /// It may be copied to other devices: no piece of hardware.
    pub backup_eligible: bool,
    /// It has been, as far as it says.
    pub backed_up: bool,
    /// Whether the person was verified (PIN, fingerprint) when it was registered.
    pub user_verified: bool,
    /// When it was added.
    pub created: Timestamp,
    /// When it last signed somebody in.
    pub last_used: Option<Timestamp>,
}

/// A challenge that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CeremonyRecord {
    /// `register`, `second` or `passkey`: an answer to one is none to another.
    pub purpose: String,
    /// What it is bound to: a session, a half-done login, a device.
    pub binding: Digest,
    /// Who is asked; `None` where anybody may answer who can say who they are.
    pub user: Option<UserId>,
    /// The `WebAuthn` library's state, sealed.
    pub sealed: Vec<u8>,
    /// No longer good from then on.
    pub expires: Timestamp,
}

/// What came of taking a second factor away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Done,
    /// It is the last one, and stays.
    Last,
    /// There is no such thing.
    NotThere,
}
