//! Engine.IO on its way: whose ids, which replica, and the polling transport there and back.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, uri::PathAndQuery};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::{
    authn::Reception,
    authz::{Over, Permit, Vigil},
    body::Body,
    forward::{self, Errand, ForwardError},
    intake::{Inbound, Malformed},
    pipeline::{Pipeline, refused, upgrade::crowded},
    reply::Refusal,
    route::{PathRoute, Upstream},
    session::Lease,
    socket::{
        Refused,
        conversation::{Conversation, Terms},
        engineio::Request,
        guard,
        notice::{Notice, Topic, last_words},
        payload::Form,
        polling::{self, Judged, NoSession, Post, Session},
        quota::Seats,
        seal,
    },
    telemetry::{Kind, count},
};

/// Why a connection ends, as its client is told.
type Words = (Topic, &'static str);
/// What is said where there is nothing better to say.
const OVER: Words = (Topic::SessionInvalid, "revoked");
/// How long a tenant may take to hear of an end before its leg is cut.
const PATIENCE: Duration = Duration::from_secs(1);

/// One Engine.IO request, its id opened.
pub(super) struct Engine {
    /// The request, with the sealed id.
    pub(super) request: Request,
    /// What holds for its connection.
    pub(super) terms: Arc<Terms>,
    /// The connection it belongs to; `None`: it opens one.
    pub(super) session: Option<Arc<Session>>,
    /// Who it is for.
    pub(super) upstream: Upstream,
    /// Largest answer to a poll, in bytes.
    max_answer: usize,
    lease: Option<Lease>,
}

/// Which request of a connection a poll's answer is for.
enum At<'a> {
    /// The first, which opens it.
    Opening(Seats),
    /// One on it.
    Running(&'a Arc<Session>),
}

impl Engine {
    /// How packets stand in a body that came with these headers.
    fn form(&self, headers: &HeaderMap) -> Form {
        let kind = headers.get(header::CONTENT_TYPE);
        Form::of(self.terms.version, kind.map(HeaderValue::as_bytes))
    }
}

impl Pipeline {
    /// Opens the id of an Engine.IO request and finds the replica that it belongs to; `fresh` is
    /// where a new connection goes.
    pub(super) fn engine(
        &self,
        request: Request,
        inbound: &mut Inbound,
        permit: &Permit,
        path: &PathRoute,
        fresh: &Upstream,
    ) -> Result<Engine, Refusal> {
        let house = &*self.house;
        let lease = permit.identity().map(|it| it.lease().clone());
        let seal = house.sealer.for_permit(permit);
        let now = house.clock.now();
        let (upstream, session, own) = if request.sid.is_some() {
            let opened = polling::open_sid(&request, &seal).ok_or(Malformed::EngineIo)?;
            let upstream = path
                .upstreams
                .iter()
                .find(|it| seal::replica(it.address) == opened.replica)
                .ok_or(Malformed::EngineIo)?;
            let own = opened.id.to_owned();
            let session = house
                .engines
                .find(
                    &request,
                    opened,
                    (upstream.address, lease.clone()),
                    || self.seats(permit),
                    now,
                )
                .map_err(unknown)?;
            (upstream.clone(), Some(session), Some(own))
        } else {
            (fresh.clone(), None, None)
        };
        let target = request.target(own.as_deref());
        inbound.target = PathAndQuery::try_from(target).map_err(|_| Malformed::EngineIo)?;
        // What is judged must not be compressed on its way.
        inbound.headers.remove(header::ACCEPT_ENCODING);
        let config = house.config.load();
        let terms = Terms::new(
            seal,
            seal::replica(upstream.address),
            permit.identity().cloned(),
            &permit.route().settings.socketio,
            &path.tighten,
            &config.sockets,
        );
        let reception = permit.identity().map(|_| Reception {
            tokens: Arc::clone(&house.tokens),
            sessions: Arc::clone(&house.sessions),
            clock: house.clock.clone(),
            bind: config.session.bind_address,
            client: inbound.client,
            host: permit.ask().host.clone(),
            tenant: permit.tenant().clone(),
        });
        let terms = terms
            .of(request.version)
            .with_reception(reception, self.login_url());
        Ok(Engine {
            request,
            terms: Arc::new(terms),
            session,
            upstream,
            max_answer: config.sockets.max_polling_answer,
            lease,
        })
    }

    /// One polling request, judged both ways.
    pub(super) async fn poll(
        &self,
        mut inbound: Box<Inbound>,
        errand: Errand<'_>,
        engine: &Engine,
    ) -> Result<Response<Body>, Refusal> {
        let Some(session) = &engine.session else {
            return self.begin_polling(inbound, errand, engine).await;
        };
        if let Some(words) = self.is_over(session, engine) {
            return Ok(self.goodbye(session, words).await);
        }
        if inbound.method == Method::POST {
            let body = collect(
                std::mem::replace(&mut inbound.body, Body::Empty),
                engine.terms.max_message,
            )
            .await?;
            let form = engine.form(&inbound.headers);
            // It is read as what it was judged as.
            let kind = HeaderValue::from_static(form.content_type());
            inbound.headers.insert(header::CONTENT_TYPE, kind);
            let judged = {
                let mut conversation = guard::lock(session.conversation());
                conversation.at(self.house.clock.now());
                let judged = polling::judge_post(&mut conversation, &engine.terms, (form, &body));
                self.dropped(conversation.take_dropped());
                judged
            };
            let Judged {
                body: changed,
                used,
                closes,
                ..
            } = judged.map_err(|refused| {
                self.reached(refused);
                judged_bad(refused)
            })?;
            if let Some(lease) = engine.lease.as_ref().filter(|_| used) {
                self.house
                    .sessions
                    .touch(&lease.cell, self.house.clock.now());
            }
            if let Some(words) = self.is_over(session, engine) {
                session.end();
                return Ok(self.goodbye(session, words).await);
            }
            if closes {
                session.rise();
            }
            let body = changed.unwrap_or(body);
            if body.is_empty() {
                return Ok(text("ok"));
            }
            inbound.body = Body::full(body);
        }
        let is_get = inbound.method == Method::GET;
        let watch = errand.vigil.clone();
        let mut after = errand.vigil.clone();
        let mut sent = std::pin::pin!(forward::send(&self.pool, errand, inbound));
        let sent = tokio::select! {
            biased;
            words = last(watch) => Err(words),
            () = session.ended() => Err(self.is_over(session, engine).unwrap_or(OVER)),
            sent = &mut sent => Ok(sent),
        };
        match sent {
            // The pending poll's own leg is still open, so that the tenant hears of it first: a
            // leg that is cut looks like an accident, which Socket.IO recovers from.
            Err(words) => Ok(self.goodbye(session, words).await),
            Ok(Ok(response)) if is_get => {
                let at = At::Running(session);
                let answer = self.downstream(response, engine, at).await;
                // A tenant that was told of the end by another request may break off this one's
                // answer: the end is the reason, and no fault of the tenant's.
                match (answer.is_err(), over_by_now(after.as_mut())) {
                    (true, Some(words)) => Ok(self.goodbye(session, words).await),
                    _ => answer,
                }
            }
            Ok(Ok(response)) => Ok(response),
            Ok(Err(ForwardError::Over(over))) if let Some(words) = last_words(over) => {
                Ok(self.goodbye(session, words).await)
            }
            Ok(Err(error)) => Err(refused(error)),
        }
    }

    /// Counts messages that were dropped because there were too many.
    fn dropped(&self, count: u32) {
        if count > 0 {
            let kind = Kind {
                kind: "rate".to_owned(),
            };
            let limits = &self.house.metrics.socket_limits;
            limits.get_or_create(&kind).inc_by(count.into());
        }
    }

    /// Counts the limit that was reached, if it was one.
    fn reached(&self, refused: Refused) {
        if let Some(limit) = refused.limit() {
            count(&self.house.metrics.socket_limits, limit);
        }
    }

    /// Whether what was said on a connection, or not said in time, has ended it.
    fn is_over(&self, session: &Session, engine: &Engine) -> Option<Words> {
        let now = self.house.clock.now();
        let due = guard::lock(session.conversation()).due(now, &engine.terms);
        due.err().map(|over| last_words(over).unwrap_or(OVER))
    }

    async fn begin_polling(
        &self,
        inbound: Box<Inbound>,
        errand: Errand<'_>,
        engine: &Engine,
    ) -> Result<Response<Body>, Refusal> {
        let vigil = errand.vigil.as_ref().ok_or(Refusal::Forbidden)?;
        let seats = self.seats(vigil.permit()).map_err(crowded)?;
        let response = forward::send(&self.pool, errand, inbound)
            .await
            .map_err(refused)?;
        self.downstream(response, engine, At::Opening(seats)).await
    }

    /// The answer to a GET: judged as a whole. (Polls are small, and bounded.)
    async fn downstream(
        &self,
        response: Response<Body>,
        engine: &Engine,
        at: At<'_>,
    ) -> Result<Response<Body>, Refusal> {
        if response.status() != StatusCode::OK {
            return Ok(response);
        }
        let (mut head, body) = response.into_parts();
        let collected = collect(body, engine.max_answer).await;
        let body = match (collected, &at) {
            (Ok(body), _) => body,
            (
                Err(Refusal::NotSignedIn {
                    why: crate::authn::NotSignedIn::Session(why),
                    ..
                }),
                At::Running(session),
            ) => {
                let over = Over::Session(why);
                let words = last_words(over).unwrap_or(OVER);
                return Ok(self.goodbye(session, words).await);
            }
            (Err(Refusal::Malformed(Malformed::BodyTooLarge)), _) => {
                count(&self.house.metrics.socket_limits, "polling_answer");
                tracing::warn!(
                    "a tenant's polling answer is larger than sockets.max_polling_answer"
                );
                return Err(Refusal::Unreachable);
            }
            (Err(refusal), _) => return Err(refusal),
        };
        let judged = match at {
            At::Running(session) => {
                if let Some(words) = self.is_over(session, engine) {
                    return Ok(self.goodbye(session, words).await);
                }
                let mut conversation = guard::lock(session.conversation());
                let body = (engine.form(&head.headers), &body[..]);
                let judged = polling::judge_answer(&mut conversation, &engine.terms, false, body);
                if judged.as_ref().is_ok_and(|it| it.closes) {
                    session.rise();
                }
                judged
            }
            At::Opening(seats) => {
                self.opened(engine, seats, (engine.form(&head.headers), &body))?
            }
        };
        let judged = judged.map_err(|refused| {
            self.reached(refused);
            tracing::warn!(%refused, "a tenant's polling answer is not Socket.IO as encoders write it");
            Refusal::Unreachable
        })?;
        let body = judged.body.unwrap_or(body);
        head.headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        Ok(Response::from_parts(head, Body::full(body)))
    }

    /// The answer that opens a connection, and takes its seats.
    fn opened(
        &self,
        engine: &Engine,
        seats: Seats,
        body: (Form, &[u8]),
    ) -> Result<Result<Judged, Refused>, Refusal> {
        let mut conversation = Conversation::default();
        let judged = polling::judge_answer(&mut conversation, &engine.terms, true, body);
        if let Ok(Judged {
            opening: Some(opening),
            ..
        }) = &judged
        {
            let place = (engine.upstream.address, engine.lease.clone());
            let now = self.house.clock.now();
            self.house
                .engines
                .begin(&engine.request, opening, conversation, place, seats, now)
                .map_err(unknown)?;
        }
        Ok(judged)
    }

    /// The clean end of a polling connection: why and `41` for the client, `41` for the
    /// upstream by a POST of ours, which is waited for a moment.
    async fn goodbye(&self, session: &Session, (topic, reason): Words) -> Response<Body> {
        let config = self.house.config.load();
        let login_url = self.login_url();
        let notice = Notice {
            event: &config.sockets.control_event,
            topic,
            reason: Some(reason),
            login_url: &login_url,
            auth: None,
        };
        let farewell = session.farewell(Some(&notice));
        if let Some(post) = farewell.post {
            let delivery = self.tasks.spawn_local(deliver(Rc::clone(&self.pool), post));
            // Whether it arrived or not: the client is told all the same.
            tokio::time::timeout(PATIENCE, delivery).await.ok();
        }
        let mut response = text("");
        *response.body_mut() = Body::full(farewell.answer);
        response
    }
}

/// Waits for an end that a client is told of. (At others the request itself fails, or is finished.)
async fn last(vigil: Option<Vigil>) -> Words {
    if let Some(mut vigil) = vigil
        && let Some(words) = last_words(vigil.over().await)
    {
        return words;
    }
    std::future::pending().await
}

/// The end that a client is told of, if it has come.
fn over_by_now(vigil: Option<&mut Vigil>) -> Option<Words> {
    let vigil = vigil?;
    let now = vigil.now();
    vigil.check(now).err().and_then(last_words)
}

/// Tells an upstream that a polling connection is over.
pub(crate) async fn deliver(pool: Rc<forward::Pool>, post: Post) {
    if let Err(error) = forward::post(&pool, post.upstream, post.target, post.body).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a tenant was not told of an end"
        );
    }
}

fn unknown(error: NoSession) -> Refusal {
    match error {
        NoSession::Unknown | NoSession::Upgraded => Malformed::EngineIo.into(),
        NoSession::NoSeat(full) => crowded(full),
        NoSession::Full => Refusal::Starting {
            retry_after: super::SOON,
        },
    }
}

fn judged_bad(refused: Refused) -> Refusal {
    match refused {
        Refused::TooLarge | Refused::TooManyPackets => Malformed::BodyTooLarge.into(),
        Refused::TooFast => Refusal::TooOften {
            retry_after: super::SOON,
        },
        Refused::Frame(_)
        | Refused::Utf8
        | Refused::TooDeep
        | Refused::TooManyAttachments
        | Refused::Grammar(_) => Malformed::EngineIo.into(),
    }
}

/// All of a body of at most `most` bytes.
async fn collect(body: Body, most: usize) -> Result<Bytes, Refusal> {
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Malformed::BodyTooLarge.into()),
        Err(error) => match error.downcast::<ForwardError>() {
            Ok(error) => Err(refused(*error)),
            Err(_) => Err(Refusal::Unreachable),
        },
    }
}

fn text(text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=UTF-8"),
    );
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
