//! Login, second factor, account pages and the login API.
//!
//! [`page()`] answers everything on the portal's host, [`gate`] everything under `/.portcullis/`
//! on every host, and [`challenge()`] sends a stranger on a tenant's host to sign in.

use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode};
use tokio::time::Instant;

use crate::{
    account::{Accounts, Keys},
    authn::{Identity, NotSignedIn, Shown},
    body::Body,
    clock::{Clock, Timestamp},
    config::Config,
    intake::{Inbound, path::Decided},
    name::{HostName, TenantId},
    reply::{self, Asker, Refusal, headers::Referrer, page, redirect, script, sheet},
    route::{HostRoute, Routes},
    session::Sessions,
    signin::Signin,
    store::StoreHandle,
    telemetry::audit::Actor,
    token::Tokens,
};

mod account;
mod api;
mod callback;
mod challenge;
mod code;
mod complete;
mod form;
mod fresh;
mod gallery;
mod in_page;
mod key;
mod login;
mod onward;
mod place;
mod qr;
mod recovery;
mod setup;
mod told;
mod view;

pub use challenge::{Asked, challenge};
pub use form::Form;
pub use gallery::gallery;
pub use place::origin;

/// What every sign-in needs.
#[derive(Debug, Clone)]
pub struct Desk {
    /// What the operator decided.
    pub config: Arc<Config>,
    /// People, passwords, codes.
    pub accounts: Arc<Accounts>,
    /// Security keys and passkeys.
    pub keys: Arc<Keys>,
    /// Live logins.
    pub sessions: Arc<Sessions>,
    /// Tokens.
    pub tokens: Arc<Tokens>,
    /// The redirect between tenants and portal.
    pub signin: Signin,
    /// Where tenants are.
    pub routes: Arc<Routes>,
    /// The time.
    pub clock: Clock,
    /// The house's memory.
    pub store: StoreHandle,
    /// `https://auth.example.com[:port]` as configured. A request over TLS knows better which
    /// port people see.
    pub portal_origin: String,
}

impl Desk {
    /// The portal's origin as whoever made this request sees it.
    fn portal_origin_for(&self, inbound: &Inbound) -> String {
        match &self.config.portal.host {
            Some(host) if inbound.https => origin(host, inbound.port),
            Some(_) | None => self.portal_origin.clone(),
        }
    }
}

/// What the portal is called in the tokens for itself, where others carry a tenant's id.
pub fn tenant() -> TenantId {
    TenantId::from("portal")
}

/// What a host without a tenant is called in a state, so that a stranger cannot tell it from
/// one that has one: as long as a real id, and never one.
fn nowhere() -> TenantId {
    TenantId::from("----------------------")
}

/// One request of ours on its way: to a page, or to the API.
struct Visit<'a> {
    desk: &'a Desk,
    inbound: Inbound,
    identity: Result<&'a Identity, NotSignedIn>,
    asker: Asker,
    now: Timestamp,
    begun: Instant,
}

type Answer = Result<Response<Body>, Refusal>;

impl<'a> Visit<'a> {
    fn new(desk: &'a Desk, inbound: Inbound, identity: Result<&'a Identity, NotSignedIn>) -> Self {
        let portal = desk.config.portal.host.as_ref();
        let mut asker = Asker::of(&inbound).with_portal(desk.portal_origin_for(&inbound));
        asker.at_portal = portal == Some(&inbound.host);
        Self {
            now: desk.clock.now(),
            begun: Instant::now(),
            desk,
            inbound,
            identity,
            asker,
        }
    }

    /// Whether somebody else's portal cookie was planted here: the login belongs to another
    /// device than this browser. (Nobody plants a token in a header.)
    fn is_planted(&self) -> bool {
        let carried = self
            .desk
            .signin
            .known_device(&self.inbound.credentials.others)
            .map(|it| it.digest());
        self.identity
            .is_ok_and(|it| it.shown() == Shown::Cookie && carried != Some(it.lease().cell.device))
    }

    fn others(&self) -> &[(String, String)] {
        &self.inbound.credentials.others
    }

    /// Who makes this request, for the audit log.
    fn actor(&self) -> Actor {
        let agent = self.inbound.headers.get(http::header::USER_AGENT);
        let agent = agent.and_then(|it| it.to_str().ok()).unwrap_or_default();
        Actor::visitor(self.inbound.client, agent)
    }

    /// The path, if it can be read in one way only.
    fn path(&self) -> Option<&str> {
        match &self.inbound.path {
            Decided::Plain(path) => Some(path),
            Decided::Ambiguous => None,
        }
    }

    fn query(&self) -> Option<&str> {
        self.inbound.target.query()
    }

    /// Lets a refusal take at least as long as every other one of its kind.
    async fn hold_back(&self) {
        tokio::time::sleep_until(self.begun + self.desk.accounts.floor()).await;
    }

    /// Which method this is, where GET and POST are served.
    fn verb(&self) -> Result<Verb, Refusal> {
        match self.inbound.method {
            Method::GET | Method::HEAD => Ok(Verb::Get),
            Method::POST => Ok(Verb::Post),
            _ => Err(Refusal::Method {
                allow: "GET, HEAD, POST",
            }),
        }
    }
}

/// What is wanted of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// To see it.
    Get,
    /// To send its form.
    Post,
}

/// Whether a request is [`gate`]'s.
pub fn is_gate(inbound: &Inbound) -> bool {
    match &inbound.path {
        Decided::Plain(path) => path.starts_with("/.portcullis/"),
        // What can be read in two ways is judged by what it begins with.
        Decided::Ambiguous => inbound.target.as_str().starts_with("/.portcullis/"),
    }
}

/// Answers a request to the portal's host. `identity` is of the audience (portal's host,
/// [`tenant`]).
pub async fn page(
    desk: &Desk,
    inbound: Inbound,
    identity: Result<Identity, NotSignedIn>,
) -> Response<Body> {
    if is_gate(&inbound) {
        return gate(desk, inbound, None, identity).await;
    }
    let identity = identity.as_ref().map_err(|why| *why);
    let mut visit = Visit::new(desk, inbound, identity);
    visit.asker.at_portal = true;
    if visit.is_planted() {
        tracing::warn!(
            id = visit.inbound.id,
            "a portal cookie came from another device"
        );
        visit.identity = Err(NotSignedIn::Unknown);
    }
    match portal_page(&mut visit).await {
        Ok(response) => response,
        Err(refusal) => reply::refuse(&refusal, &visit.asker),
    }
}

async fn portal_page(visit: &mut Visit<'_>) -> Answer {
    let Some(path) = visit.path().map(str::to_owned) else {
        return Err(Refusal::NotFound);
    };
    let verb = visit.verb()?;
    if verb == Verb::Post {
        place::must_be_our_own_page(&visit.inbound)?;
    }
    match (path.as_str(), verb) {
        ("/", Verb::Get) => Ok(local(if visit.identity.is_ok() {
            "/account"
        } else {
            "/login"
        })),
        ("/login", Verb::Get) => login::show(visit).await,
        ("/login", Verb::Post) => login::password(visit).await,
        ("/login/code", Verb::Get) => code::show(visit).await,
        ("/login/code", Verb::Post) => code::check(visit).await,
        ("/login/key", Verb::Get) => key::show(visit).await,
        ("/login/key", Verb::Post) => key::check(visit).await,
        ("/login/passkey", Verb::Get) => Ok(local("/login")),
        ("/login/passkey", Verb::Post) => key::passkey(visit).await,
        ("/login/continue", Verb::Post) => onward::confirmed(visit).await,
        ("/logout", Verb::Get) => Ok(account::ask_to_sign_out(visit)),
        ("/logout", Verb::Post) => account::sign_out(visit).await,
        ("/login/recovery", Verb::Get) => recovery::show(visit).await,
        ("/login/recovery", Verb::Post) => recovery::check(visit).await,
        ("/login/told", Verb::Get) => told::show(visit).await,
        ("/login/told", Verb::Post) => told::seen(visit).await,
        ("/login/again", Verb::Get) => fresh::show(visit).await,
        ("/login/again", Verb::Post) => fresh::check(visit).await,
        ("/account", Verb::Get) => account::show(visit).await,
        ("/account/factors", Verb::Get) => account::factors::show(visit).await,
        ("/account/factors/app", Verb::Get) => account::factors::show_app(visit).await,
        ("/account/factors/app", Verb::Post) => account::factors::connect_app(visit).await,
        ("/account/factors/start", Verb::Post) => account::factors::start(visit).await,
        ("/account/factors/add", Verb::Post) => account::factors::add(visit).await,
        ("/account/factors/rename", Verb::Post) => account::factors::rename(visit).await,
        ("/account/factors/remove", Verb::Post) => account::factors::remove(visit).await,
        ("/account/password", Verb::Get) => account::password::show(visit).await,
        ("/account/password", Verb::Post) => account::password::change(visit).await,
        ("/account/profile", Verb::Get) => account::profile::show(visit).await,
        ("/account/profile", Verb::Post) => account::profile::change(visit).await,
        ("/account/recovery", Verb::Get) => account::recovery::show(visit).await,
        ("/account/recovery", Verb::Post) => account::recovery::make(visit).await,
        ("/account/recovery/file", Verb::Post) => account::recovery::download(visit).await,
        ("/account/activity", Verb::Get) => account::activity::show(visit).await,
        ("/account/sessions/end", Verb::Post) => account::end_one(visit).await,
        ("/account/sessions/end-others", Verb::Post) => account::end_others(visit).await,
        ("/clear-cookies", Verb::Get) => Ok(account::ask_to_clear()),
        ("/clear-cookies", Verb::Post) => Ok(account::clear()),
        (
            "/"
            | "/account"
            | "/account/activity"
            | "/account/factors"
            | "/account/factors/start"
            | "/account/factors/add"
            | "/account/factors/rename"
            | "/account/factors/remove"
            | "/account/recovery/file"
            | "/account/sessions/end"
            | "/account/sessions/end-others"
            | "/login/continue",
            verb,
        ) => Err(Refusal::Method {
            allow: match verb {
                Verb::Get => "POST",
                Verb::Post => "GET, HEAD",
            },
        }),
        (path, verb) => match path.strip_prefix("/setup/") {
            Some(link) if verb == Verb::Get => setup::show(visit, link).await,
            Some(link) => setup::go_on(visit, link).await,
            None => Err(Refusal::NotFound),
        },
    }
}

/// Answers a request under `/.portcullis/` on any host. `route` is the tenant's, if the host has
/// one; `identity` is of the audience of that host.
pub async fn gate(
    desk: &Desk,
    inbound: Inbound,
    route: Option<&Arc<HostRoute>>,
    identity: Result<Identity, NotSignedIn>,
) -> Response<Body> {
    let identity = identity.as_ref().map_err(|why| *why);
    let mut visit = Visit::new(desk, inbound, identity);
    if visit.asker.at_portal && visit.is_planted() {
        visit.identity = Err(NotSignedIn::Unknown);
    }
    match gate_page(&mut visit, route).await {
        Ok(response) => response,
        Err(refusal) => reply::refuse(&refusal, &visit.asker),
    }
}

async fn gate_page(visit: &mut Visit<'_>, route: Option<&Arc<HostRoute>>) -> Answer {
    let path = visit.path().map(str::to_owned).ok_or(Refusal::NotFound)?;
    let inner = path
        .strip_prefix("/.portcullis/")
        .ok_or(Refusal::NotFound)?;
    if visit.inbound.headers.contains_key("service-worker") {
        // Nobody's service worker lives under our prefix.
        return Err(Refusal::NotFound);
    }
    if let Some(call) = inner.strip_prefix("api/v1/") {
        visit.asker.voice = reply::Voice::Json;
        return api::answer(visit, call, route).await;
    }
    let known = matches!(inner, "jwks.json" | "client.js") || path == sheet::path();
    let script = visit.asker.at_portal && path == script::path();
    let tenants = !visit.asker.at_portal && matches!(inner, "callback" | "login" | "logout");
    if !known && !tenants && !script {
        return Err(Refusal::NotFound);
    }
    if visit.verb()? == Verb::Post {
        return Err(Refusal::Method { allow: "GET, HEAD" });
    }
    match inner {
        "jwks.json" => Ok(jwks(visit.desk)),
        "client.js" => Ok(in_page::script(visit)),
        "login" => in_page::login(visit, route),
        "callback" => callback::answer(visit, route).await,
        "logout" => {
            let to = format!("{}/logout", visit.asker.portal);
            Ok(redirect::see_other(place::header(&to)))
        }
        _ if script => Ok(script::serve()),
        _ => Ok(sheet::serve()),
    }
}

/// The assertion keys. They are public; a tenant may keep them for a while.
fn jwks(desk: &Desk) -> Response<Body> {
    let mut response = Response::new(Body::full(desk.tokens.jwks().as_bytes().to_vec()));
    reply::headers::secure(&mut response, Referrer::None);
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/jwk-set+json"),
    );
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    response
}

/// 303 to a page of the portal.
fn local(path: &str) -> Response<Body> {
    redirect::see_other(place::header(path))
}

/// A page with a form.
fn form_page(status: StatusCode, template: &impl askama::Template) -> Response<Body> {
    page::answer(status, template, Referrer::Ourselves)
}

/// Puts cookies on an answer.
fn with_cookies(
    mut response: Response<Body>,
    cookies: impl IntoIterator<Item = HeaderValue>,
) -> Response<Body> {
    for cookie in cookies {
        response
            .headers_mut()
            .append(http::header::SET_COOKIE, cookie);
    }
    response
}

/// The host that a state names, with the port that this request came to.
fn address(host: &HostName, port: Option<u16>, target: &str) -> HeaderValue {
    crate::signin::absolute(host, port, target)
}

#[cfg(test)]
mod tests;
