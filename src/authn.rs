//! Who is it? Token and session.
//!
//! One credential decides, and nothing is tried after it: an `Authorization` that carries a
//! token of ours, else the token among a handshake's subprotocols, else the cookie. Only a
//! signature is ever remembered (per connection); every other check is made each time.

use std::sync::Arc;

use http::HeaderValue;

use crate::{
    clock::{Clock, Timestamp},
    config::BindAddress,
    intake::{Credentials, Inbound},
    name::{HostName, TenantId},
    session::{Lease, LeaseRefused, Profile, Sessions},
    store::{Digest, StoreError},
    token::{
        AssertionCache, AssertionKey, Freshness, Given, SessionClaims, TokenError, Tokens, Unfit,
        Use, Verified, Want,
    },
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
    /// `_auth.jwt` of a message.
    Message,
}

/// Somebody whose token and session stand. Made only in this room.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(crate) lease: Lease,
    pub(crate) profile: Arc<Profile>,
    pub(crate) level: u8,
    pub(crate) auth_time: Timestamp,
    pub(crate) shown: Shown,
    /// The token's own end of life, seconds since the epoch.
    pub(crate) token_exp: i64,
    /// A new cookie is due with the answer (the token is past half its life).
    pub(crate) renew: bool,
    /// The token itself, for renewal and for tickets.
    pub(crate) token: Arc<Verified>,
}

impl Identity {
    /// Leave to act, asked again at every frame and chunk.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Who, as far as tenants are told.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// The lower of the token's level and the login's.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// When the last factor of this token was given.
    pub fn auth_time(&self) -> Timestamp {
        self.auth_time
    }

    /// The factors of this token.
    pub fn amr(&self) -> &[String] {
        &self.token.claims().amr
    }

    /// How they showed it.
    pub fn shown(&self) -> Shown {
        self.shown
    }

    /// What the token says.
    pub fn claims(&self) -> &SessionClaims {
        self.token.claims()
    }

    /// The login's id, plain: for tickets and tokens.
    pub fn sid(&self) -> &str {
        &self.token.claims().sid
    }

    /// What a ticket that this token asks for is good for: no more than the token itself.
    pub fn given(&self) -> Given {
        Given {
            level: self.level,
            auth_time: self.auth_time.secs(),
            ..self.claims().given()
        }
    }

    /// Whether a new cookie is due with the answer.
    pub fn wants_renewal(&self) -> bool {
        self.renew
    }

    /// Who this is, for the tenant they go to: remembered for half its life per core.
    pub fn assertion(
        &self,
        cache: &AssertionCache,
        tokens: &Tokens,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let key = AssertionKey {
            sid: self.lease.cell.sid,
            revision: self.lease.cell.revision(),
            generation: self.token.claims().generation,
            host: self.lease.grant.host.clone(),
            tenant: self.lease.grant.tenant.clone(),
        };
        let profile = self.profile.subject();
        cache.get(key, tokens, profile, self.amr(), self.auth_time, now)
    }
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
    /// It is for another host or tenant, or its login was not granted to this one.
    #[error("for another host or tenant")]
    Audience,
    /// It has expired, or is not valid yet.
    #[error("expired")]
    Expired,
    /// It is not from the address it was issued to.
    #[error("from another address")]
    Address,
    /// Its session is over.
    #[error("the session is over: {0}")]
    Session(#[from] crate::session::Ended),
    /// Its session is not known here (another process may have begun or raised it just now).
    #[error("no such session")]
    Unknown,
}

impl From<TokenError> for NotSignedIn {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Malformed | TokenError::Kind | TokenError::Issuer => Self::Malformed,
            TokenError::Key | TokenError::Signature => Self::Signature,
        }
    }
}

impl From<Unfit> for NotSignedIn {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Usage => Self::Malformed,
            Unfit::Audience => Self::Audience,
            Unfit::Early | Unfit::Expired => Self::Expired,
        }
    }
}

impl From<LeaseRefused> for NotSignedIn {
    fn from(refused: LeaseRefused) -> Self {
        match refused {
            LeaseRefused::Ended(ended) => Self::Session(ended),
            LeaseRefused::NotGranted => Self::Audience,
            LeaseRefused::Generation => Self::Unknown,
        }
    }
}

/// Where a credential is shown.
#[derive(Debug, Clone, Copy)]
pub struct Audience<'a> {
    /// The host.
    pub host: &'a HostName,
    /// The tenant that it is now; `portal` for the portal.
    pub tenant: &'a TenantId,
}

/// The last token of a connection whose signature was good. Nothing else of it is remembered.
#[derive(Debug, Default)]
pub struct Remembered(Option<(String, Arc<Verified>)>);

impl Remembered {
    /// The token, verified now or with the same bytes before, under a key that still counts.
    fn verify(
        &mut self,
        token: &str,
        tokens: &Tokens,
        now: Timestamp,
    ) -> Result<Arc<Verified>, TokenError> {
        if let Some((bytes, verified)) = &self.0
            && bytes == token
            && tokens.still_trusts(verified, now)
        {
            return Ok(Arc::clone(verified));
        }
        let verified = Arc::new(tokens.verify_session(token, now)?);
        self.0 = Some((token.to_owned(), Arc::clone(&verified)));
        Ok(verified)
    }
}

/// Where a token is judged that comes inside an open connection.
#[derive(Debug, Clone)]
pub struct Reception {
    /// The keys.
    pub tokens: Arc<Tokens>,
    /// The live logins.
    pub sessions: Arc<Sessions>,
    /// The time.
    pub clock: Clock,
    /// How far a login is bound to an address.
    pub bind: BindAddress,
    /// The client at the other end.
    pub client: std::net::IpAddr,
    /// The host that the connection is to.
    pub host: HostName,
    /// The tenant that it is.
    pub tenant: TenantId,
}

impl Reception {
    /// Whose token this is. All but the signature of the same bytes is looked at each time.
    pub fn identify(
        &self,
        token: &str,
        remembered: &mut Remembered,
        now: Timestamp,
    ) -> Result<Identity, NotSignedIn> {
        let place = Place {
            audience: Audience {
                host: &self.host,
                tenant: &self.tenant,
            },
            tokens: &self.tokens,
            sessions: &self.sessions,
            bind: self.bind,
            client: self.client,
            now,
        };
        place.judge(Shown::Message, token, remembered)
    }
}

/// Who sent this request, if anybody.
pub fn identify(
    inbound: &Inbound,
    audience: Audience<'_>,
    tokens: &Tokens,
    sessions: &Sessions,
    remembered: &mut Remembered,
    bind: BindAddress,
    now: Timestamp,
) -> Result<Identity, NotSignedIn> {
    let (shown, token) = credential(&inbound.credentials, inbound.websocket)?;
    let place = Place {
        audience,
        tokens,
        sessions,
        bind,
        client: inbound.client,
        now,
    };
    place.judge(shown, token, remembered)
}

/// As [`identify`], but a login that is not known here is looked for in the store, once:
/// another process may have begun or raised it.
pub async fn identify_or_read(
    inbound: &Inbound,
    audience: Audience<'_>,
    tokens: &Tokens,
    sessions: &Arc<Sessions>,
    remembered: &mut Remembered,
    bind: BindAddress,
    now: Timestamp,
) -> Result<Result<Identity, NotSignedIn>, StoreError> {
    let first = identify(inbound, audience, tokens, sessions, remembered, bind, now);
    match (first, unknown(remembered)) {
        (Err(NotSignedIn::Unknown), Some(sid)) => {
            sessions.find_or_read(&sid).await?;
            let again = identify(inbound, audience, tokens, sessions, remembered, bind, now);
            Ok(again)
        }
        (first, _) => Ok(first),
    }
}

fn unknown(remembered: &Remembered) -> Option<Digest> {
    remembered.0.as_ref().map(|(_, it)| *it.sid())
}

/// The one credential that decides.
fn credential(credentials: &Credentials, websocket: bool) -> Result<(Shown, &str), NotSignedIn> {
    let subprotocol = credentials.subprotocol.as_deref().filter(|_| websocket);
    match (&credentials.bearer, subprotocol, &credentials.cookie) {
        (Some(_), Some(_), _) | (None, None, Some(Err(_))) => Err(NotSignedIn::Repeated),
        (Some(token), None, _) => Ok((Shown::Bearer, token)),
        (None, Some(token), _) => Ok((Shown::Subprotocol, token)),
        (None, None, Some(Ok(token))) => Ok((Shown::Cookie, token)),
        (None, None, None) => Err(NotSignedIn::Missing),
    }
}

/// Where and when a token is judged.
struct Place<'a> {
    audience: Audience<'a>,
    tokens: &'a Tokens,
    sessions: &'a Sessions,
    bind: BindAddress,
    client: std::net::IpAddr,
    now: Timestamp,
}

impl Place<'_> {
    fn judge(
        &self,
        shown: Shown,
        token: &str,
        remembered: &mut Remembered,
    ) -> Result<Identity, NotSignedIn> {
        let verified = remembered.verify(token, self.tokens, self.now)?;
        let claims = verified.claims();
        let want = Want {
            usage: match shown {
                Shown::Cookie => Use::Cookie,
                Shown::Bearer | Shown::Subprotocol | Shown::Message => Use::Bearer,
            },
            host: self.audience.host,
            tenant: self.audience.tenant,
        };
        let freshness = claims.check(want, self.now)?;
        let cell = self
            .sessions
            .find(verified.sid())
            .ok_or(NotSignedIn::Unknown)?;
        if cell.user.as_str() != claims.sub || *verified.device() != cell.device {
            return Err(NotSignedIn::Malformed);
        }
        let lease = cell.lease(
            self.audience.host,
            self.audience.tenant,
            claims.lvl,
            claims.generation,
        )?;
        lease.check(self.now)?;
        if !cell.allows_address(self.client, self.bind) {
            return Err(NotSignedIn::Address);
        }
        let renew = shown == Shown::Cookie && claims.is_past_half(self.now);
        match freshness {
            Freshness::Fresh => {}
            // Only the session itself can make it good, and only where it is sure to be up to date.
            Freshness::Stale if self.sessions.is_authoritative() => {}
            Freshness::Stale => return Err(NotSignedIn::Expired),
        }
        let standing = cell.standing.load();
        Ok(Identity {
            level: lease.level,
            profile: Arc::clone(&standing.profile),
            auth_time: Timestamp::from_secs(claims.auth_time).min(standing.auth_time),
            shown,
            token_exp: claims.exp,
            renew: renew && self.sessions.is_authoritative(),
            lease,
            token: verified,
        })
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
