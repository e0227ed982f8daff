//! The sign-in redirect between a tenant's host and the portal: sealed attempt cookies, sealed
//! state, one-time tickets; and the notes that a browser carries for us.
//!
//! The way: a tenant's host [`Signin::start`]s an attempt (a cookie with the verifier, a state
//! for the query) and sends the browser to the portal; the portal [`Signin::read_state`]s,
//! signs in, and [`Signin::mint`]s a ticket; the tenant's host [`Signin::open_attempt`]s and
//! [`Signin::claim`]s. A browser carries everything sealed; the portal believes the state and
//! no other parameter.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    clock::Timestamp,
    name::{HostName, TenantId},
    random,
    secret::{self, NotOurs, SealingKey},
    session::{Cell, Sessions},
    store::{StoreError, StoreHandle, TicketRecord},
    token::Given,
};

pub mod cookie;
mod location;
mod notes;
mod query;

pub use location::absolute;
pub use notes::{Device, HalfLogin, Met};
pub use query::{CallbackQuery, Unclear, callback_query, login_query};

/// How long an attempt, and a half-done login, may take.
pub const ATTEMPT_LIFE: Duration = Duration::from_mins(10);

/// How long a ticket may take from the portal to the tenant's host.
pub const TICKET_LIFE: Duration = Duration::from_secs(30);

/// How many attempts a browser may have under way on one host.
const ATTEMPTS: usize = 8;

/// A return target longer than this is not repeated: the way back ends at `/`.
const LONGEST_TARGET: usize = 4096;

const ATTEMPT_PURPOSE: &str = "signin-attempt";
const STATE_PURPOSE: &str = "signin-state";
const TICKET_PURPOSE: &str = "signin-ticket";

/// Starts and ends sign-in redirects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signin {
    key: SealingKey,
}

/// An attempt under way: what to answer with.
#[derive(Debug, Clone)]
pub struct Start {
    /// One new attempt cookie, and expiries of the oldest where there would be more than 8.
    pub set_cookie: Vec<HeaderValue>,
    /// For the query, `state=`.
    pub state: String,
    /// base64url of SHA-256 of the verifier. It is in the state too.
    pub challenge: String,
}

/// What the portal, and later the callback, believes about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// 8 hex digits.
    pub attempt: String,
    /// base64url of SHA-256 of the verifier in the attempt's cookie.
    pub challenge: String,
    /// The host it began at.
    pub host: HostName,
    /// The tenant it then was.
    pub tenant: TenantId,
    /// The request target to return to, exactly as it came.
    pub path: String,
    /// The level asked.
    pub level: u8,
    /// When it began.
    pub begun: Timestamp,
}

impl State {
    fn of(sealed: SealedState) -> Result<Self, BadAttempt> {
        Ok(Self {
            attempt: sealed.a,
            challenge: sealed.c,
            host: HostName::parse(&sealed.h).map_err(|_| BadAttempt::NotOurs)?,
            tenant: TenantId::from(sealed.t.as_str()),
            path: sealed.p,
            level: sealed.l,
            begun: sealed.at,
        })
    }
}

/// A state or an attempt is not ours, for another place, or too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAttempt {
    /// Altered, or never ours.
    #[error("not made by this gateway")]
    NotOurs,
    /// Made for another host, tenant or attempt.
    #[error("made for another place")]
    Elsewhere,
    /// More than ten minutes old.
    #[error("too old")]
    Expired,
    /// No such cookie: more than 8 at once, another browser, or it came twice.
    #[error("the browser does not carry this attempt")]
    Missing,
}

impl From<NotOurs> for BadAttempt {
    fn from(_: NotOurs) -> Self {
        Self::NotOurs
    }
}

#[derive(Serialize, Deserialize)]
struct SealedState {
    a: String,
    c: String,
    h: String,
    t: String,
    p: String,
    l: u8,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct SealedAttempt {
    v: String,
    a: String,
    h: String,
    t: String,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct SealedTicket {
    s: String,
    h: String,
    n: String,
    g: Given,
}

/// A claimed ticket: the login, and what its tenant's token is for.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The login's id, plain.
    pub sid: String,
    /// The login, now granted to the host.
    pub cell: Arc<Cell>,
    /// What had been given to the token that asked for the ticket.
    pub given: Given,
}

impl Signin {
    /// With the house's sealing key.
    pub fn new(key: SealingKey) -> Self {
        Self { key }
    }

    /// Begins an attempt on `host`. `target` is the request target to come back to; `others`
    /// are the request's other cookies of ours (`Credentials::others`).
    pub fn start(
        &self,
        host: &HostName,
        tenant: &TenantId,
        target: &str,
        level: u8,
        now: Timestamp,
        others: &[(String, String)],
    ) -> Start {
        let attempt = format!("{:08x}", u32::from_be_bytes(random::bytes()));
        let verifier = random::ticket();
        let challenge = URL_SAFE_NO_PAD.encode(secret::digest(&verifier));
        let path = if target.len() <= LONGEST_TARGET {
            target
        } else {
            "/"
        };
        let state = self.seal(
            STATE_PURPOSE,
            "",
            &SealedState {
                a: attempt.clone(),
                c: challenge.clone(),
                h: host.as_str().to_owned(),
                t: tenant.as_str().to_owned(),
                p: path.to_owned(),
                l: level,
                at: now,
            },
        );
        let sealed = self.seal(
            ATTEMPT_PURPOSE,
            &attempt,
            &SealedAttempt {
                v: verifier,
                a: attempt.clone(),
                h: host.as_str().to_owned(),
                t: tenant.as_str().to_owned(),
                at: now,
            },
        );
        let mut set_cookie: Vec<_> = self
            .surplus(others, now)
            .into_iter()
            .map(|it| cookie::attempt_gone(&it))
            .collect();
        set_cookie.push(cookie::attempt(&attempt, &sealed));
        Start {
            set_cookie,
            state,
            challenge,
        }
    }

    /// The attempts that make room for a new one: what is not ours, what is too old, and the
    /// oldest beyond seven.
    fn surplus(&self, others: &[(String, String)], now: Timestamp) -> Vec<String> {
        let mut drop = Vec::new();
        let mut kept = Vec::new();
        for (name, value) in others {
            let Some(attempt) = cookie::attempt_of(name) else {
                continue;
            };
            match self.unseal::<SealedAttempt>(ATTEMPT_PURPOSE, attempt, value) {
                Ok(it) if is_in_time(it.at, ATTEMPT_LIFE, now) => kept.push((it.at, attempt)),
                Ok(_) | Err(_) => drop.push(attempt),
            }
        }
        kept.sort_unstable();
        let surplus = (kept.len() + 1).saturating_sub(ATTEMPTS);
        drop.extend(kept.iter().take(surplus).map(|(_, attempt)| *attempt));
        drop.sort_unstable();
        drop.dedup();
        drop.truncate(4 * ATTEMPTS);
        drop.into_iter().map(ToOwned::to_owned).collect()
    }

    /// Reads a state, on the portal or at the callback.
    pub fn read_state(&self, state: &str, now: Timestamp) -> Result<State, BadAttempt> {
        let sealed: SealedState = self.unseal(STATE_PURPOSE, "", state)?;
        if !is_in_time(sealed.at, ATTEMPT_LIFE, now) {
            return Err(BadAttempt::Expired);
        }
        State::of(sealed)
    }

    /// Reads a state of any age: where somebody wanted to go, and nothing more. It is good for
    /// sending them there to begin again.
    pub fn read_old_state(&self, state: &str) -> Result<State, BadAttempt> {
        let sealed: SealedState = self.unseal(STATE_PURPOSE, "", state)?;
        State::of(sealed)
    }

    /// The verifier of an attempt, from the browser's own cookie for it.
    pub fn open_attempt(
        &self,
        others: &[(String, String)],
        attempt: &str,
        host: &HostName,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Result<String, BadAttempt> {
        let mut found = others
            .iter()
            .filter(|(name, _)| cookie::attempt_of(name) == Some(attempt));
        let (Some((_, value)), None) = (found.next(), found.next()) else {
            return Err(BadAttempt::Missing);
        };
        let sealed: SealedAttempt = self.unseal(ATTEMPT_PURPOSE, attempt, value)?;
        if sealed.a != attempt || sealed.h != host.as_str() || sealed.t != tenant.as_str() {
            return Err(BadAttempt::Elsewhere);
        }
        if !is_in_time(sealed.at, ATTEMPT_LIFE, now) {
            return Err(BadAttempt::Expired);
        }
        Ok(sealed.v)
    }

    /// A ticket for the login `sid` (plain), as far as it was `given`, to the place that `state` names: stored by its
    /// digest, good for 30 s, once. The portal answers for the rest: a document navigation, a
    /// routed host, a user whom policy lets in, a login that is not confined.
    pub async fn mint(
        &self,
        store: &StoreHandle,
        sid: &str,
        given: Given,
        state: &State,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        let ticket = self.seal(
            TICKET_PURPOSE,
            "",
            &SealedTicket {
                s: sid.to_owned(),
                h: state.host.as_str().to_owned(),
                n: random::id(),
                g: given,
            },
        );
        let record = TicketRecord {
            sid: secret::digest(sid),
            host: state.host.clone(),
            tenant: state.tenant.clone(),
            challenge: state.challenge.clone(),
            expires: now.plus(TICKET_LIFE),
        };
        let digest = secret::digest(&ticket);
        store
            .call(move |store| store.put_ticket(&digest, &record))
            .await?;
        Ok(ticket)
    }

    /// Claims a ticket at `host` with the attempt's verifier. The login is granted to
    /// this host then. `None`: not good for this; it is used up all the same.
    pub async fn claim(
        &self,
        sessions: &Arc<Sessions>,
        ticket: &str,
        verifier: &str,
        host: &HostName,
        tenant: &TenantId,
    ) -> Result<Option<Claimed>, StoreError> {
        let challenge = URL_SAFE_NO_PAD.encode(secret::digest(verifier));
        let claimed = sessions
            .claim(secret::digest(ticket), host, tenant, &challenge)
            .await?;
        let opened = self.unseal::<SealedTicket>(TICKET_PURPOSE, "", ticket);
        Ok(match (claimed, opened) {
            (Some(cell), Ok(it)) if it.h == host.as_str() && secret::digest(&it.s) == cell.sid => {
                Some(Claimed {
                    sid: it.s,
                    cell,
                    given: it.g,
                })
            }
            _ => None,
        })
    }

    #[expect(
        clippy::expect_used,
        reason = "structs of strings and numbers serialise"
    )]
    fn seal(&self, purpose: &str, context: &str, plain: &impl Serialize) -> String {
        let plain = serde_json::to_vec(plain).expect("a plain struct serialises");
        self.key.seal_text(purpose, context.as_bytes(), &plain)
    }

    fn unseal<T: DeserializeOwned>(
        &self,
        purpose: &str,
        context: &str,
        sealed: &str,
    ) -> Result<T, NotOurs> {
        let plain = self.key.open_text(purpose, context.as_bytes(), sealed)?;
        serde_json::from_slice(&plain).map_err(|_| NotOurs)
    }
}

/// Whether something made at `begun` is at most `life` old. (Our own times: a little in the
/// future is another gateway's clock.)
fn is_in_time(begun: Timestamp, life: Duration, now: Timestamp) -> bool {
    now < begun.plus(life) && begun <= now.plus(Duration::from_secs(5))
}

#[cfg(test)]
mod tests;
