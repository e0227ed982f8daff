//! Identities for tests, without a token or a store.

use std::sync::Arc;

use super::{Identity, Reception, Shown};
use crate::{
    clock::Clock,
    config::BindAddress,
    name::TenantId,
    session::{Cell, fixture},
    token::{SessionClaims, Use, Verified},
};

/// Whoever `cell` is, shown in this way at `place`, at the cell's own level.
pub(crate) fn identity(cell: &Arc<Cell>, place: &str, tenant: &str, shown: Shown) -> Identity {
    let standing = cell.standing.load_full();
    let lease = cell
        .lease(
            &fixture::host(place),
            &TenantId::from(tenant),
            standing.level,
            standing.generation,
        )
        .unwrap();
    let claims = SessionClaims {
        iss: "https://auth.example.net".to_owned(),
        sub: cell.user.as_str().to_owned(),
        aud: place.to_owned(),
        tid: tenant.to_owned(),
        sid: "sid".to_owned(),
        did: String::new(),
        generation: standing.generation,
        lvl: standing.level,
        usage: match shown {
            Shown::Cookie => Use::Cookie,
            Shown::Bearer | Shown::Subprotocol | Shown::Message => Use::Bearer,
        },
        iat: cell.created.secs(),
        nbf: cell.created.secs(),
        exp: cell.created.secs() + 300,
        login_exp: cell.login_exp.secs(),
        auth_time: standing.auth_time.secs(),
        amr: standing.amr.clone(),
    };
    Identity {
        level: lease.level,
        profile: Arc::clone(&standing.profile),
        auth_time: standing.auth_time,
        shown,
        token_exp: claims.exp,
        renew: false,
        lease,
        token: Arc::new(Verified::stand_in(claims, cell.device)),
    }
}

/// Where tokens in messages from one client to `place` are judged, by the keys and logins of `house`.
pub(crate) fn reception(
    house: &fixture::House,
    clock: &Clock,
    place: &str,
    tenant: &str,
) -> Reception {
    Reception {
        tokens: Arc::clone(&house.tokens),
        sessions: Arc::clone(&house.sessions),
        clock: clock.clone(),
        bind: BindAddress::Off,
        client: "192.0.2.7".parse().unwrap(),
        host: fixture::host(place),
        tenant: TenantId::from(tenant),
    }
}
