//! What all cores share.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderValue, Response, StatusCode, header};
use tokio::sync::Notify;

use crate::{
    account::{Accounts, Keys},
    authn::Identity,
    authz::{Ask, Fetch, Kind},
    body::Body,
    clock::Clock,
    config::Config,
    intake::{Inbound, IntakeFacts, Level},
    limit::Limiter,
    name::{HostName, TenantId},
    portal::Desk,
    reply::Asker,
    route::{Destination, HostRoute, RouteTable, Routes},
    secret::SealingKey,
    session::Sessions,
    signin::{Signin, cookie},
    socket::{polling::EngineSessions, quota::Quotas, seal::Sealer},
    store::StoreHandle,
    telemetry::Metrics,
    tls::Certificates,
    token::{self, Tokens},
};

/// Shared by the cores and the house's own thread. Read without a lock.
#[derive(Debug)]
pub struct House {
    /// The configuration in force.
    pub config: ArcSwap<Config>,
    /// What admission needs of it.
    pub facts: ArcSwap<IntakeFacts>,
    /// What the portal needs of it.
    desk: ArcSwap<Desk>,
    /// The port of the first TLS listener.
    pub port: u16,
    /// The time.
    pub clock: Clock,
    /// The store's thread.
    pub store: StoreHandle,
    /// The signing keys.
    pub tokens: Arc<Tokens>,
    /// The live logins.
    pub sessions: Arc<Sessions>,
    /// The routes in force.
    pub routes: Arc<Routes>,
    /// The certificates in force.
    pub certificates: Arc<Certificates>,
    /// Requests per address.
    pub limit: Limiter,
    /// Sign-in redirects.
    pub signin: Signin,
    /// Seals Engine.IO ids.
    pub sealer: Arc<Sealer>,
    /// Engine.IO connections by polling, on whichever core.
    pub engines: Arc<EngineSessions>,
    /// How many sockets each tenant has open.
    pub quotas: Quotas,
    /// Numbers.
    pub metrics: Metrics,
    /// Another process changed claims.
    pub claims_changed: Arc<Notify>,
    /// The last change of the store that is applied here.
    pub seen: tokio::sync::Mutex<i64>,
    /// The tenant id that the portal's own tokens carry.
    pub portal_tenant: TenantId,
    /// The tenant id that a name under the root has when nobody is there.
    pub nobody_tenant: TenantId,
    portal_origin: String,
}

/// What a house is furnished with.
#[expect(
    missing_docs,
    reason = "each is named as the field of `House` that it becomes"
)]
#[derive(Debug)]
pub struct Furniture {
    pub config: Config,
    pub port: u16,
    pub clock: Clock,
    pub store: StoreHandle,
    pub key: SealingKey,
    pub tokens: Arc<Tokens>,
    pub sessions: Arc<Sessions>,
    pub accounts: Arc<Accounts>,
    pub certificates: Arc<Certificates>,
    pub metrics: Metrics,
    pub seen: i64,
}

impl House {
    /// Furnishes one.
    pub fn new(with: Furniture) -> Self {
        let config = Arc::new(with.config);
        let routes = Arc::new(Routes::default());
        // Until discovery has made the first table: the portal, and nobody else below the root.
        routes.swap(RouteTable {
            portal: config.portal.host.clone(),
            manager: config.manager.host.clone(),
            root: config.root_domain.clone(),
            ..RouteTable::default()
        });
        let signin = Signin::new(with.key.clone());
        let portal_origin = portal_origin(&config, with.port).unwrap_or_default();
        let keys = Keys::new(
            with.store.clone(),
            with.key.clone(),
            with.clock.clone(),
            config.portal.host.as_ref(),
            &origins(&portal_origin, config.portal.host.as_ref()),
        );
        let desk = Desk {
            config: Arc::clone(&config),
            accounts: with.accounts,
            keys: Arc::new(keys),
            sessions: Arc::clone(&with.sessions),
            tokens: Arc::clone(&with.tokens),
            signin: signin.clone(),
            routes: Arc::clone(&routes),
            clock: with.clock.clone(),
            store: with.store.clone(),
            portal_origin: portal_origin.clone(),
        };
        Self {
            facts: ArcSwap::from_pointee(facts(&config)),
            limit: Limiter::new(&config.limits),
            desk: ArcSwap::from_pointee(desk),
            config: ArcSwap::new(config),
            port: with.port,
            clock: with.clock,
            store: with.store,
            tokens: with.tokens,
            sessions: with.sessions,
            routes,
            certificates: with.certificates,
            signin,
            sealer: Arc::new(Sealer::new(&with.key)),
            engines: Arc::new(EngineSessions::default()),
            quotas: Quotas::default(),
            metrics: with.metrics,
            claims_changed: Arc::new(Notify::new()),
            seen: tokio::sync::Mutex::new(with.seen),
            portal_tenant: TenantId::from("portal"),
            nobody_tenant: TenantId::from("nobody"),
            portal_origin,
        }
    }

    /// Puts a new configuration in force. (The routes follow: discovery builds them.)
    pub fn adopt(&self, config: Arc<Config>) {
        let mut desk = Desk::clone(&self.desk.load());
        desk.config = Arc::clone(&config);
        self.desk.store(Arc::new(desk));
        self.facts.store(Arc::new(facts(&config)));
        self.sessions.set_rules(&config.session);
        self.config.store(config);
    }

    /// The portal's origin, `https://auth.example.com[:port]`; empty in open mode.
    pub fn portal_origin(&self) -> &str {
        &self.portal_origin
    }

    /// What the portal works with.
    pub fn desk(&self) -> Arc<Desk> {
        self.desk.load_full()
    }

    /// Reads the signing keys again: another process changed them.
    pub async fn reload_keys(&self) {
        let (tokens, now) = (Arc::clone(&self.tokens), self.clock.now());
        if let Err(error) = self
            .store
            .call(move |store| tokens.reload(store, now))
            .await
        {
            tracing::error!(%error, "the signing keys could not be read again");
        }
    }

    /// How much is stripped of requests to this host.
    pub fn level(&self, route: &HostRoute) -> Level {
        if route.guarded {
            Level::Guarded
        } else if self.config.load().is_guarded() {
            Level::OpenHost
        } else {
            Level::OpenMode
        }
    }

    /// A redirect to the same thing over TLS, wherever plain HTTP is not what was asked for.
    pub fn insist_on_tls(
        &self,
        inbound: &Inbound,
        destination: &Destination,
    ) -> Option<Response<Body>> {
        if inbound.https {
            return None;
        }
        if stays_plain(destination, || {
            self.certificates.covers(inbound.host.as_str())
        }) {
            return None;
        }
        let port = Some(self.port).filter(|it| *it != 443);
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        response.headers_mut().insert(
            header::LOCATION,
            crate::signin::absolute(&inbound.host, port, inbound.target.as_str()),
        );
        Some(response)
    }

    /// What a request asks for, as decisions see it.
    pub fn ask(&self, inbound: &Inbound, is_engine: bool, asker: &Asker) -> Ask {
        let kind = if inbound.websocket {
            Kind::Socket
        } else if is_engine {
            Kind::Polling
        } else if asker.navigation {
            Kind::Navigation
        } else {
            Kind::Request
        };
        Ask {
            host: inbound.host.clone(),
            path: inbound.path.clone(),
            method: inbound.method.clone(),
            client: inbound.client,
            kind,
            fetch: Fetch::read(&inbound.headers),
            own_origin: own_origin(inbound),
        }
    }

    /// The answer with a renewed cookie.
    pub fn renew(&self, response: &mut Response<Body>, identity: &Identity) {
        let now = self.clock.now();
        let cell = &identity.lease().cell;
        if self.sessions.renew(cell, now).is_err() {
            return;
        }
        let life = self.config.load().session.token;
        let token = self.tokens.renew_session(identity.claims(), life, now);
        response.headers_mut().append(
            header::SET_COOKIE,
            cookie::session(&token, cell.login_exp, now),
        );
        keep_private(response);
    }

    /// Whether an address is asking too often.
    pub fn is_too_often(&self, client: IpAddr) -> Result<(), crate::limit::TooMany> {
        self.limit.check(client)
    }
}

/// Whether plain HTTP is answered there instead of redirected. `covers`: a certificate is there for the host.
pub fn stays_plain(destination: &Destination, covers: impl FnOnce() -> bool) -> bool {
    match destination {
        Destination::Portal | Destination::Manager | Destination::NowhereGuarded => false,
        Destination::Nowhere => true,
        Destination::Tenant(route) => !route.guarded && (route.plain_http || !covers()),
    }
}

/// With somebody's cookie in it an answer is for no shared cache, whatever the tenant says.
fn keep_private(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    let said: Vec<&str> = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .map(str::trim)
        .filter(|it| {
            let name = it.split('=').next().unwrap_or_default();
            !["", "public", "private", "s-maxage"]
                .iter()
                .any(|gone| name.trim().eq_ignore_ascii_case(gone))
        })
        .collect();
    let kept = std::iter::once("private").chain(said);
    let line = kept.collect::<Vec<_>>().join(", ");
    let line = HeaderValue::try_from(line).unwrap_or(HeaderValue::from_static("private"));
    headers.insert(header::CACHE_CONTROL, line);
}

/// The portal's origin where TLS is served on `port`; `None` in open mode.
pub fn portal_origin(config: &Config, port: u16) -> Option<String> {
    let host = config.portal.host.as_ref()?;
    Some(match port {
        443 => format!("https://{host}"),
        port => format!("https://{host}:{port}"),
    })
}

/// Where keys may be used: the portal as it is configured, and on the port that everybody means.
fn origins(portal_origin: &str, host: Option<&HostName>) -> Vec<String> {
    let usual = host.map(|it| format!("https://{it}"));
    let usual = usual.filter(|it| it != portal_origin);
    let own = (!portal_origin.is_empty()).then(|| portal_origin.to_owned());
    own.into_iter().chain(usual).collect()
}

/// What admission has to know under a configuration.
pub fn facts(config: &Config) -> IntakeFacts {
    IntakeFacts {
        trusted_proxies: config.listen.trusted_proxies.clone(),
        body: config.limits.body,
        header: config.limits.header,
        headers: config.limits.headers,
        guarded: config.is_guarded(),
        is_ours: |value| token::is_ours(value),
    }
}

/// The origin that a browser gives this host: what an `Origin` is compared with.
fn own_origin(inbound: &Inbound) -> String {
    let scheme = if inbound.https { "https" } else { "http" };
    match inbound.port {
        Some(port) => format!("{scheme}://{}:{port}", inbound.host),
        None => format!("{scheme}://{}", inbound.host),
    }
}
