//! From the portal to a tenant: a ticket, for a person who goes there and is let in there.

use http::{HeaderValue, Response, StatusCode};

use super::{
    Answer, Visit, address, complete, form_page,
    login::{Wanted, wanted, with_state},
    view,
};
use crate::{
    authn::Identity,
    authz::{self, Ask, Entry, Kind, sibling::Fetch},
    body::Body,
    intake::path::{self, Decided},
    reply::{Refusal, asker::Site, headers::Referrer, page, redirect},
    route::Destination,
    session::{Ended, LeaseRefused},
};

/// Goes on to where the state leads, or says why not.
pub(super) async fn go(visit: &Visit<'_>, identity: &Identity, wanted: &Wanted) -> Answer {
    if let Some(elsewhere) = judge(visit, identity, wanted).await? {
        return Ok(elsewhere);
    }
    if was_signed_out(identity, wanted)
        || !visit.asker.navigation
        || visit.asker.site == Site::Unsaid
    {
        // A tenant's own log-out is not undone behind one's back; and a ticket is only for a
        // person who goes there: a fetch, a frame, or a browser that does not say gets a page.
        return Ok(ask(identity, wanted));
    }
    let href = ticket(visit, identity, wanted).await?;
    Ok(lead(visit, &href, wanted))
}

/// The person has said yes on our own page.
pub(super) async fn confirmed(visit: &mut Visit<'_>) -> Answer {
    let Some(wanted) = wanted(visit)? else {
        return Ok(super::local("/account"));
    };
    let Ok(identity) = visit.identity else {
        return Ok(super::local(&with_state("/login", Some(&wanted))));
    };
    if let Some(elsewhere) = judge(visit, identity, &wanted).await? {
        return Ok(elsewhere);
    }
    let href = ticket(visit, identity, &wanted).await?;
    Ok(through_a_page(&href, &wanted))
}

/// Whether there is such a place and this person is let in. `Some`: another way is to be taken.
async fn judge(
    visit: &Visit<'_>,
    identity: &Identity,
    wanted: &Wanted,
) -> Result<Option<Response<Body>>, Refusal> {
    let state = &wanted.state;
    let table = visit.desk.routes.load();
    let Destination::Tenant(route) = table.find(&state.host) else {
        return Err(Refusal::Forbidden);
    };
    if identity.lease().cell.confined_to.is_some() {
        return Err(Refusal::Forbidden);
    }
    if !wanted.fresh || route.tenant != state.tenant {
        // Too old for a ticket: the place itself begins again.
        let href = address(&state.host, visit.inbound.port, &state.path);
        return Ok(Some(lead(visit, &href, wanted)));
    }
    let raw = state.path.split(['?', '#']).next().unwrap_or("/");
    let ask = Ask {
        host: state.host.clone(),
        path: path::decide(raw).unwrap_or(Decided::Ambiguous),
        method: http::Method::GET,
        client: visit.inbound.client,
        kind: Kind::Navigation,
        fetch: Fetch::default(),
        own_origin: super::origin(&state.host, visit.inbound.port),
    };
    let entry = authz::entry(
        &route,
        route.path(&ask.path, raw),
        &ask,
        identity.profile(),
        identity.level(),
        identity.auth_time(),
        visit.now,
    );
    match entry {
        Entry::Welcome => Ok(None),
        Entry::StepUp(policy) => complete::step_up(visit, wanted, policy).await.map(Some),
        Entry::Refused(_) => Err(Refusal::Forbidden),
    }
}

/// Whether the tenant's own log-out ended this host's part of the login.
fn was_signed_out(identity: &Identity, wanted: &Wanted) -> bool {
    let state = &wanted.state;
    let generation = identity.claims().generation;
    let lease =
        identity
            .lease()
            .cell
            .lease(&state.host, &state.tenant, identity.level(), generation);
    matches!(lease, Err(LeaseRefused::Ended(Ended::Grant)))
}

/// Mints a ticket: the address of the tenant's callback with it.
async fn ticket(
    visit: &Visit<'_>,
    identity: &Identity,
    wanted: &Wanted,
) -> Result<HeaderValue, Refusal> {
    let desk = visit.desk;
    let ticket = desk
        .signin
        .mint(
            &desk.store,
            identity.sid(),
            identity.given(),
            &wanted.state,
            visit.now,
        )
        .await?;
    let target = format!("/.portcullis/callback?state={}&ticket={ticket}", wanted.raw);
    let mut href = address(&wanted.state.host, visit.inbound.port, &target);
    href.set_sensitive(true);
    Ok(href)
}

/// Straight there; or, at the end of a form of ours, through a page: browsers hold a form's
/// redirects to `form-action`.
fn lead(visit: &Visit<'_>, href: &HeaderValue, wanted: &Wanted) -> Response<Body> {
    if visit.asker.site == Site::SameOrigin {
        through_a_page(href, wanted)
    } else {
        redirect::see_other(href.clone())
    }
}

fn through_a_page(href: &HeaderValue, wanted: &Wanted) -> Response<Body> {
    page::answer(
        StatusCode::OK,
        &view::Onward {
            href: href.to_str().unwrap_or("/"),
            host: wanted.state.host.as_str(),
        },
        Referrer::None,
    )
}

fn ask(identity: &Identity, wanted: &Wanted) -> Response<Body> {
    form_page(
        StatusCode::OK,
        &view::Continue {
            action: with_state("/login/continue", Some(wanted)),
            host: wanted.state.host.as_str(),
            username: identity.profile().name.as_str(),
        },
    )
}
