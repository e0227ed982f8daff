//! Who is it? Token and session.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    session::{Lease, Profile},
};

/// How somebody showed who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The cookie: the browser sends it for whoever asks, so the sibling rules apply.
    Cookie,
    /// `Authorization: Bearer`.
    Bearer,
    /// A WebSocket's subprotocol.
    Subprotocol,
}

/// Somebody whose token and session stand. Made only in this room.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(crate) lease: Lease,
    pub(crate) profile: Arc<Profile>,
    pub(crate) level: u8,
    pub(crate) auth_time: Timestamp,
    pub(crate) amr: Vec<String>,
    pub(crate) shown: Shown,
    /// The token's own end of life, seconds since the epoch.
    pub(crate) token_exp: i64,
    /// A new cookie is due with the answer (the token is past half its life).
    pub(crate) renew: bool,
}

/// Nobody, and why: 401 or the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSignedIn {
    /// No credential at all.
    #[error("no credential")]
    Missing,
    /// The cookie came more than once.
    #[error("the session cookie came more than once")]
    Repeated,
    /// Not a token of ours, or not of the kind asked for.
    #[error("malformed or of another kind")]
    Malformed,
    /// Its signature is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// It is for another host or tenant.
    #[error("for another host or tenant")]
    Audience,
    /// It has expired.
    #[error("expired")]
    Expired,
    /// It is not from the address it was issued to.
    #[error("from another address")]
    Address,
    /// Its session is over.
    #[error("the session is over: {0}")]
    Session(#[from] crate::session::Ended),
    /// Its session is not known.
    #[error("no such session")]
    Unknown,
}
