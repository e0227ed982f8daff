//! The end of the sign-in redirect, on the tenant's host.

use std::sync::Arc;

use http::{HeaderValue, Response};

use super::{
    Answer, Visit, address,
    challenge::{Retry, to_portal},
    with_cookies,
};
use crate::{
    body::Body,
    reply::{Refusal, redirect},
    route::HostRoute,
    signin::{BadAttempt, Claimed, State, callback_query, cookie},
    token::Use,
};

/// Claims the ticket, sets the cookie, and goes to the page that was wanted.
pub(super) async fn answer(visit: &mut Visit<'_>, route: Option<&Arc<HostRoute>>) -> Answer {
    let lost = || Refusal::SignInLost {
        again: "/".to_owned(),
    };
    let query = callback_query(visit.query().unwrap_or_default()).map_err(|_| lost())?;
    let signin = &visit.desk.signin;
    let state = signin
        .read_state(query.state, visit.now)
        .or_else(|_| signin.read_old_state(query.state))
        .map_err(|_| lost())?;
    let Some(route) = route.filter(|_| state.host == visit.inbound.host) else {
        return Err(lost());
    };
    let (host, tenant) = (&visit.inbound.host, &route.tenant);
    let opened = if state.tenant == *tenant {
        signin.open_attempt(visit.others(), &state.attempt, host, tenant, visit.now)
    } else {
        Err(BadAttempt::Elsewhere)
    };
    let Ok(verifier) = opened else {
        return without_attempt(visit, route, &state);
    };
    let sessions = &visit.desk.sessions;
    let claimed = signin
        .claim(sessions, query.ticket, &verifier, host, tenant)
        .await?;
    match claimed {
        Some(claimed) => let_in(visit, route, &state, &claimed).await,
        None if visit.identity.is_ok() => Ok(go_on(visit, &state)),
        None => Err(Refusal::SignInLost {
            again: again(visit, &state),
        }),
    }
}

/// The browser does not carry this attempt (any more): nothing is claimed.
fn without_attempt(visit: &Visit<'_>, route: &Arc<HostRoute>, state: &State) -> Answer {
    if visit.identity.is_ok() {
        return Ok(go_on(visit, state));
    }
    if cookie::only(visit.others(), cookie::RETRIED).is_some() {
        return Err(Refusal::CookieTrouble {
            again: again(visit, state),
        });
    }
    let (desk, inbound) = (visit.desk, &visit.inbound);
    let (level, target) = (state.level, state.path.as_str());
    Ok(to_portal(
        desk,
        inbound,
        Some(route),
        level,
        target,
        Retry::Counted,
    ))
}

async fn let_in(
    visit: &Visit<'_>,
    route: &Arc<HostRoute>,
    state: &State,
    claimed: &Claimed,
) -> Answer {
    let cell = &claimed.cell;
    let desk = visit.desk;
    let host = &visit.inbound.host;
    if let Ok(old) = visit.identity {
        let old = &old.lease().cell;
        if old.sid != cell.sid && old.device != cell.device {
            // A token of another device was planted here: it does not stick.
            desk.sessions.end_grant(&old.sid, host).await?;
        }
    }
    let life = desk.config.session.token;
    let token = cell.issue_for(
        &claimed.given,
        &desk.tokens,
        &claimed.sid,
        host,
        &route.tenant,
        Use::Cookie,
        life,
        visit.now,
    );
    let met = desk
        .signin
        .meet(visit.others(), host, &route.tenant, route.changed_hands);
    let mut response = go_on(visit, state);
    if met.clear {
        response.headers_mut().insert(
            "clear-site-data",
            HeaderValue::from_static("\"cache\", \"storage\""),
        );
    }
    let retried = cookie::only(visit.others(), cookie::RETRIED);
    let cookies = [
        cookie::session(&token, cell.login_exp, visit.now),
        cookie::attempt_gone(&state.attempt),
    ];
    Ok(with_cookies(
        response,
        cookies
            .into_iter()
            .chain(met.set_cookie)
            .chain(retried.map(|_| cookie::gone(cookie::RETRIED))),
    ))
}

/// To the page that was wanted, always as an absolute address of this very host.
fn go_on(visit: &Visit<'_>, state: &State) -> Response<Body> {
    redirect::see_other(address(
        &visit.inbound.host,
        visit.inbound.port,
        &state.path,
    ))
}

fn again(visit: &Visit<'_>, state: &State) -> String {
    let location = address(&visit.inbound.host, visit.inbound.port, &state.path);
    location.to_str().unwrap_or("/").to_owned()
}
