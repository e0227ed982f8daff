//! Engine.IO over polling: bodies judged both ways, and the registry of the connections that
//! have begun so. It is shared by all cores and asked once per polling request.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Timestamp,
    session::Lease,
    socket::{
        Refused, Way,
        conversation::{Conversation, Terms, Verdict},
        engineio::{self, Opening, Request, Version},
        guard::{self, Shared, heartbeat},
        notice::Notice,
        payload::{Form, Part, Parts},
        quota::{self, Seats},
        seal::{Opened, Seal},
    },
};

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

/// Judges the body of a client's POST, which is in that form.
pub fn judge_post(
    conversation: &mut Conversation,
    terms: &Terms,
    (form, body): (Form, &[u8]),
) -> Result<Judged, Refused> {
    judge(conversation, terms, Way::Up, Moment::Running, (form, body))
}

/// Judges the body of the upstream's answer to a GET, which may hold several messages (the
/// caller bounds it as a whole). `first`: it answers the request that opened the connection.
pub fn judge_answer(
    conversation: &mut Conversation,
    terms: &Terms,
    first: bool,
    (form, body): (Form, &[u8]),
) -> Result<Judged, Refused> {
    let moment = if first {
        Moment::Opening
    } else {
        Moment::Running
    };
    let mut judged = judge(conversation, terms, Way::Down, moment, (form, body))?;
    let replies = conversation.take_replies();
    let nothing_is_left = judged.body.as_ref().is_some_and(Bytes::is_empty);
    if !replies.is_empty() || nothing_is_left {
        let mut whole = judged
            .body
            .take()
            .map_or_else(|| body.to_vec(), |it| it.to_vec());
        for reply in &replies {
            form.append(&mut whole, reply);
        }
        // An empty payload is an error to the official clients.
        if whole.is_empty() {
            form.append(&mut whole, "6");
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
    (form, body): (Form, &[u8]),
) -> Result<Judged, Refused> {
    // A client sends no more at once than one message may be long; a server sends all it has,
    // and the caller bounds that by its bytes.
    let most = match way {
        Way::Up if body.len() > terms.max_message => return Err(Refused::TooLarge),
        Way::Up => terms.max_packets,
        Way::Down => usize::MAX,
    };
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    let (mut changed, mut used, mut opening, mut closes) = (false, false, None, false);
    let (mut count, mut before) = (0, 0);
    for part in Parts::new(form, body)? {
        let (part, at) = part?;
        if count >= most {
            return Err(Refused::TooManyPackets);
        }
        if at.len() > terms.max_message {
            return Err(Refused::TooLarge);
        }
        scratch.clear();
        let is_open_packet = moment == Moment::Opening && count == 0;
        let verdict = match part {
            Part::Text(packet) if is_open_packet && packet.starts_with('0') => {
                opening = Some(engineio::seal_open(
                    terms.version,
                    packet,
                    &terms.seal,
                    &terms.replica,
                    &mut scratch,
                )?);
                Verdict::Changed
            }
            Part::Text(packet) if packet.starts_with('4') => {
                used = true;
                conversation.message(way, packet, terms, &mut scratch)?
            }
            Part::Bytes(first) => {
                used = true;
                terms.take_bytes(first)?;
                conversation.binary(way)?
            }
            Part::Text(packet) => {
                closes |= packet == "1";
                let fits = packet == "1"
                    || packet == heartbeat(terms.version, way)
                    || (way == Way::Down && packet == "6");
                if !fits {
                    return Err(Refused::Grammar("an Engine.IO packet out of place"));
                }
                if way == Way::Up {
                    conversation.small_talk(terms)?;
                }
                Verdict::Pass
            }
        };
        if verdict != Verdict::Pass && !changed {
            changed = true;
            out.extend_from_slice(body.get(..before).unwrap_or_default());
        }
        match verdict {
            Verdict::Pass if changed => {
                form.append_raw(&mut out, body.get(at.clone()).unwrap_or_default());
            }
            Verdict::Changed => {
                // What is spliced of UTF-8 is UTF-8.
                form.append(&mut out, &String::from_utf8_lossy(&scratch));
            }
            Verdict::Pass | Verdict::Drop => {}
        }
        (count, before) = (count + 1, at.end);
    }
    match (way, moment) {
        (Way::Up, _) if count == 0 => return Err(Refused::Grammar("an empty payload")),
        (_, Moment::Opening) if opening.is_none() => {
            return Err(Refused::Grammar("no open packet"));
        }
        _ => {}
    }
    Ok(Judged {
        body: changed.then(|| out.into()),
        used,
        opening,
        closes,
    })
}

/// Where a polling connection leads, and under whose login.
#[derive(Debug)]
struct Place {
    version: Version,
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
        let form = Form::plain(self.place.version);
        let mut conversation = guard::lock(&self.conversation);
        let mut answer = Vec::new();
        if !conversation.is_amid_attachments() {
            for message in conversation.farewell_down(notice) {
                form.append(&mut answer, &message);
            }
        }
        // With a close packet in the same payload the official client would close at once, and
        // throw away the messages in front of it, which it looks at a moment later. After its
        // `41`s it closes by itself.
        if answer.is_empty() {
            form.append(&mut answer, "1");
        }
        let mut body = Vec::new();
        for message in conversation.farewell_up() {
            form.append(&mut body, &message);
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
            version: request.version,
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
                version: request.version,
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
    seal.open(request.version.sid(), request.sid.as_deref()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{
        conversation::tests::terms_of,
        pace::tests::pace,
        seal::{Kind, tests::seal_of},
    };
    use http::Method;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn four(body: &[u8]) -> (Form, &[u8]) {
        (Form::Four, body)
    }

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
        engineio::recognise(&Method::GET, &target, false, true)
            .unwrap()
            .unwrap()
    }

    fn opened() -> (EngineSessions, String) {
        let terms = terms_of("alice", 1);
        let sessions = EngineSessions::default();
        let mut conversation = Conversation::default();
        let judged =
            judge_answer(&mut conversation, &terms, true, four(br#"0{"sid":"abc"}"#)).unwrap();
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
        let judged = judge_post(
            &mut conversation,
            &terms,
            four(b"40/app,\x1e3\x1e40{\"user\":1}"),
        )
        .unwrap();
        assert_eq!(judged.body.unwrap(), &b"40/app,\x1e3\x1e40{}"[..]);
        let judged = judge_answer(
            &mut conversation,
            &terms,
            false,
            four(b"40/app,{\"sid\":\"me\"}\x1e2"),
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
            four(b"40/app,\x1e40"),
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
    fn version_3_is_judged_and_told_in_its_own_payloads() {
        let terms = terms_of("alice", 1).of(Version::Three);
        let sessions = EngineSessions::default();
        let mut conversation = Conversation::default();
        let body: &[u8] = br#"14:0{"sid":"abc"}2:40"#;
        let opened = judge_answer(&mut conversation, &terms, true, (Form::ThreeText, body));
        let opening = opened.unwrap().opening.unwrap();
        let poll = |sid: Option<&str>| {
            let sid = sid.map_or_else(String::new, |it| format!("&sid={it}"));
            let target = format!("/socket.io/?EIO=3&transport=polling&b64=1{sid}");
            engineio::recognise(&Method::GET, &target, false, true)
                .unwrap()
                .unwrap()
        };
        sessions
            .begin(&poll(None), &opening, conversation, place(), seats(), NOW)
            .unwrap();
        let session = found(&sessions, &poll(Some(&opening.sealed))).unwrap();
        let post = |body| {
            let mut conversation = guard::lock(session.conversation());
            judge_post(&mut conversation, &terms, body)
        };
        // What changes is written anew with its length; the rest is the bytes that came.
        let judged = post((
            Form::ThreeText,
            "1:214:40/app?token=,9:42[\"é\u{1f600}\"]".as_bytes(),
        ));
        assert_eq!(
            judged.unwrap().body.unwrap(),
            "1:27:40/app,9:42[\"é\u{1f600}\"]".as_bytes()
        );
        let judged = post((
            Form::ThreeBytes,
            b"\0\x01\xff2\0\x02\x08\xff451-[\"b\",{\"_placeholder\":1}]\x01\x02\xff\x04\x09",
        ));
        assert_eq!(judged.unwrap().body, None);
        for bad in [
            (Form::ThreeText, &b"2:40"[..]),
            (Form::ThreeText, b"1:3"),
            (Form::ThreeText, b"40"),
            (Form::ThreeText, b"6:b4AQID"),
            (Form::ThreeBytes, b"\x01\x01\xff\x02"),
            (Form::ThreeText, b"0:"),
        ] {
            assert!(post(bad).is_err(), "{bad:?}");
        }
        let farewell = session.farewell(None);
        assert_eq!(farewell.answer, &b"2:417:41/app,"[..]);
        let post = farewell.post.unwrap();
        assert_eq!(post.body, &b"2:417:41/app,"[..]);
        assert_eq!(
            post.target,
            "/socket.io/?EIO=3&transport=polling&sid=abc&b64=1"
        );
    }

    #[test]
    fn w12_a_sid_of_version_3_is_not_taken_for_one_of_version_4() {
        let (_, sealed) = opened();
        let target = format!("/socket.io/?EIO=3&transport=polling&sid={sealed}");
        let request = engineio::recognise(&Method::GET, &target, false, true)
            .unwrap()
            .unwrap();
        assert_eq!(open_sid(&request, &seal_of("alice", 1)), None);
    }

    #[test]
    fn an_answer_of_which_nothing_is_left_says_so() {
        let terms = terms_of("alice", 1).of(Version::Three);
        let terms = Terms {
            namespaces: vec![vec!["/app".to_owned()]],
            ..terms
        };
        for (form, body, left) in [
            (Form::ThreeText, &b"2:40"[..], &b"1:6"[..]),
            (Form::ThreeBytes, b"\0\x02\xff40", b"\0\x01\xff6"),
        ] {
            let judged = judge_answer(&mut Conversation::default(), &terms, false, (form, body));
            assert_eq!(judged.unwrap().body.unwrap(), left);
        }
    }

    #[test]
    fn w12_packets_are_counted_where_a_client_sends_them_and_a_tenant_sends_all_it_has() {
        let terms = terms_of("alice", 1);
        let mut conversation = Conversation::default();
        let many = vec!["3"; 17].join("\x1e");
        assert_eq!(
            judge_post(&mut conversation, &terms, four(many.as_bytes())),
            Err(Refused::TooManyPackets)
        );
        let many = vec!["2"; 5000].join("\x1e");
        let judged = judge_answer(&mut conversation, &terms, false, four(many.as_bytes())).unwrap();
        assert_eq!(judged.body, None, "as it came");
    }

    #[test]
    fn w12_a_body_and_each_packet_may_be_as_long_as_a_message() {
        let terms = Terms {
            max_message: 20,
            ..terms_of("alice", 1)
        };
        let packet = |size: usize| format!("42[\"{}\"]", "x".repeat(size - 6));
        let post = |body: &str| {
            let it = &mut Conversation::resumed();
            judge_post(it, &terms, four(body.as_bytes())).map(|_| ())
        };
        let answer = |body: &str| {
            let it = &mut Conversation::resumed();
            judge_answer(it, &terms, false, four(body.as_bytes())).map(|_| ())
        };
        assert_eq!(post(&packet(20)), Ok(()));
        assert_eq!(post(&packet(21)), Err(Refused::TooLarge));
        assert_eq!(post(&format!("3\x1e{}", packet(18))), Ok(()));
        let two = format!("3\x1e{}", packet(19));
        assert_eq!(post(&two), Err(Refused::TooLarge));
        let two = format!("{}\x1e{}", packet(20), packet(20));
        assert_eq!(answer(&two), Ok(()));
        for size in [21, 22] {
            assert_eq!(answer(&packet(size)), Err(Refused::TooLarge));
        }
    }

    #[test]
    fn w21_the_transports_own_packets_come_from_who_may_send_them() {
        let terms = terms_of("alice", 1);
        let closes = |way, body: &str| {
            let it = &mut Conversation::default();
            let judged = match way {
                Way::Up => judge_post(it, &terms, four(body.as_bytes())),
                Way::Down => judge_answer(it, &terms, false, four(body.as_bytes())),
            };
            judged.map(|it| it.closes).ok()
        };
        for (body, up, down) in [
            ("1", Some(true), Some(true)),
            ("3", Some(false), None),
            ("3\x1e1", Some(true), None),
            ("1\x1e3", Some(true), None),
            ("2", None, Some(false)),
            ("6", None, Some(false)),
            ("5", None, None),
            ("x", None, None),
        ] {
            assert_eq!(closes(Way::Up, body), up, "{body}");
            assert_eq!(closes(Way::Down, body), down, "{body}");
        }
        for first in ["2", "40", "x", ""] {
            let it = &mut Conversation::default();
            let found = judge_answer(it, &terms, true, four(first.as_bytes()));
            assert!(found.is_err(), "{first}");
        }
    }

    #[test]
    fn w15_a_clients_own_talk_is_counted_and_a_servers_is_not() {
        let terms = Terms {
            pace: pace(1, 4),
            ..terms_of("alice", 1)
        };
        let mut it = Conversation::default();
        let posts = (0..9).map(|_| judge_post(&mut it, &terms, four(b"3")));
        assert_eq!(posts.flatten().count(), 4);
        let mut it = Conversation::default();
        let mut answers = (0..9).map(|_| judge_answer(&mut it, &terms, false, four(b"2")));
        assert!(answers.all(|it| it.is_ok()));
    }

    #[tokio::test]
    async fn a_connection_that_ended_or_rose_takes_up_no_seat() {
        let rules = crate::config::SocketRules {
            per_tenant: 1,
            ..crate::config::SocketRules::default()
        };
        let quotas = quota::Quotas::default();
        let take = || quotas.take(&"t1".into(), None, &rules);
        let begun = |sealed: &str, sessions: &EngineSessions| {
            let request = poll(Some(sealed));
            let opened = open_sid(&request, &seal_of("alice", 1)).unwrap();
            sessions.find(&request, opened, place(), take, NOW).unwrap()
        };
        let sealed = seal_of("alice", 1).seal(Kind::Sid, "r1", "abc").unwrap();
        let sessions = Arc::new(EngineSessions::default());
        let session = begun(&sealed, &sessions);
        assert!(take().is_err() && !sessions.is_empty());
        let mut over = std::pin::pin!(session.ended());
        assert!(futures_util::poll!(&mut over).is_pending());
        session.end();
        assert!(futures_util::poll!(&mut over).is_ready());
        session.rise();
        drop(take().unwrap());
        let sealed = seal_of("alice", 1).seal(Kind::Sid, "r1", "other").unwrap();
        let session = begun(&sealed, &sessions);
        assert!(take().is_err());
        Upgrading::new(Arc::clone(&sessions), &sealed, session).rise();
        assert!(take().is_ok());
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
            let found = judge_post(&mut Conversation::default(), &terms, four(bad));
            assert!(found.is_err(), "{why} {found:?}");
        }
        let large = vec![b'4'; (1 << 20) + 1];
        assert_eq!(
            judge_post(&mut Conversation::default(), &terms, four(&large)),
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
            four(b"42/app,[\"a\"]"),
        );
        assert_eq!(judged.unwrap().body, None);
        assert!(sessions.sweep(NOW).is_empty());
        assert_eq!(sessions.len(), 1);
        sessions.sweep(Timestamp(NOW.0 + FORGOTTEN_MILLIS));
        assert_eq!(sessions.len(), 1);
        sessions.sweep(Timestamp(NOW.0 + FORGOTTEN_MILLIS + 1));
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
            if let Ok(judged) = judge_post(&mut it, &terms_of("alice", 1), four(body.as_bytes())) {
                let sent = judged.body.map_or_else(|| body.clone(), |it| String::from_utf8(it.to_vec()).unwrap());
                prop_assert_eq!(sent, body.replace("{\"token\":1}", "{}"));
            }
        }
    }
}
