//! A stranger on a tenant's host is sent to sign in; a script there is told where.

use http::{HeaderValue, Response, header};

use super::{Desk, nowhere, origin, with_cookies};
use crate::{
    authn::NotSignedIn,
    body::Body,
    config::Policy,
    intake::Inbound,
    reply::{self, Asker, Refusal, redirect},
    route::HostRoute,
    signin::cookie,
};

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nobody is signed in.
    SignIn(NotSignedIn, Policy),
    /// Somebody is, and not strongly or freshly enough.
    StepUp(Policy),
}

/// 302 to the portal for a navigation, 401 in JSON (or a page with a button) for all else.
///
/// `route` is `None` for an unknown host under a guarded root: it is answered as a known one.
pub fn challenge(
    desk: &Desk,
    inbound: &Inbound,
    route: Option<&HostRoute>,
    need: Asked,
) -> Response<Body> {
    let asker = Asker::of(inbound);
    let mut response = if asker.navigation {
        to_portal(
            desk,
            inbound,
            route,
            need.level(),
            inbound.target.as_str(),
            Retry::Free,
        )
    } else {
        tell(desk, inbound, route, need, asker)
    };
    clear_former_tenant(desk, inbound, route, &mut response);
    response
}

impl Asked {
    fn level(self) -> u8 {
        match self {
            Self::SignIn(_, policy) | Self::StepUp(policy) => match policy {
                Policy::Open => 0,
                Policy::OneFactor => 1,
                Policy::TwoFactor => 2,
                Policy::HardwareKey => 3,
            },
        }
    }
}

/// Whether a new attempt is the one that a failed callback may make by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// It is not.
    Free,
    /// It is: the browser notes it.
    Counted,
}

/// Begins an attempt and leads to the portal.
pub(super) fn to_portal(
    desk: &Desk,
    inbound: &Inbound,
    route: Option<&HostRoute>,
    level: u8,
    target: &str,
    retry: Retry,
) -> Response<Body> {
    let tenant = route.map_or_else(nowhere, |it| it.tenant.clone());
    let others = &inbound.credentials.others;
    let now = desk.clock.now();
    let start = desk
        .signin
        .start(&inbound.host, &tenant, target, level, now, others);
    let cookies = start
        .set_cookie
        .into_iter()
        .chain((retry == Retry::Counted).then(cookie::retried));
    let to = login_url(desk, inbound, &start.state);
    with_cookies(redirect::found(to), cookies)
}

fn login_url(desk: &Desk, inbound: &Inbound, state: &str) -> HeaderValue {
    let portal = desk.portal_origin_for(inbound);
    super::place::header(&format!("{portal}/login?state={state}"))
}

/// 401, with an address that signs in and comes back to the page that asked. It carries no
/// attempt of its own: a page that polls would push out those of people.
fn tell(
    desk: &Desk,
    inbound: &Inbound,
    route: Option<&HostRoute>,
    need: Asked,
    mut asker: Asker,
) -> Response<Body> {
    asker = asker.with_portal(desk.portal_origin_for(inbound));
    let tenant = route.map_or_else(nowhere, |it| it.tenant.clone());
    let back = page_of(inbound);
    let now = desk.clock.now();
    let start = desk
        .signin
        .start(&inbound.host, &tenant, &back, need.level(), now, &[]);
    let url = login_url(desk, inbound, &start.state);
    let login_url = Some(url.to_str().unwrap_or("/").to_owned());
    let refusal = match need {
        Asked::SignIn(why, _) => Refusal::NotSignedIn { why, login_url },
        Asked::StepUp(policy) => Refusal::NotEnough { policy, login_url },
    };
    let response = reply::refuse(&refusal, &asker);
    // A cookie that will never be good again goes, so that a browser's next try is a clean one.
    let useless = matches!(need, Asked::SignIn(why, _) if why != NotSignedIn::Missing)
        && inbound.credentials.cookie.is_some()
        && inbound.credentials.bearer.is_none()
        && inbound.credentials.subprotocol.is_none();
    with_cookies(response, useless.then(cookie::session_gone))
}

/// The page that a request was made by, as a target on this host: its `Referer`, if it is ours.
fn page_of(inbound: &Inbound) -> String {
    let ours = origin(&inbound.host, inbound.port);
    inbound
        .headers
        .get(header::REFERER)
        .and_then(|it| it.to_str().ok())
        .and_then(|it| it.strip_prefix(ours.as_str()))
        .filter(|it| it.starts_with('/') && !it.starts_with("/.portcullis/"))
        .unwrap_or("/")
        .to_owned()
}

/// A browser that met another tenant on this host forgets what that one left.
fn clear_former_tenant(
    desk: &Desk,
    inbound: &Inbound,
    route: Option<&HostRoute>,
    response: &mut Response<Body>,
) {
    let Some(route) = route else { return };
    let others = &inbound.credentials.others;
    let met = desk
        .signin
        .meet(others, &inbound.host, &route.tenant, route.changed_hands);
    if met.clear {
        response.headers_mut().insert(
            "clear-site-data",
            HeaderValue::from_static("\"cache\", \"storage\""),
        );
    }
}
