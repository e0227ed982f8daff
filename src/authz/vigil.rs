//! Goes on asking whether a permit still holds, for as long as something forwarded under it
//! stays open: a few atomic loads at every frame and chunk, and a wake-up for the silent ones.

use std::{net::SocketAddr, pin::Pin, rc::Rc, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::{
    authn::Identity,
    authz::{Permit, rules::required},
    clock::{Clock, Timestamp},
    config::Policy,
    route::{Destination, Routes},
    session::Ended,
};

/// Why something open must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// The session, or this host's part of it, is over.
    #[error("the session is over: {0}")]
    Session(Ended),
    /// The token that messages have to show has expired or is missing, and none came in time.
    #[error("no token has come that is good")]
    Token,
    /// The policy no longer admits it.
    #[error("the policy no longer admits it")]
    Policy,
    /// The host belongs to another tenant now.
    #[error("the host belongs to another tenant now")]
    TenantChanged,
    /// The tenant, or the one replica this leads to, is gone.
    #[error("the tenant is gone")]
    TenantGone,
    /// The gateway is going down.
    #[error("the gateway is going down")]
    Draining,
}

/// What every vigil of a core looks at: counted once for the core, so that a request shares no
/// counter with other cores for it.
#[derive(Debug)]
pub struct Sight {
    /// The table in force.
    pub routes: Arc<Routes>,
    /// The time that it goes by.
    pub clock: Clock,
    /// The gateway is going down.
    pub draining: CancellationToken,
}

/// Watches over one permit.
#[derive(Debug, Clone)]
pub struct Vigil {
    permit: Permit,
    upstream: SocketAddr,
    sight: Rc<Sight>,
    epoch: u64,
    revision: u32,
    /// Until then an idle session does not end it: nothing passes, and a token may revive it.
    grace: Option<Timestamp>,
}

impl Vigil {
    /// Begins to watch over `permit`, for what is forwarded to `upstream`. `epoch` is that of
    /// the table that the permit was made under, read before the table itself.
    pub fn new(permit: Permit, upstream: SocketAddr, sight: Rc<Sight>, epoch: u64) -> Self {
        Self {
            // The revision at the lease: what changed since is looked at by the first check.
            revision: permit.identity().map_or(0, |it| it.lease.revision),
            permit,
            upstream,
            sight,
            epoch,
            grace: None,
        }
    }

    /// What is watched over.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The time that it goes by.
    pub fn now(&self) -> Timestamp {
        self.sight.clock.now()
    }

    /// Whether the next frame or chunk may pass, now.
    pub fn check(&mut self, now: Timestamp) -> Result<(), Over> {
        if let Some(identity) = self.permit.identity() {
            match identity.lease.check(now) {
                Err(Ended::Idle) if self.grace.is_some_and(|until| now < until) => {}
                other => other.map_err(Over::Session)?,
            }
        }
        let epoch = self.sight.routes.epoch();
        let revision = self.revision_now();
        if epoch != self.epoch || revision != self.revision {
            self.look_again()?;
            (self.epoch, self.revision) = (epoch, revision);
        }
        Ok(())
    }

    /// Bears with an idle session until then. Whoever asks lets nothing pass meanwhile.
    pub fn bear(&mut self, until: Timestamp) {
        self.grace = Some(until);
    }

    /// Whether it bears with a session that is idle.
    pub fn is_bearing(&self) -> bool {
        self.grace.is_some()
    }

    /// Goes on under another token of the same user for the same host and tenant, if the policy
    /// admits who holds it now.
    pub fn adopt(&mut self, identity: Identity) -> Result<(), Over> {
        let is_theirs = self.permit.identity().is_some_and(|old| {
            let (old, new) = (&old.lease, &identity.lease);
            old.cell.user == new.cell.user
                && old.grant.host == new.grant.host
                && old.grant.tenant == new.grant.tenant
        });
        if !is_theirs {
            return Err(Over::Session(Ended::Replaced));
        }
        self.revision = identity.lease.revision;
        self.permit.identity = Some(identity);
        self.grace = None;
        self.check(self.now())?;
        self.look_again()
    }

    /// Waits until it is over. Safe to drop and call again.
    pub async fn over(&mut self) -> Over {
        loop {
            self.alarm().await;
            if let Err(over) = self.check(self.now()) {
                return over;
            }
            if self.is_draining() {
                return Over::Draining;
            }
        }
    }

    /// Rings when something may have changed: then [`Vigil::check`] and [`Vigil::is_draining`]
    /// tell, and another alarm is to be set. Borrows nothing.
    pub fn alarm(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        // (What has rung already is not waited for again.)
        let identity = self.permit.identity().filter(|_| self.grace.is_none());
        let lease = identity.map(|it| it.lease.over().clone());
        let mut changed = self.sight.routes.watch();
        let (seen, sight) = (self.epoch, Rc::clone(&self.sight));
        Box::pin(async move {
            if sight.routes.epoch() != seen {
                return;
            }
            let ended = async {
                match &lease {
                    Some(over) => over.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ended => {}
                () = sight.draining.cancelled() => {}
                // The sender lives in the routes, which is held here: it cannot be gone.
                _ = changed.changed() => {}
            }
        })
    }

    /// Whether the gateway is going down. (Sockets end then; a request in hand is finished.)
    pub fn is_draining(&self) -> bool {
        self.sight.draining.is_cancelled()
    }

    /// Grows when the login's level, factors or profile change.
    fn revision_now(&self) -> u32 {
        let identity = self.permit.identity();
        identity.map_or(self.revision, |it| it.lease.cell.revision())
    }

    /// The routes or the login changed: is it still the same tenant at the same place, and still admitted?
    fn look_again(&self) -> Result<(), Over> {
        let table = self.sight.routes.load();
        let ask = self.permit.ask();
        let Destination::Tenant(route) = table.find(&ask.host) else {
            return Err(Over::TenantGone);
        };
        if route.tenant != *self.permit.tenant() {
            return Err(Over::TenantChanged);
        }
        let path = route.path(&ask.path, "/");
        let is_here = route
            .paths
            .iter()
            .flat_map(|it| it.upstreams.iter())
            .any(|it| it.address == self.upstream);
        if !is_here {
            return Err(Over::TenantGone);
        }
        let who = self.permit.identity().map(|it| &*it.profile);
        let needs = required(&route, path, ask, who).map_err(|_| Over::Policy)?;
        let level = match self.permit.identity() {
            Some(identity) => identity.lease.level(),
            // Went through an open path as nobody's: only while it stays open.
            None if needs.policy == Policy::Open => return Ok(()),
            None => return Err(Over::Policy),
        };
        let asked = super::strength(needs.policy);
        if needs.policy != Policy::Open && level < asked {
            Err(Over::Policy)
        } else {
            Ok(())
        }
    }
}
