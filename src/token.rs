//! JWTs: keys and their rotation, issue, verify, JWKS. Three kinds, never interchangeable
//! (RFC 8725, section 3.11).
//!
//! Interface that the house relies on:
//!
//! - [`Tokens::open`] loads (or makes) the keys; [`Tokens::reload`] after a `Change::Keys`.
//! - [`Tokens::issue_session`] / [`Tokens::verify_session`]: HS256, `typ` =
//!   `portcullis-session+jwt`. `verify_session` checks form, `typ`, `alg`, `kid`, signature and
//!   that every claim is there and of its type; *not* the claims' values: that is
//!   [`SessionClaims::check`], made every time, also for a remembered signature.
//! - [`Tokens::assertion`]: EdDSA, `typ` = `portcullis-assertion+jwt`, at most 60 s.
//! - [`Tokens::jwks`]: the assertion keys, RFC 7517.
//! - [`is_ours`]: whether an `Authorization` value carries a JWT with one of our `typ`.

use serde::{Deserialize, Serialize};

/// How a session token is presented; a token made for one is refused as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// In `__Host-portcullis`.
    Cookie,
    /// As Bearer, WebSocket subprotocol or in-band.
    Bearer,
}

/// The claims of a session token. Times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClaims {
    /// The portal's origin.
    pub iss: String,
    /// The user's immutable id.
    pub sub: String,
    /// The host it is for.
    pub aud: String,
    /// The tenant it is for (`portal` for the portal itself).
    pub tid: String,
    /// The login's id (plain; the store has its digest).
    pub sid: String,
    /// The device id, sealed.
    pub did: String,
    /// The session's generation when it was issued.
    #[serde(rename = "gen")]
    pub generation: u32,
    /// The level that this token carries.
    pub lvl: u8,
    /// How it may be presented.
    #[serde(rename = "use")]
    pub usage: Use,
    /// Issued at.
    pub iat: i64,
    /// Not before.
    pub nbf: i64,
    /// Good until, for who has no other word.
    pub exp: i64,
    /// When the login ends whatever happens.
    pub login_exp: i64,
    /// When the last factor was given.
    pub auth_time: i64,
    /// The factors, RFC 8176.
    pub amr: Vec<String>,
}
