//! May they? A pure function of the route, the request line, the identity and the clock.
//!
//! [`decide`] is the only maker of a [`Permit`], and nothing is forwarded without one.
//! A [`Vigil`] goes on asking for as long as something forwarded under a permit stays open.

use std::{net::IpAddr, sync::Arc};

use http::Method;

use crate::{
    authn::{Identity, NotSignedIn, Shown},
    clock::Timestamp,
    config::Policy,
    intake::path::Decided,
    name::{HostName, TenantId},
    route::{HostRoute, PathRoute},
    session::Profile,
};

pub mod rules;
pub mod sibling;
pub mod vigil;

pub use rules::{Required, Source, required};
pub use sibling::{Fetch, Site};
pub use vigil::{Over, Sight, Vigil};

/// What sort of request it is: what is asked of it and how it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A top-level document: refused by a redirect.
    Navigation,
    /// Anything else over HTTP: refused by JSON.
    Request,
    /// Engine.IO's polling transport.
    Polling,
    /// A WebSocket handshake.
    Socket,
}

impl Kind {
    /// Whether a rule's `sockets` is meant (or its `pages`).
    pub fn is_socket(self) -> bool {
        matches!(self, Self::Polling | Self::Socket)
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The host.
    pub host: HostName,
    /// The path that decisions are made on.
    pub path: Decided,
    /// The method.
    pub method: Method,
    /// From where.
    pub client: IpAddr,
    /// What sort of request.
    pub kind: Kind,
    /// What the browser says of who made it ask.
    pub fetch: Fetch,
    /// The origin that is this very host's own: `https://a.example.com[:port]`.
    pub own_origin: String,
}

/// Why somebody who is known may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// No rule admits this user here.
    #[error("no rule admits this user here")]
    NotAdmitted,
    /// The path is for private networks only.
    #[error("only from private networks")]
    NotInternal,
}

/// What is to become of a request.
#[derive(Debug)]
pub enum Decision {
    /// Forwarded; as nobody's when [`Permit::identity`] is `None`.
    Admit(Permit),
    /// Sign in first, at least so strongly.
    SignIn(NotSignedIn, Policy),
    /// Signed in, but not strongly or recently enough.
    StepUp(Policy),
    /// Known, and may not.
    Forbidden(Forbidden),
    /// Made to ask by another site, or by a sibling tenant's page.
    CrossSite,
    /// The path could be read in two ways, and it matters here.
    Ambiguous,
}

/// Leave to reach one tenant with one request. Made only here.
#[derive(Debug, Clone)]
pub struct Permit {
    identity: Option<Identity>,
    route: Arc<HostRoute>,
    ask: Arc<Ask>,
}

impl Permit {
    /// Whose request it is; `None`: nobody's, on an open path.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The host's route.
    pub fn route(&self) -> &Arc<HostRoute> {
        &self.route
    }

    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.route.tenant
    }

    /// What was asked for.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }
}

/// Somebody who asks, as far as the policy looks at them.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// Who.
    pub profile: &'a Profile,
    /// The level of what they showed.
    pub level: u8,
    /// When its last factor was given.
    pub auth_time: Timestamp,
}

/// What the policy says, and which part of it: also what `portcullis explain` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Anybody may, and goes through as nobody.
    Open(Required),
    /// Nobody is known: sign in.
    SignIn(Required),
    /// Known, but not so strongly or so recently.
    StepUp(Required),
    /// Known well enough.
    Enough(Required),
    /// Known, and may not.
    Forbidden(Forbidden),
    /// The path could be read in two ways, and it matters here.
    Ambiguous,
}

/// Asks the policy alone. `path` is where the path leads on that host, if anywhere.
pub fn judge(
    route: &HostRoute,
    path: Option<&PathRoute>,
    ask: &Ask,
    who: Option<Who<'_>>,
    now: Timestamp,
) -> Verdict {
    if route.path_matters && ask.path == Decided::Ambiguous {
        return Verdict::Ambiguous;
    }
    if path.is_some_and(|it| it.internal) && !is_private(ask.client.to_canonical()) {
        return Verdict::Forbidden(Forbidden::NotInternal);
    }
    let needs = match required(route, path, ask, who.map(|it| it.profile)) {
        Ok(needs) => needs,
        Err(forbidden) => return Verdict::Forbidden(forbidden),
    };
    match who {
        _ if needs.policy == Policy::Open => Verdict::Open(needs),
        None => Verdict::SignIn(needs),
        Some(who) if falls_short(&needs, who.level, who.auth_time, now) => Verdict::StepUp(needs),
        Some(_) => Verdict::Enough(needs),
    }
}

/// Judges one request. `path` is where its path leads on that host, if anywhere.
pub fn decide(
    route: &Arc<HostRoute>,
    path: Option<&PathRoute>,
    ask: Ask,
    identity: Result<Identity, NotSignedIn>,
    now: Timestamp,
) -> Decision {
    let who = identity.as_ref().ok().map(|it| Who {
        profile: &it.profile,
        level: it.level,
        auth_time: it.auth_time,
    });
    let verdict = judge(route, path, &ask, who, now);
    let (needs, is_enough) = match verdict {
        Verdict::Ambiguous => return Decision::Ambiguous,
        Verdict::Forbidden(forbidden) => return Decision::Forbidden(forbidden),
        // As nobody's, even where somebody is signed in.
        Verdict::Open(_) => return Decision::Admit(permit(route, ask, None)),
        Verdict::SignIn(needs) | Verdict::StepUp(needs) => (needs, false),
        Verdict::Enough(needs) => (needs, true),
    };
    let identity = match identity {
        Ok(identity) => identity,
        Err(why) => return Decision::SignIn(why, needs.policy),
    };
    if !sibling::is_own(&ask, identity.shown, &route.settings.allow_origins) {
        return Decision::CrossSite;
    }
    if is_enough {
        Decision::Admit(permit(route, ask, Some(identity)))
    } else {
        Decision::StepUp(needs.policy)
    }
}

fn permit(route: &Arc<HostRoute>, ask: Ask, identity: Option<Identity>) -> Permit {
    Permit {
        identity,
        route: Arc::clone(route),
        ask: Arc::new(ask),
    }
}

/// Whether somebody who is about to be sent to a host would be let in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Yes.
    Welcome,
    /// Not before a stronger or fresher factor.
    StepUp(Policy),
    /// No.
    Refused(Forbidden),
}

/// Asked by the portal before it mints a ticket.
pub fn entry(
    route: &Arc<HostRoute>,
    path: Option<&PathRoute>,
    ask: &Ask,
    who: &Profile,
    level: u8,
    auth_time: Timestamp,
    now: Timestamp,
) -> Entry {
    match required(route, path, ask, Some(who)) {
        Err(forbidden) => Entry::Refused(forbidden),
        Ok(needs) if falls_short(&needs, level, auth_time, now) => Entry::StepUp(needs.policy),
        Ok(_) => Entry::Welcome,
    }
}

fn falls_short(needs: &Required, level: u8, auth_time: Timestamp, now: Timestamp) -> bool {
    level < strength(needs.policy) || needs.max_age.is_some_and(|most| auth_time.plus(most) < now)
}

/// The level that a policy asks for.
fn strength(policy: Policy) -> u8 {
    match policy {
        Policy::Open => 0,
        Policy::OneFactor => 1,
        Policy::TwoFactor => 2,
        Policy::HardwareKey => 3,
    }
}

/// nginx-proxy's `network_internal.conf`: loopback, RFC 1918, and unique local addresses.
fn is_private(client: IpAddr) -> bool {
    match client {
        IpAddr::V4(it) => it.is_loopback() || it.is_private(),
        IpAddr::V6(it) => it.is_loopback() || it.is_unique_local(),
    }
}

/// How an identity was shown decides what its request must prove of where it comes from.
pub(crate) fn is_sent_by_itself(shown: Shown) -> bool {
    match shown {
        Shown::Cookie => true,
        Shown::Bearer | Shown::Subprotocol | Shown::Message => false,
    }
}

#[cfg(test)]
mod tests;
