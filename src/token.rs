//! JWTs: keys and their rotation, issue, verify, JWKS. Three kinds, never interchangeable
//! (RFC 8725, section 3.11).
//!
//! Interface that the house relies on:
//!
//! - [`Tokens::open`] loads (or makes) the keys; [`Tokens::reload`] after a `Change::Keys`.
//! - [`Tokens::issue_session`] / [`Tokens::verify_session`]: HS256, `typ` =
//!   `portcullis-session+jwt`. `verify_session` checks form, `typ`, `alg`, `kid`, signature,
//!   issuer, that `did` opens and that every claim is there and of its type; *not* the claims' values: that is
//!   [`SessionClaims::check`], made every time, also for a remembered signature.
//! - [`Tokens::assertion`]: `EdDSA`, `typ` = `portcullis-assertion+jwt`, at most 60 s.
//! - [`Tokens::jwks`]: the assertion keys, RFC 7517.
//! - [`is_ours`]: whether an `Authorization` value carries a JWT with one of our `typ`.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    name::{HostName, TenantId, UserId},
    secret::{self, SealingKey},
    store::{Digest, Store, StoreError},
};

mod assertion;
mod form;
mod keys;

pub use assertion::{ASSERTION_LIFE, AssertionCache, AssertionKey, Subject};

use form::Compact;
use keys::Rings;

/// How far in the future `nbf` and `iat` may lie: gateways' clocks differ a little.
const LEEWAY: Duration = Duration::from_secs(5);

/// The purpose under which the device id is sealed into `did`.
const DEVICE_PURPOSE: &str = "did";

/// What a token is for. Decided by who verifies, never by the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A person's login on one host; only gateways verify it.
    Session,
    /// A machine's access; only gateways verify it.
    Access,
    /// Who somebody is, told to a tenant.
    Assertion,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 3] = [Self::Session, Self::Access, Self::Assertion];

    /// Its `typ`, exactly.
    pub fn typ(self) -> &'static str {
        match self {
            Self::Session => "portcullis-session+jwt",
            Self::Access => "portcullis-access+jwt",
            Self::Assertion => "portcullis-assertion+jwt",
        }
    }

    /// What the store calls its keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Access => "access",
            Self::Assertion => "assertion",
        }
    }
}

/// Why a token is not one of ours, or not of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too long, not three parts, not base64url, not JSON, a claim missing or of a wrong type.
    #[error("the token is malformed")]
    Malformed,
    /// Another `typ` or `alg` than this kind has, or a header member that we never write.
    #[error("the token is of another kind")]
    Kind,
    /// No key of that name verifies (any more).
    #[error("the token's key is not known")]
    Key,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// Another gateway's.
    #[error("the token has another issuer")]
    Issuer,
}

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
#[serde(deny_unknown_fields)]
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

/// What a place asks of a token that is shown there.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// How it came.
    pub usage: Use,
    /// The host it came to.
    pub host: &'a HostName,
    /// The tenant that host is now.
    pub tenant: &'a TenantId,
}

/// How much a token is worth by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Before its `exp`.
    Fresh,
    /// Past its `exp`, before its `login_exp`: a cookie that only an authoritative live
    /// session can make good.
    Stale,
}

/// Why a well signed token is worth nothing here and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A cookie's token as Bearer, or the other way round.
    #[error("made to be shown in another way")]
    Usage,
    /// For another host or tenant.
    #[error("for another host or tenant")]
    Audience,
    /// From the future.
    #[error("not valid yet")]
    Early,
    /// Past `exp` (Bearer) or `login_exp`.
    #[error("expired")]
    Expired,
}

/// What a login had been given when a token of it was issued. What comes of that token, a ticket
/// for another host, is for no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The session's generation.
    #[serde(rename = "g")]
    pub generation: u32,
    /// The level.
    #[serde(rename = "l")]
    pub level: u8,
    /// When the last factor was given.
    #[serde(rename = "t")]
    pub auth_time: i64,
    /// The factors, RFC 8176.
    #[serde(rename = "m")]
    pub amr: Vec<String>,
}

impl SessionClaims {
    /// What the login had been given then.
    pub fn given(&self) -> Given {
        Given {
            generation: self.generation,
            level: self.lvl,
            auth_time: self.auth_time,
            amr: self.amr.clone(),
        }
    }

    /// Checks every value against the place and the time. Leeway: 5 s on `nbf` and `iat`, none
    /// on `exp` and `login_exp`.
    pub fn check(&self, want: Want<'_>, now: Timestamp) -> Result<Freshness, Unfit> {
        if self.usage != want.usage {
            return Err(Unfit::Usage);
        }
        if self.aud != want.host.as_str() || self.tid != want.tenant.as_str() {
            return Err(Unfit::Audience);
        }
        let latest = now.plus(LEEWAY);
        if Timestamp::from_secs(self.nbf) > latest || Timestamp::from_secs(self.iat) > latest {
            return Err(Unfit::Early);
        }
        if now >= Timestamp::from_secs(self.login_exp) {
            return Err(Unfit::Expired);
        }
        if now < Timestamp::from_secs(self.exp) {
            return Ok(Freshness::Fresh);
        }
        match self.usage {
            Use::Cookie => Ok(Freshness::Stale),
            Use::Bearer => Err(Unfit::Expired),
        }
    }

    /// Whether half its life is over: time for a new one.
    pub fn is_past_half(&self, now: Timestamp) -> bool {
        let half = self
            .iat
            .saturating_add(self.exp.saturating_sub(self.iat) / 2);
        now >= Timestamp::from_secs(half)
    }
}

/// A session token whose signature was found good, under a key that may be gone by the next
/// request: ask [`Tokens::still_trusts`] before using it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    claims: SessionClaims,
    kid: String,
    sid: Digest,
    device: Digest,
}

impl Verified {
    /// What it says.
    pub fn claims(&self) -> &SessionClaims {
        &self.claims
    }

    /// SHA-256 of its `sid`: what the session is found by.
    pub fn sid(&self) -> &Digest {
        &self.sid
    }

    /// SHA-256 of the device id that it is bound to.
    pub fn device(&self) -> &Digest {
        &self.device
    }
}

#[cfg(test)]
impl Verified {
    /// As if these claims had been signed. For tests of the rooms below.
    pub(crate) fn stand_in(claims: SessionClaims, device: Digest) -> Self {
        Self {
            sid: secret::digest(&claims.sid),
            claims,
            kid: "stand-in".to_owned(),
            device,
        }
    }
}

/// What a new session token is to say.
#[derive(Debug, Clone, Copy)]
pub struct NewToken<'a> {
    /// Whose.
    pub user: &'a UserId,
    /// For which host.
    pub host: &'a HostName,
    /// And which tenant.
    pub tenant: &'a TenantId,
    /// The login's id, plain.
    pub sid: &'a str,
    /// SHA-256 of the device id.
    pub device: &'a Digest,
    /// The session's generation.
    pub generation: u32,
    /// The level it is to carry.
    pub level: u8,
    /// How it will be shown.
    pub usage: Use,
    /// When the login ends.
    pub login_exp: Timestamp,
    /// When the last factor was given.
    pub auth_time: Timestamp,
    /// The factors.
    pub amr: &'a [String],
}

/// Issues and verifies. Shared by all cores; reading takes no lock.
pub struct Tokens {
    key: SealingKey,
    issuer: Arc<str>,
    rings: ArcSwap<Rings>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    /// Loads the keys; makes those that are not there yet. `issuer` is the portal's origin.
    pub fn open(
        store: &mut dyn Store,
        key: &SealingKey,
        issuer: &str,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            key: key.clone(),
            issuer: issuer.into(),
            rings: ArcSwap::from_pointee(keys::load(store, key, now)?),
        })
    }

    /// Loads the keys again, after a rotation.
    pub fn reload(&self, store: &mut dyn Store, now: Timestamp) -> Result<(), StoreError> {
        self.rings
            .store(Arc::new(keys::load(store, &self.key, now)?));
        Ok(())
    }

    /// The portal's origin, the `iss` of every token.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A new session token that says so for `life`, but not beyond the login's end.
    pub fn issue_session(&self, new: &NewToken<'_>, life: Duration, now: Timestamp) -> String {
        self.sign_session(&SessionClaims {
            iss: self.issuer.as_ref().to_owned(),
            sub: new.user.as_str().to_owned(),
            aud: new.host.as_str().to_owned(),
            tid: new.tenant.as_str().to_owned(),
            sid: new.sid.to_owned(),
            did: self
                .key
                .seal_text(DEVICE_PURPOSE, new.sid.as_bytes(), new.device),
            generation: new.generation,
            lvl: new.level,
            usage: new.usage,
            iat: now.secs(),
            nbf: now.secs(),
            exp: now.plus(life).min(new.login_exp).secs(),
            login_exp: new.login_exp.secs(),
            auth_time: new.auth_time.secs(),
            amr: new.amr.to_vec(),
        })
    }

    /// The same token with a new life: level, generation and factors stay its own. Whoever
    /// calls this has asked the session first.
    pub fn renew_session(&self, old: &SessionClaims, life: Duration, now: Timestamp) -> String {
        self.sign_session(&SessionClaims {
            iat: now.secs(),
            nbf: now.secs(),
            exp: now.plus(life).secs().min(old.login_exp),
            ..old.clone()
        })
    }

    /// Checks all of a session token but its claims' values.
    pub fn verify_session(&self, token: &str, now: Timestamp) -> Result<Verified, TokenError> {
        let compact = Compact::parse(token)?;
        let kid = compact.header(Kind::Session, keys::alg(Kind::Session))?;
        self.rings.load().session.verify(&kid, &compact, now)?;
        let claims: SessionClaims = compact.claims()?;
        if claims.iss != *self.issuer {
            return Err(TokenError::Issuer);
        }
        let sid = secret::digest(&claims.sid);
        let device = self.device(&claims).ok_or(TokenError::Malformed)?;
        Ok(Verified {
            claims,
            kid,
            sid,
            device,
        })
    }

    /// Whether the key that signed a remembered token still verifies.
    pub fn still_trusts(&self, verified: &Verified, now: Timestamp) -> bool {
        self.rings.load().session.has(&verified.kid, now)
    }

    /// SHA-256 of the device id that a token is bound to; `None` when its `did` is not ours.
    fn device(&self, claims: &SessionClaims) -> Option<Digest> {
        let plain = self
            .key
            .open_text(DEVICE_PURPOSE, claims.sid.as_bytes(), &claims.did)
            .ok()?;
        plain.as_slice().try_into().ok()
    }

    /// Tells a tenant who somebody is, for at most a minute.
    pub fn assertion(
        &self,
        subject: Subject<'_>,
        host: &HostName,
        tenant: &TenantId,
        amr: &[String],
        auth_time: Timestamp,
        now: Timestamp,
    ) -> String {
        let claims =
            assertion::Claims::new(&self.issuer, subject, host, tenant, amr, auth_time, now);
        self.rings.load().assertion.sign(&claims)
    }

    /// The `kid` that signs assertions now.
    fn assertion_kid(&self) -> Arc<str> {
        Arc::clone(&self.rings.load().assertion.signing().id)
    }

    /// The assertion keys as a JWK set (RFC 7517). Public members only.
    pub fn jwks(&self) -> Arc<str> {
        Arc::clone(&self.rings.load().jwks)
    }

    fn sign_session(&self, claims: &SessionClaims) -> String {
        self.rings.load().session.sign(claims)
    }
}

/// The token of an `Authorization: Bearer` value, if it is a JWT whose header has one of our
/// `typ`. Nothing is verified.
pub fn bearer(authorization: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(authorization)
        .ok()?
        .trim_matches([' ', '\t'])
        .split_once([' ', '\t'])?;
    let token = token.trim_matches([' ', '\t']);
    (scheme.eq_ignore_ascii_case("bearer") && form::kind_of(token).is_some()).then_some(token)
}

/// Whether an `Authorization` value carries a JWT with one of our `typ`: then it alone decides,
/// good or bad, and never crosses to a tenant.
pub fn is_ours(authorization: impl AsRef<[u8]>) -> bool {
    bearer(authorization.as_ref()).is_some()
}

#[cfg(test)]
mod tests;
