//! Engine.IO over polling: bodies judged both ways, and the registry of the connections that
//! have begun so.
//!
//! A payload is packets with 0x1e between them; binary ones are `b` and base64. The registry is
//! shared by all cores and asked once per polling request.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Timestamp,
    session::Lease,
    socket::{
        Refused, Way,
        conversation::{Conversation, Terms, Verdict},
        engineio::{self, Opening, Request},
        guard::{self, Shared},
        notice::Notice,
        quota::{self, Seats},
        seal::{Kind, Opened, Seal},
    },
};

/// What stands between two packets of a payload.
const SEPARATOR: u8 = 0x1e;
/// How long a connection may go without a request before it is forgotten. (Servers ping every
/// 25 s and give up after 45.)
const FORGOTTEN_MILLIS: i64 = 180_000;
/// Most connections remembered.
const MOST: usize = 200_000;

/// The body to send on, and what it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// `None`: as it came. Empty: nothing is left to send on; answer `ok` to a POST.
    pub body: Option<Bytes>,
    /// Whether a person may have done something (not only the transport's own pings).
    pub used: bool,
    /// The connection that this body opens.
    pub opening: Option<Opening>,
    /// Whether it closes the connection.
    pub closes: bool,
}

/// Judges the body of a client's POST.
pub fn judge_post(
    conversation: &mut Conversation,
    terms: &Terms,
    body: &[u8],
) -> Result<Judged, Refused> {
    judge(conversation, terms, Way::Up, Moment::Running, body)
}

/// Judges the body of the upstream's answer to a GET, which may hold several messages (the
/// caller bounds it as a whole). `first`: it answers the request that opened the connection.
pub fn judge_answer(
    conversation: &mut Conversation,
    terms: &Terms,
    first: bool,
    body: &[u8],
) -> Result<Judged, Refused> {
    let moment = if first {
        Moment::Opening
    } else {
        Moment::Running
    };
    let mut judged = judge(conversation, terms, Way::Down, moment, body)?;
    let replies = conversation.take_replies();
    if !replies.is_empty() {
        let mut whole = judged
            .body
            .take()
            .map_or_else(|| body.to_vec(), |it| it.to_vec());
        for reply in replies {
            append(&mut whole, reply.as_bytes());
        }
        judged.body = Some(whole.into());
    }
    Ok(judged)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Opening,
    Running,
}

fn judge(
    conversation: &mut Conversation,
    terms: &Terms,
    way: Way,
    moment: Moment,
    body: &[u8],
) -> Result<Judged, Refused> {
    // A client sends no more at once than one message may be long; a server sends all it has,
    // and the caller bounds that by its bytes.
    let most = match way {
        Way::Up if body.len() > terms.max_message => return Err(Refused::TooLarge),
        Way::Up => terms.max_packets,
        Way::Down => usize::MAX,
    };
    let text = simdutf8::basic::from_utf8(body).map_err(|_| Refused::Utf8)?;
    if text.is_empty() && way == Way::Up {
        return Err(Refused::Grammar("an empty payload"));
    }
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    let (mut changed, mut used, mut opening, mut closes) = (false, false, None, false);
    let separator = char::from(SEPARATOR);
    let packets = text.split(separator).filter(|_| !text.is_empty());
    let mut start = 0;
    for (count, packet) in packets.enumerate() {
        if count >= most {
            return Err(Refused::TooManyPackets);
        }
        if packet.len() > terms.max_message {
            return Err(Refused::TooLarge);
        }
        scratch.clear();
        let is_open_packet = moment == Moment::Opening && count == 0;
        closes |= packet == "1";
        let verdict = match packet.as_bytes().first() {
            Some(b'0') if is_open_packet => {
                opening = Some(engineio::seal_open(
                    packet,
                    &terms.seal,
                    &terms.replica,
                    &mut scratch,
                )?);
                Verdict::Changed
            }
            _ if is_open_packet => return Err(Refused::Grammar("no open packet")),
            Some(b'4') => {
                used = true;
                conversation.message(way, packet, terms, &mut scratch)?
            }
            Some(b'b') => {
                used = true;
                STANDARD
                    .decode(packet.get(1..).unwrap_or_default())
                    .map_err(|_| Refused::Grammar("base64"))?;
                conversation.binary(way)?
            }
            _ => match (way, packet) {
                (Way::Up, "3" | "1") => {
                    conversation.small_talk(terms)?;
                    Verdict::Pass
                }
                (Way::Down, "2" | "6" | "1") => Verdict::Pass,
                _ => return Err(Refused::Grammar("an Engine.IO packet out of place")),
            },
        };
        if verdict != Verdict::Pass && !changed {
            changed = true;
            let before = text.get(..start).unwrap_or_default();
            let before = before.strip_suffix(separator).unwrap_or(before);
            out.extend_from_slice(before.as_bytes());
        }
        match verdict {
            Verdict::Pass if changed => append(&mut out, packet.as_bytes()),
            Verdict::Changed => append(&mut out, &scratch),
            Verdict::Pass | Verdict::Drop => {}
        }
        start += packet.len() + 1;
    }
    if moment == Moment::Opening && opening.is_none() {
        return Err(Refused::Grammar("no open packet"));
    }
    Ok(Judged {
        body: changed.then(|| out.into()),
        used,
        opening,
        closes,
    })
}

fn append(payload: &mut Vec<u8>, packet: &[u8]) {
    if !payload.is_empty() {
        payload.push(SEPARATOR);
    }
    payload.extend_from_slice(packet);
}

/// Where a polling connection leads, and under whose login.
#[derive(Debug)]
struct Place {
    upstream: SocketAddr,
    /// Path and query of a polling request of ours on it, with the upstream's own `sid`.
    target: String,
    /// `None` where nobody has to sign in.
    lease: Option<Lease>,
}

/// A connection that began as polling.
#[derive(Debug)]
pub struct Session {
    conversation: Shared,
    place: Place,
    seen: AtomicI64,
    seats: Mutex<Option<Seats>>,
    /// Ready when it ends by what was said on it: the pending poll is answered then.
    over: CancellationToken,
}

/// What ends a polling connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// The body that answers the client's pending poll: why, and `41` per namespace; `1` where there is none.
    pub answer: Bytes,
    /// A POST of ours to the upstream: `41` per namespace. `None`: it was sent before.
    pub post: Option<Post>,
}

/// A request to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Where to.
    pub upstream: SocketAddr,
    /// Path and query.
    pub target: String,
    /// Its body; `Content-Type: text/plain;charset=UTF-8`.
    pub body: Bytes,
}

impl Session {
    fn new(conversation: Conversation, place: Place, seats: Seats, now: Timestamp) -> Self {
        Self {
            conversation: Arc::new(Mutex::new(conversation)),
            place,
            seen: AtomicI64::new(now.0),
            seats: Mutex::new(Some(seats)),
            over: CancellationToken::new(),
        }
    }

    /// It takes up no seat any more: it was closed, or a WebSocket that has its own goes on.
    pub fn rise(&self) {
        self.seats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Ends it, for whatever was said on it.
    pub fn end(&self) {
        self.over.cancel();
    }

    /// Waits until it is ended so.
    pub async fn ended(&self) {
        self.over.cancelled().await;
    }

    /// The conversation on it.
    pub fn conversation(&self) -> &Shared {
        &self.conversation
    }

    /// How it ends: told once to the upstream, to the client as often as it asks.
    pub fn farewell(&self, notice: Option<&Notice<'_>>) -> Farewell {
        let mut conversation = guard::lock(&self.conversation);
        let mut answer = Vec::new();
        if !conversation.is_amid_attachments() {
            for message in conversation.farewell_down(notice) {
                append(&mut answer, message.as_bytes());
            }
        }
        // With a close packet in the same payload the official client would close at once, and
        // throw away the messages in front of it, which it looks at a moment later. After its
        // `41`s it closes by itself.
        if answer.is_empty() {
            answer.extend_from_slice(b"1");
        }
        let mut body = Vec::new();
        for message in conversation.farewell_up() {
            append(&mut body, message.as_bytes());
        }
        Farewell {
            answer: answer.into(),
            post: (!body.is_empty()).then(|| Post {
                upstream: self.place.upstream,
                target: self.place.target.clone(),
                body: body.into(),
            }),
        }
    }
}

/// Every polling connection that this gateway knows, by the `sid` that it handed out.
#[derive(Debug, Default)]
pub struct EngineSessions {
    known: papaya::HashMap<Box<str>, Arc<Session>>,
    count: AtomicUsize,
}

/// Why a polling request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSession {
    /// Not a `sid` that we gave to this person. 400, as an Engine.IO server answers an unknown one.
    #[error("the Engine.IO session is not known")]
    Unknown,
    /// It has gone on to a WebSocket. 400.
    #[error("the Engine.IO session has gone on to a WebSocket")]
    Upgraded,
    /// There is no seat for it. 429.
    #[error(transparent)]
    NoSeat(#[from] quota::Full),
    /// Too many are open. 503.
    #[error("too many Engine.IO sessions are open")]
    Full,
}

impl EngineSessions {
    /// Takes note of a connection that was just opened.
    pub fn begin(
        &self,
        request: &Request,
        opening: &Opening,
        conversation: Conversation,
        (upstream, lease): (SocketAddr, Option<Lease>),
        seats: Seats,
        now: Timestamp,
    ) -> Result<(), NoSession> {
        let place = Place {
            upstream,
            target: request.polling_target(&opening.own),
            lease,
        };
        let session = Session::new(conversation, place, seats, now);
        self.insert(&opening.sealed, session).map(|_| ())
    }

    /// The connection that `request` belongs to. Its `sid` was opened (and so verified) by the
    /// caller with [`open_sid`], who knows by now which upstream the replica is. One that is
    /// not known here began on another gateway or before a restart, and goes on, if there are
    /// `seats` for it.
    pub fn find(
        &self,
        request: &Request,
        opened: Opened<'_>,
        (upstream, lease): (SocketAddr, Option<Lease>),
        seats: impl FnOnce() -> Result<Seats, quota::Full>,
        now: Timestamp,
    ) -> Result<Arc<Session>, NoSession> {
        let sealed = request.sid.as_deref().ok_or(NoSession::Unknown)?;
        let found = self.known.pin().get(sealed).cloned();
        let session = if let Some(session) = found {
            session
        } else {
            let place = Place {
                upstream,
                target: request.polling_target(opened.id),
                lease,
            };
            let session = Session::new(Conversation::resumed(), place, seats()?, now);
            self.insert(sealed, session)?
        };
        session.seen.store(now.0, Ordering::Relaxed);
        if guard::lock(&session.conversation).is_upgraded() {
            return Err(NoSession::Upgraded);
        }
        Ok(session)
    }

    fn insert(&self, sealed: &str, session: Session) -> Result<Arc<Session>, NoSession> {
        if self.count.load(Ordering::Relaxed) >= MOST {
            return Err(NoSession::Full);
        }
        let session = Arc::new(session);
        let known = self.known.pin();
        match known.try_insert(sealed.into(), Arc::clone(&session)) {
            Ok(_) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                Ok(session)
            }
            Err(taken) => Ok(Arc::clone(taken.current)),
        }
    }

    /// Forgets a connection: it was closed.
    pub fn forget(&self, sealed: &str) {
        if self.known.pin().remove(sealed).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets what has long been silent, and takes out what has lost its login: the `41`s of
    /// those are to be delivered. Called every now and then.
    pub fn sweep(&self, now: Timestamp) -> Vec<Post> {
        let mut posts = Vec::new();
        let known = self.known.pin();
        for (sealed, session) in &known {
            let upgraded = guard::lock(&session.conversation).is_upgraded();
            let over = session
                .place
                .lease
                .as_ref()
                .is_some_and(|it| it.check(now).is_err());
            let silent = now.0.saturating_sub(session.seen.load(Ordering::Relaxed));
            if upgraded {
                continue; // its WebSocket sees to it
            }
            if over {
                posts.extend(session.farewell(None).post);
            }
            if over || silent > FORGOTTEN_MILLIS {
                self.forget(sealed);
            }
        }
        posts
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A polling connection that a WebSocket is about to take over.
#[derive(Debug)]
pub struct Upgrading {
    sessions: Arc<EngineSessions>,
    sealed: Box<str>,
    session: Arc<Session>,
}

impl Upgrading {
    /// From what [`EngineSessions::find`] found for the handshake's own `sid`.
    pub fn new(sessions: Arc<EngineSessions>, sealed: &str, session: Arc<Session>) -> Self {
        Self {
            sessions,
            sealed: sealed.into(),
            session,
        }
    }

    /// The conversation that goes on.
    pub fn conversation(&self) -> Shared {
        Arc::clone(&self.session.conversation)
    }

    /// The WebSocket has taken it over.
    pub fn rise(&self) {
        self.session.rise();
    }

    /// The WebSocket is closed, and the connection with it.
    pub fn forget(&self) {
        self.sessions.forget(&self.sealed);
    }
}

/// Opens the sealed `sid` of a request for its owner.
pub fn open_sid<'a>(request: &'a Request, seal: &Seal) -> Option<Opened<'a>> {
    seal.open(Kind::Sid, request.sid.as_deref()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{conversation::tests::terms_of, seal::tests::seal_of};
    use http::Method;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn place() -> (SocketAddr, Option<Lease>) {
        (SocketAddr::from(([127, 0, 0, 1], 1880)), None)
    }

    fn seats() -> Seats {
        let quotas = quota::Quotas::default();
        let rules = crate::config::SocketRules::default();
        quotas.take(&"t1".into(), None, &rules).unwrap()
    }

    fn found(sessions: &EngineSessions, request: &Request) -> Result<Arc<Session>, NoSession> {
        let opened = open_sid(request, &seal_of("alice", 1)).unwrap();
        sessions.find(request, opened, place(), || Ok(seats()), NOW)
    }

    fn poll(sid: Option<&str>) -> Request {
        let sid = sid.map_or_else(String::new, |it| format!("&sid={it}"));
        let target = format!("/socket.io/?EIO=4&transport=polling{sid}");
        engineio::recognise(&Method::GET, &target, false)
            .unwrap()
            .unwrap()
    }

    fn opened() -> (EngineSessions, String) {
        let terms = terms_of("alice", 1);
        let sessions = EngineSessions::default();
        let mut conversation = Conversation::default();
        let judged = judge_answer(&mut conversation, &terms, true, br#"0{"sid":"abc"}"#).unwrap();
        let opening = judged.opening.unwrap();
        sessions
            .begin(&poll(None), &opening, conversation, place(), seats(), NOW)
            .unwrap();
        (sessions, opening.sealed)
    }

    #[test]
    fn a_connection_opens_by_polling_and_is_found_again() {
        let (sessions, sealed) = opened();
        let request = poll(Some(&sealed));
        let opened = open_sid(&request, &seal_of("alice", 1)).unwrap();
        assert_eq!((opened.id, opened.replica), ("abc", "r1"));
        let session = found(&sessions, &request).unwrap();
        let terms = terms_of("alice", 1);
        let mut conversation = guard::lock(session.conversation());
        let judged =
            judge_post(&mut conversation, &terms, b"40/app,\x1e3\x1e40{\"user\":1}").unwrap();
        assert_eq!(judged.body.unwrap(), &b"40/app,\x1e3\x1e40{}"[..]);
        let judged = judge_answer(
            &mut conversation,
            &terms,
            false,
            b"40/app,{\"sid\":\"me\"}\x1e2",
        )
        .unwrap();
        assert_eq!((judged.body, judged.used), (None, true));
    }

    #[test]
    fn w11_a_sid_of_somebody_else_opens_nothing() {
        let (_, sealed) = opened();
        let request = poll(Some(&sealed));
        assert_eq!(open_sid(&request, &seal_of("bob", 1)), None);
        assert_eq!(open_sid(&request, &seal_of("alice", 2)), None);
        assert_eq!(open_sid(&poll(Some("abc")), &seal_of("alice", 1)), None);
        assert_eq!(open_sid(&poll(None), &seal_of("alice", 1)), None);
    }

    #[test]
    fn w11_after_the_upgrade_polling_is_over() {
        let (sessions, sealed) = opened();
        let (sessions, request) = (Arc::new(sessions), poll(Some(&sealed)));
        let session = found(&sessions, &request).unwrap();
        let mut guard = guard::Guard::upgrade(
            Arc::new(terms_of("alice", 1)),
            Upgrading::new(Arc::clone(&sessions), &sealed, session),
        );
        let mut out = Vec::new();
        assert!(guard.text(Way::Up, b"5", &mut out).is_err());
        assert!(guard.text(Way::Up, b"40", &mut out).is_err());
        guard.text(Way::Up, b"2probe", &mut out).unwrap();
        assert!(guard.text(Way::Up, b"5", &mut out).is_err());
        guard.text(Way::Down, b"3probe", &mut out).unwrap();
        assert!(found(&sessions, &request).is_ok());
        guard.text(Way::Up, b"5", &mut out).unwrap();
        guard.text(Way::Up, b"40", &mut out).unwrap();
        assert!(matches!(
            found(&sessions, &request),
            Err(NoSession::Upgraded)
        ));
        drop(guard);
        assert!(sessions.is_empty());
    }

    #[test]
    fn w7_a_polling_connection_ends_with_41_and_1() {
        let (sessions, sealed) = opened();
        let request = poll(Some(&sealed));
        let session = found(&sessions, &request).unwrap();
        judge_post(
            &mut guard::lock(session.conversation()),
            &terms_of("alice", 1),
            b"40/app,\x1e40",
        )
        .unwrap();
        let farewell = session.farewell(None);
        assert_eq!(farewell.answer, &b"41/app,\x1e41"[..]);
        let post = farewell.post.unwrap();
        assert_eq!(post.body, &b"41/app,\x1e41"[..]);
        assert_eq!(post.target, "/socket.io/?EIO=4&transport=polling&sid=abc");
        assert_eq!(session.farewell(None).post, None);
    }

    #[test]
    fn w12_packets_are_counted_where_a_client_sends_them_and_a_tenant_sends_all_it_has() {
        let terms = terms_of("alice", 1);
        let mut conversation = Conversation::default();
        let many = vec!["3"; 17].join("\x1e");
        assert_eq!(
            judge_post(&mut conversation, &terms, many.as_bytes()),
            Err(Refused::TooManyPackets)
        );
        let many = vec!["2"; 5000].join("\x1e");
        let judged = judge_answer(&mut conversation, &terms, false, many.as_bytes()).unwrap();
        assert_eq!(judged.body, None, "as it came");
    }

    #[test]
    fn w12_bodies_are_bounded_and_of_version_4() {
        let terms = terms_of("alice", 1);
        let many = vec!["3"; 17].join("\x1e");
        for (bad, why) in [
            (many.as_bytes(), "many packets"),
            (b"", "empty"),
            (b"3\x1e", "an empty packet"),
            (b"2:40", "version 3"),
            (b"4:40/a", "version 3"),
            (b"d=40", "JSONP"),
            (b"bAAAA", "an attachment of nothing"),
            (b"0{\"sid\":\"x\"}", "an open packet from a client"),
            (b"2", "a ping from a client"),
            (b"40\x1e42[\"\xff\"]", "not UTF-8"),
        ] {
            let found = judge_post(&mut Conversation::default(), &terms, bad);
            assert!(found.is_err(), "{why} {found:?}");
        }
        let large = vec![b'4'; (1 << 20) + 1];
        assert_eq!(
            judge_post(&mut Conversation::default(), &terms, &large),
            Err(Refused::TooLarge)
        );
    }

    #[test]
    fn a_connection_unknown_here_is_resumed_and_a_silent_one_forgotten() {
        let sealed = seal_of("alice", 1).seal(Kind::Sid, "r1", "abc").unwrap();
        let sessions = EngineSessions::default();
        let request = poll(Some(&sealed));
        let session = found(&sessions, &request).unwrap();
        let judged = judge_post(
            &mut guard::lock(session.conversation()),
            &terms_of("alice", 1),
            b"42/app,[\"a\"]",
        );
        assert_eq!(judged.unwrap().body, None);
        assert!(sessions.sweep(NOW).is_empty());
        assert_eq!(sessions.len(), 1);
        sessions.sweep(Timestamp::from_secs(2000));
        assert!(sessions.is_empty());
    }

    proptest! {
        #[test]
        fn what_passes_unchanged_is_all_there(
            packets in proptest::collection::vec(
                prop::sample::select(vec!["3", "40/app,", "40{\"token\":1}", "42/app,[\"a\"]", "1", "x", "451-/app,[\"a\"]", "bAAAA"]),
                1..8,
            )
        ) {
            let body = packets.join("\x1e");
            let mut it = Conversation::resumed();
            if let Ok(judged) = judge_post(&mut it, &terms_of("alice", 1), body.as_bytes()) {
                let sent = judged.body.map_or_else(|| body.clone(), |it| String::from_utf8(it.to_vec()).unwrap());
                prop_assert_eq!(sent, body.replace("{\"token\":1}", "{}"));
            }
        }
    }
}
