//! For pages of tenants that sign people in without being left: `client.js`, and the address that
//! it opens in a window of its own, or leaves for.

use std::sync::{Arc, LazyLock};

use http::{HeaderValue, Response, StatusCode, header};

use super::{
    Answer, Visit, address,
    challenge::{Retry, to_portal},
    form_page, origin,
    view::Note,
};
use crate::{
    authn::Identity,
    authz::{self, Ask, Entry, Kind, sibling::Fetch},
    body::Body,
    intake::path::{self, Decided},
    reply::{
        Refusal,
        headers::{self, Referrer},
        redirect,
    },
    route::HostRoute,
    secret,
};

/// The helper itself. It has no dependencies and loads nothing.
const SCRIPT: &str = include_str!("../../web/client.js");

/// Its entity tag: it keeps its address when it changes.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let digest = secret::digest(SCRIPT);
    let short = digest.iter().take(8).map(|it| format!("{it:02x}"));
    format!("\"{}\"", short.collect::<String>())
});

/// Answers with it, or with 304. It is the same for everybody.
pub(super) fn script(visit: &Visit<'_>) -> Response<Body> {
    let tag = TAG.as_str();
    let known = visit
        .inbound
        .headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .any(|it| it.trim().trim_start_matches("W/") == tag);
    let mut response = Response::new(Body::full(if known { "" } else { SCRIPT }));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    headers::secure(&mut response, Referrer::None);
    let headers = response.headers_mut();
    headers.remove(header::VARY);
    for (name, value) in [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// `/.portcullis/login` on a tenant's host: by way of the portal to the page that `to` names, or
/// to one that says that it is done and hands nothing back.
pub(super) fn login(visit: &Visit<'_>, route: Option<&Arc<HostRoute>>) -> Answer {
    if !visit.asker.navigation {
        // An attempt for each call of a script would push out those of people.
        return Err(Refusal::NotFound);
    }
    let to = wanted(visit)?;
    let entry = match (visit.identity, route) {
        (Ok(identity), Some(route)) => enter(visit, identity, route, to.as_deref()),
        _ => Entry::StepUp(crate::config::Policy::TwoFactor),
    };
    match entry {
        Entry::Welcome => Ok(done(visit, to.as_deref())),
        Entry::Refused(_) => Err(Refusal::Forbidden),
        Entry::StepUp(_) => {
            let target = to.as_deref().unwrap_or("/.portcullis/login");
            let route = route.map(|it| &**it);
            Ok(to_portal(
                visit.desk,
                &visit.inbound,
                route,
                2,
                target,
                Retry::Free,
            ))
        }
    }
}

/// The path that the query names: on this host, and none of ours.
fn wanted(visit: &Visit<'_>) -> Result<Option<String>, Refusal> {
    let Some(query) = visit.query().filter(|it| !it.is_empty()) else {
        return Ok(None);
    };
    let named = query.strip_prefix("to=").ok_or(Refusal::NotFound)?;
    let path = percent_encoding::percent_decode_str(named)
        .decode_utf8()
        .map_err(|_| Refusal::NotFound)?;
    let is_theirs = path.starts_with('/')
        && !path.starts_with("/.portcullis/")
        && !path.contains(|it: char| it.is_control() || it == '\\' || it == '#');
    is_theirs
        .then(|| Some(path.into_owned()))
        .ok_or(Refusal::NotFound)
}

/// Whether who is here may have that page.
fn enter(
    visit: &Visit<'_>,
    identity: &Identity,
    route: &Arc<HostRoute>,
    to: Option<&str>,
) -> Entry {
    let raw = to
        .unwrap_or("/")
        .split(['?', '#'])
        .next()
        .unwrap_or_default();
    let host = &visit.inbound.host;
    let ask = Ask {
        host: host.clone(),
        path: path::decide(raw).unwrap_or(Decided::Ambiguous),
        method: http::Method::GET,
        client: visit.inbound.client,
        kind: Kind::Navigation,
        fetch: Fetch::default(),
        own_origin: origin(host, visit.inbound.port),
    };
    authz::entry(
        route,
        route.path(&ask.path, raw),
        &ask,
        identity.profile(),
        identity.level(),
        identity.auth_time(),
        visit.now,
    )
}

fn done(visit: &Visit<'_>, to: Option<&str>) -> Response<Body> {
    match to {
        Some(path) => redirect::see_other(address(&visit.inbound.host, visit.inbound.port, path)),
        None => form_page(StatusCode::OK, &signed_in()),
    }
}

/// In the window that `client.js` opened. It tells that page nothing: that one asks the gateway.
pub(super) fn signed_in() -> Note<'static> {
    Note {
        title: "You are signed in",
        gate: "up",
        happened: "The page that you came from goes on by itself. You can close this window.",
        ..Note::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_loads_nothing_and_makes_no_code_of_text() {
        for bad in [
            "import ",
            "eval(",
            "Function(",
            "innerHTML",
            "document.write",
            "http://",
            "https://",
            "postMessage",
        ] {
            assert!(!SCRIPT.contains(bad), "{bad}");
        }
        assert!(SCRIPT.len() < 20_000, "{}", SCRIPT.len());
    }
}
