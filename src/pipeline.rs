//! The corridor itself: one function that calls the rooms in order. A request enters at the top
//! of `Pipeline::walk` and leaves at the bottom, or by a `?`.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    authn::{self, Audience, Identity, NotSignedIn, Remembered},
    authz::{self, Decision, Permit, Sight, Vigil},
    body::Body,
    config::{Limits, Policy, SocketIdle},
    forward::{self, Choice, Errand, ForwardError, Pool, Stamp},
    intake::{self, Arrival, Inbound, Level, Malformed},
    name::TenantId,
    portal::{self, Asked},
    reply::{self, Asker, Refusal},
    route::{Destination, HostRoute, PathRoute},
    signin::cookie,
    socket::engineio,
    store::StoreError,
    telemetry::{CoreMetrics, Counted},
    token::AssertionCache,
};

pub mod house;
mod engine;
mod upgrade;

pub(crate) use engine::deliver;
pub use house::{Furniture, House};

/// One core's corridor.
#[derive(Debug)]
pub struct Pipeline {
    /// What all cores share.
    pub house: Arc<House>,
    /// This core's tasks.
    pub tasks: TaskTracker,
    sight: Rc<Sight>,
    pool: Rc<Pool>,
    assertions: AssertionCache,
    metrics: CoreMetrics,
}

/// What a connection knows, for all of its requests.
#[derive(Debug)]
pub struct Visitor {
    /// How it came.
    pub arrival: Arrival,
    /// The last token whose signature was found good.
    pub remembered: RefCell<Remembered>,
    /// What stands between the connection and the HTTP parser, on HTTP/1.
    pub watch: Option<intake::wire::Watch>,
    /// What the connection takes up, for as long as anything of it is open.
    pub place: Rc<Place>,
}

/// A connection's place among those that `limits.connections` allows. A socket that came of the
/// connection holds it on: an upgraded connection is still one.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// How soon to try a tenant again that is not there yet.
const SOON: Duration = Duration::from_secs(5);

impl Pipeline {
    /// The corridor of core number `core`.
    pub fn new(
        house: Arc<House>,
        core: usize,
        tasks: TaskTracker,
        draining: CancellationToken,
    ) -> Self {
        let metrics = house.metrics.for_core(core);
        Self {
            sight: Rc::new(Sight {
                routes: Arc::clone(&house.routes),
                clock: house.clock.clone(),
                draining,
            }),
            pool: Pool::new(&house.config.load().limits, tasks.clone()),
            house,
            tasks,
            assertions: AssertionCache::default(),
            metrics,
        }
    }

    /// Cancelled when the gateway goes down.
    pub fn draining(&self) -> &CancellationToken {
        &self.sight.draining
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.house.config.load().limits.clone()
    }

    /// Closes what rests too long, until the gateway goes down.
    pub async fn housekeeping(self: Rc<Self>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = self.sight.draining.cancelled() => return self.pool.close(),
                _ = tick.tick() => {
                    self.pool.adopt(&self.house.config.load().limits);
                    self.pool.sweep();
                }
            }
        }
    }

    /// Answers one request. Always has something to say.
    pub async fn answer<IO>(
        self: &Rc<Self>,
        visitor: &Visitor,
        raw: Request<Body>,
    ) -> Response<Body>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut asker = Asker::from_head(raw.method(), raw.headers());
        asker.http2 = raw.version() == http::Version::HTTP_2;
        let line = self
            .house
            .config
            .load()
            .log
            .access
            .then(|| Line::of(&raw, visitor));
        let response = match self.walk::<IO>(visitor, raw, &mut asker).await {
            Ok(response) => response,
            Err(refusal) => {
                self.metrics.decided(refusal.code());
                self.house.portal_origin().clone_into(&mut asker.portal);
                refuse(&refusal, &asker)
            }
        };
        self.metrics.answered(response.status());
        if let Some(line) = line {
            line.write(&response, &asker);
        }
        response
    }

    async fn walk<IO>(
        self: &Rc<Self>,
        visitor: &Visitor,
        raw: Request<Body>,
        asker: &mut Asker,
    ) -> Result<Response<Body>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let house = &*self.house;
        let mut inbound = intake::admit(raw, &visitor.arrival, &house.facts.load())?;
        asker.id.clone_from(&inbound.id);
        asker.client = Some(inbound.client);
        house
            .limit
            .check(inbound.client)
            .map_err(|it| Refusal::TooOften {
                retry_after: it.retry_after,
            })?;
        // The number before the table: a change in between is looked at again.
        let epoch = house.routes.epoch();
        let destination = house.routes.load().find(&inbound.host);
        if let Some(elsewhere) = house.insist_on_tls(&inbound, &destination) {
            return Ok(elsewhere);
        }
        match destination {
            Destination::Portal => {
                asker.at_portal = true;
                inbound.strip(Level::Guarded, &[]);
                let identity = self
                    .identify(visitor, &inbound, &house.portal_tenant)
                    .await?;
                // Boxed, as all that is rare: what every request carries along stays small.
                Ok(Box::pin(portal::page(&house.desk(), *inbound, identity)).await)
            }
            Destination::Manager | Destination::NowhereGuarded => {
                Box::pin(self.nobody_there(visitor, inbound)).await
            }
            Destination::Nowhere => Ok(unknown_host()),
            Destination::Tenant(route) => {
                self.tenant::<IO>(visitor, inbound, route, epoch, asker)
                    .await
            }
        }
    }

    /// A tenant's host: who, may they, and there and back.
    async fn tenant<IO>(
        self: &Rc<Self>,
        visitor: &Visitor,
        mut inbound: Box<Inbound>,
        route: Arc<HostRoute>,
        epoch: u64,
        asker: &Asker,
    ) -> Result<Response<Body>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let house = &*self.house;
        inbound.strip(house.level(&route), &route.settings.keep_headers);
        if !route.guarded {
            let open = self.open_host::<IO>(visitor, inbound, route, epoch, asker);
            return Box::pin(open).await;
        }
        let identity = self.identify(visitor, &inbound, &route.tenant).await?;
        if inbound.is_ours() {
            return Ok(Box::pin(portal::gate(
                &house.desk(),
                *inbound,
                Some(&route),
                identity,
            ))
            .await);
        }
        if let Some(answer) = preflight(&inbound, &route) {
            return Ok(answer);
        }
        let eio3 = route.settings.socketio.eio3;
        let engine = engineio::recognise(
            &inbound.method,
            inbound.target.as_str(),
            inbound.websocket,
            eio3,
        )
        .map_err(Malformed::from)?;
        let path = route.path(&inbound.path, inbound.target.as_str());
        let ask = house.ask(&inbound, engine.is_some(), asker);
        let renewal = identity
            .as_ref()
            .ok()
            .filter(|it| it.wants_renewal())
            .cloned();
        let origin = ask.fetch.origin.clone();
        let permit = match authz::decide(&route, path, ask, identity, house.clock.now()) {
            Decision::Admit(permit) => permit,
            Decision::SignIn(why, policy) => {
                let need = Asked::SignIn(why, policy);
                return Ok(self.challenge(&inbound, Some(&route), need));
            }
            Decision::StepUp(policy) => {
                let need = Asked::StepUp(policy);
                return Ok(self.challenge(&inbound, Some(&route), need));
            }
            Decision::Forbidden(_) => return Err(Refusal::Forbidden),
            Decision::CrossSite => return Err(Refusal::CrossSite),
            Decision::Ambiguous => return Err(Malformed::Ambiguous.into()),
        };
        // Polls come by themselves, whether somebody is there or not.
        let idle = house.config.load().sockets.idle;
        let by_itself = engine.is_some() && !inbound.websocket && idle == SocketIdle::Session;
        if let Some(identity) = permit.identity().filter(|_| !by_itself) {
            house
                .sessions
                .touch(&identity.lease().cell, house.clock.now());
        }
        let path = path.ok_or_else(|| no_path(&route))?;
        let mut response = self
            .pass::<IO>(visitor, inbound, permit, path, epoch, engine)
            .await?;
        allow_origin(&mut response, origin.as_deref(), &route);
        if let Some(identity) = renewal {
            house.renew(&mut response, &identity);
        }
        Ok(response)
    }

    /// A host on which nothing but `open` can come out: nginx-proxy, and nothing more.
    async fn open_host<IO>(
        self: &Rc<Self>,
        visitor: &Visitor,
        inbound: Box<Inbound>,
        route: Arc<HostRoute>,
        epoch: u64,
        asker: &Asker,
    ) -> Result<Response<Body>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let house = &*self.house;
        let path = route.path(&inbound.path, inbound.target.as_str());
        let ask = house.ask(&inbound, false, asker);
        let nobody = Err(NotSignedIn::Missing);
        let permit = match authz::decide(&route, path, ask, nobody, house.clock.now()) {
            Decision::Admit(permit) => permit,
            Decision::Ambiguous => return Err(Malformed::Ambiguous.into()),
            Decision::SignIn(..)
            | Decision::StepUp(_)
            | Decision::Forbidden(_)
            | Decision::CrossSite => {
                return Err(Refusal::Forbidden);
            }
        };
        let path = path.ok_or_else(|| no_path(&route))?;
        self.pass::<IO>(visitor, inbound, permit, path, epoch, None)
            .await
    }

    /// A name under the root where nobody is: a stranger cannot tell it from a tenant's.
    async fn nobody_there(
        &self,
        visitor: &Visitor,
        mut inbound: Box<Inbound>,
    ) -> Result<Response<Body>, Refusal> {
        let house = &*self.house;
        inbound.strip(Level::Guarded, &[]);
        let identity = self
            .identify(visitor, &inbound, &house.nobody_tenant)
            .await?;
        if inbound.is_ours() {
            return Ok(portal::gate(&house.desk(), *inbound, None, identity).await);
        }
        let why = identity.err().unwrap_or(NotSignedIn::Missing);
        let need = Asked::SignIn(why, Policy::TwoFactor);
        Ok(self.challenge(&inbound, None, need))
    }

    async fn identify(
        &self,
        visitor: &Visitor,
        inbound: &Inbound,
        tenant: &TenantId,
    ) -> Result<Result<Identity, NotSignedIn>, Refusal> {
        let house = &*self.house;
        let (bind, now) = (house.config.load().session.bind_address, house.clock.now());
        let audience = Audience {
            host: &inbound.host,
            tenant,
        };
        let first = authn::identify(
            inbound,
            audience,
            &house.tokens,
            &house.sessions,
            &mut visitor.remembered.borrow_mut(),
            bind,
            now,
        );
        let found = match first {
            Err(NotSignedIn::Unknown) => {
                // A memory of its own: the connection's cannot be borrowed while we wait.
                let mut fresh = Remembered::default();
                let again = authn::identify_or_read(
                    inbound,
                    audience,
                    &house.tokens,
                    &house.sessions,
                    &mut fresh,
                    bind,
                    now,
                );
                Box::pin(again).await.map_err(|error| store_away(&error))?
            }
            found => found,
        };
        Ok(found)
    }

    /// What somebody is told who must sign in first, or more strongly.
    fn challenge(
        &self,
        inbound: &Inbound,
        route: Option<&HostRoute>,
        need: Asked,
    ) -> Response<Body> {
        self.metrics.decided(match need {
            Asked::SignIn(..) => "sign_in",
            Asked::StepUp(_) => "step_up",
        });
        portal::challenge(&self.house.desk(), inbound, route, need)
    }

    /// Counts a connection for as long as what is given back is held.
    pub fn place(&self, permit: OwnedSemaphorePermit) -> Rc<Place> {
        Rc::new(Place {
            _permit: permit,
            _counted: self.metrics.connected(),
        })
    }

    fn login_url(&self) -> String {
        format!("{}/login", self.house.portal_origin())
    }

    /// There and back, under a permit.
    async fn pass<IO>(
        self: &Rc<Self>,
        visitor: &Visitor,
        mut inbound: Box<Inbound>,
        permit: Permit,
        path: &PathRoute,
        epoch: u64,
        engine: Option<engineio::Request>,
    ) -> Result<Response<Body>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let house = &*self.house;
        let choice = if engine.is_some() {
            Choice::Sticky(inbound.client)
        } else {
            Choice::Turn
        };
        self.metrics.admitted.inc();
        let fresh = self
            .pool
            .choose(path, choice)
            .ok_or(Refusal::Starting { retry_after: SOON })?;
        let engine = match engine {
            Some(request) => Some(self.engine(request, &mut inbound, &permit, path, fresh)?),
            None => None,
        };
        let upstream = engine.as_ref().map_or(fresh, |it| &it.upstream);
        let route = Arc::clone(permit.route());
        let stamp = Stamp {
            level: house.level(&route),
            who: permit.identity().map(|it| Arc::clone(it.profile())),
            assertion: permit
                .identity()
                .and_then(|it| it.assertion(&self.assertions, &house.tokens, house.clock.now())),
        };
        let vigil = Vigil::new(permit, upstream.address, Rc::clone(&self.sight), epoch);
        let errand = Errand {
            route: &route,
            path,
            upstream,
            stamp,
            vigil: Some(vigil),
        };
        if inbound.websocket {
            let socket = self.open_socket::<IO>(visitor, inbound, errand, engine.as_ref());
            return Box::pin(socket).await;
        }
        match &engine {
            Some(engine) => Box::pin(self.poll(inbound, errand, engine)).await,
            None => forward::send(&self.pool, errand, inbound)
                .await
                .map_err(refused),
        }
    }
}

fn refuse(refusal: &Refusal, asker: &Asker) -> Response<Body> {
    let mut response = reply::refuse(refusal, asker);
    if let Refusal::NotSignedIn {
        why: NotSignedIn::Session(_),
        ..
    } = refusal
    {
        // Over for good: the browser need not show it again.
        response
            .headers_mut()
            .append(header::SET_COOKIE, cookie::session_gone());
    }
    response
}

/// What the log says of a request, read before it is taken apart. No query: it may hold secrets.
struct Line {
    client: std::net::SocketAddr,
    method: Method,
    host: String,
    path: String,
}

impl Line {
    fn of(raw: &Request<Body>, visitor: &Visitor) -> Self {
        let host = raw.uri().host().or_else(|| {
            raw.headers()
                .get(header::HOST)
                .and_then(|it| it.to_str().ok())
        });
        Self {
            client: visitor.arrival.peer,
            method: raw.method().clone(),
            host: host.unwrap_or_default().to_owned(),
            path: redacted(raw.uri().path()),
        }
    }

    fn write(&self, response: &Response<Body>, asker: &Asker) {
        tracing::info!(
            target: "portcullis::access",
            id = asker.id,
            client = %asker.client.unwrap_or_else(|| self.client.ip()),
            method = %self.method,
            host = self.host,
            path = self.path,
            status = response.status().as_u16(),
        );
    }
}

/// A set-up link is a secret in a path.
fn redacted(path: &str) -> String {
    match path.strip_prefix("/setup/") {
        Some(_) => "/setup/[redacted]".to_owned(),
        None => path.to_owned(),
    }
}

/// A host without any path is one whose containers do not run.
fn no_path(route: &HostRoute) -> Refusal {
    if route.paths.is_empty() {
        Refusal::Stopped
    } else {
        Refusal::NotFound
    }
}

fn store_away(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store did not answer");
    Refusal::StoreAway { retry_after: SOON }
}

/// What a fault on the way to the tenant looks like from outside.
fn refused(error: ForwardError) -> Refusal {
    match error {
        ForwardError::Over(over) => ended(over),
        ForwardError::BodyTooLarge => Malformed::BodyTooLarge.into(),
        ForwardError::BodyBroken | ForwardError::BodyStalled => Malformed::Framing.into(),
        ForwardError::ServiceWorker => Refusal::Forbidden,
        error @ (ForwardError::Unreachable(_)
        | ForwardError::Broken(_)
        | ForwardError::Switched) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the tenant did not answer"
            );
            Refusal::Unreachable
        }
        error @ (ForwardError::ConnectTimeout | ForwardError::ResponseTimeout) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the tenant did not answer"
            );
            Refusal::TimedOut
        }
    }
}

/// What the end of a session looks like to a request that was under way.
fn ended(over: authz::Over) -> Refusal {
    match over {
        authz::Over::Session(why) => Refusal::NotSignedIn {
            why: NotSignedIn::Session(why),
            login_url: None,
        },
        authz::Over::Token => Refusal::NotSignedIn {
            why: NotSignedIn::Expired,
            login_url: None,
        },
        authz::Over::Policy => Refusal::Forbidden,
        authz::Over::TenantChanged | authz::Over::TenantGone => Refusal::Stopped,
        authz::Over::Draining => Refusal::Starting { retry_after: SOON },
    }
}

/// nginx-proxy's answer for a host that nobody has.
fn unknown_host() -> Response<Body> {
    let mut response = Response::new(Body::full("503 Service Temporarily Unavailable\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// Preflights of allowed origins are answered here: they carry no cookie to be judged by.
fn preflight(inbound: &Inbound, route: &HostRoute) -> Option<Response<Body>> {
    if inbound.method != Method::OPTIONS {
        return None;
    }
    let asked = inbound
        .headers
        .get(header::ACCESS_CONTROL_REQUEST_METHOD)?
        .clone();
    let origin = inbound
        .headers
        .get(header::ORIGIN)?
        .to_str()
        .ok()?
        .to_owned();
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    allow_origin(&mut response, Some(&origin), route);
    let headers = response.headers_mut();
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return None;
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, asked);
    if let Some(names) = inbound.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("600"),
    );
    Some(response)
}

/// Lets a page of an allowed origin read the answer.
fn allow_origin(response: &mut Response<Body>, origin: Option<&str>, route: &HostRoute) {
    let Some(origin) = origin.filter(|it| route.settings.allow_origins.iter().any(|one| one == it))
    else {
        return;
    };
    let Ok(value) = HeaderValue::try_from(origin) else {
        return;
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("cross-origin"),
    );
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}
