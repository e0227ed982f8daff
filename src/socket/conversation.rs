//! One Engine.IO connection's Socket.IO state, and the judgement of each of its messages.
//!
//! It outlives a transport: a connection begins as polling and goes on as a WebSocket, and the
//! upstream's decoder does not notice. What an honest client or server would not send now is
//! refused; what must change is spliced; the rest passes as it came.

use std::{ops::Range, time::Duration};

use crate::{
    authn::{Identity, Reception},
    authz::Over,
    clock::Timestamp,
    config::{SocketIo, SocketMode, SocketRules},
    route::Tighten,
    session::Ended,
    socket::{
        Refused, Way,
        engineio::Version,
        json::{self, Member, Reader, Same},
        notice::{self, Notice, Topic, packet, refusal},
        pace::Pace,
        seal::{self, Seal},
        socketio::{self, Kind, Packet},
    },
};

mod event;
mod rate;
mod word;

pub use word::News;

use event::Channel;
use rate::Rate;
use word::{Heard, Word, control};

/// Most namespaces of one connection.
const MOST_NAMESPACES: usize = 64;
/// What of CONNECT's auth uibuilder 7 believes or hands on, and nobody may send.
const IDENTITY: [&str; 2] = ["user", "token"];
/// What of CONNECT's auth uibuilder 7 calls string methods on.
const STRINGS: [&str; 4] = ["clientId", "tabId", "pathName", "pageName"];
/// How long before the hard limit a client is warned of it, and at most half of the login.
const WARN_AHEAD: Duration = Duration::from_mins(5);
/// How soon to try again when there is nobody to warn yet.
const SOON: Duration = Duration::from_secs(5);
/// The type of a message, as a byte in front of an attachment of version 3.
const MESSAGE: u8 = 4;
/// Most packets of ours that wait for a client; what is dropped beyond goes without a word.
const MOST_REPLIES: usize = MOST_NAMESPACES;

/// What holds for a connection as long as it lives.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The version of Engine.IO that it speaks.
    pub version: Version,
    /// Seals and opens ids for whose connection it is.
    pub seal: Seal,
    /// The replica it leads to, from [`seal::replica`].
    pub replica: String,
    /// Lists of namespaces that may be opened: one must be in each list that is not empty (the
    /// tenant's own in the file, and the container's labels, which can only narrow it).
    pub namespaces: Vec<Vec<String>>,
    /// Largest message, in bytes.
    pub max_message: usize,
    /// Most packets in one polling body.
    pub max_packets: usize,
    /// What client messages have to show.
    pub mode: SocketMode,
    /// Whether messages to uibuilder are told who sent them.
    pub annotate: bool,
    /// Whose connection it is; `None` where nobody has to sign in.
    pub owner: Option<Identity>,
    /// How many messages may come; `None`: any number.
    pub pace: Option<Pace>,
    /// Where tokens in messages are judged.
    pub reception: Option<Reception>,
    /// How long a connection without a good token may wait for one.
    pub grace: Duration,
    /// The event that carries control messages.
    pub control_event: String,
    /// Where to sign in again.
    pub login_url: String,
}

impl Terms {
    /// From the tenant's settings, what its container's labels narrow, and `[sockets]`.
    pub fn new(
        seal: Seal,
        replica: String,
        owner: Option<Identity>,
        socketio: &SocketIo,
        tighten: &Tighten,
        rules: &SocketRules,
    ) -> Self {
        Self {
            version: Version::default(),
            seal,
            replica,
            namespaces: vec![socketio.namespaces.clone(), tighten.namespaces.clone()],
            max_message: rules.max_message,
            max_packets: rules.max_polling_packets,
            mode: socketio.mode,
            annotate: socketio.annotate,
            pace: Pace::new(rules),
            owner,
            reception: None,
            grace: rules.grace,
            control_event: rules.control_event.clone(),
            login_url: String::new(),
        }
    }

    /// For a connection of that version.
    #[must_use]
    pub fn of(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// With a place where tokens in messages are judged, and where to sign in again.
    #[must_use]
    pub fn with_reception(self, reception: Option<Reception>, login_url: String) -> Self {
        Self {
            reception,
            login_url,
            ..self
        }
    }

    /// Refuses bytes that are no message. `first` is what they begin with: in version 3, their type.
    pub fn take_bytes(&self, first: Option<u8>) -> Result<(), Refused> {
        match (self.version, first) {
            (Version::Four, _) | (Version::Three, Some(MESSAGE)) => Ok(()),
            (Version::Three, _) => Err(Refused::Grammar("bytes that are no message")),
        }
    }

    /// What uibuilder is told of who sent a message. On an open path: that nobody has signed in.
    fn annotation(&self, who: Option<&Identity>) -> Option<String> {
        let nobody = || r#"{"userValidated":false}"#.to_owned();
        self.annotate
            .then(|| who.map_or_else(nobody, |it| notice::auth(it, self.mode, None)))
    }

    fn admits(&self, namespace: &str) -> bool {
        self.namespaces
            .iter()
            .all(|list| list.is_empty() || list.iter().any(|it| it == namespace))
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it came.
    Pass,
    /// What was written goes in its place.
    Changed,
    /// It goes nowhere.
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asked,
    Connected,
    Gone,
}

#[derive(Debug)]
struct Namespace {
    name: Box<str>,
    state: State,
    /// The client's `socket.id`, from the server's `40`.
    sid: Option<Box<str>>,
}

/// The state of one connection.
#[derive(Debug, Default)]
pub struct Conversation {
    namespaces: Vec<Namespace>,
    /// Binary messages still due, up and down.
    due_up: u32,
    due_down: u32,
    /// Those that follow a message that was dropped, and go with it.
    dropped_up: u32,
    dropped_down: u32,
    word: Word,
    rate: Rate,
    /// Packets of ours for the client, as Engine.IO messages.
    replies: Vec<String>,
    /// Whether it began where we could not see it (another gateway, before a restart).
    resumed: bool,
    ended: bool,
    upgraded: bool,
}

impl Conversation {
    /// One whose beginning was not seen: its namespaces are not known, so events pass on any
    /// that is allowed.
    pub fn resumed() -> Self {
        Self {
            resumed: true,
            ..Self::default()
        }
    }

    /// Judges an Engine.IO message `text`, whose first byte is the `4` of a message. Where it
    /// has to change, the whole message is appended to `out`.
    pub fn message(
        &mut self,
        way: Way,
        text: &str,
        terms: &Terms,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Refused> {
        let due = match way {
            Way::Up => self.due_up + self.dropped_up,
            Way::Down => self.due_down + self.dropped_down,
        };
        if due > 0 {
            return Err(Refused::Grammar("text where attachments are due"));
        }
        let packet = socketio::read(terms.version, text, 1)?;
        let verdict = match way {
            Way::Up if self.is_too_much(&packet, terms)? => Verdict::Drop,
            Way::Up => self.up(&packet, text, terms, out)?,
            Way::Down => self.down(&packet, text, terms, out)?,
        };
        let due = match (way, verdict) {
            (Way::Up, Verdict::Drop) => &mut self.dropped_up,
            (Way::Down, Verdict::Drop) => &mut self.dropped_down,
            (Way::Up, _) => &mut self.due_up,
            (Way::Down, _) => &mut self.due_down,
        };
        *due = packet.attachments;
        Ok(verdict)
    }

    /// Judges a binary message: an attachment, if one is due.
    pub fn binary(&mut self, way: Way) -> Result<Verdict, Refused> {
        let (due, dropped) = match way {
            Way::Up => (&mut self.due_up, &mut self.dropped_up),
            Way::Down => (&mut self.due_down, &mut self.dropped_down),
        };
        if *dropped > 0 {
            *dropped -= 1;
            return Ok(Verdict::Drop);
        }
        *due = due
            .checked_sub(1)
            .ok_or(Refused::Grammar("an attachment of nothing"))?;
        Ok(Verdict::Pass)
    }

    /// Takes the packets of ours that the client is due, if this is a moment to send them.
    pub fn take_replies(&mut self) -> Vec<String> {
        if self.due_down == 0 {
            std::mem::take(&mut self.replies)
        } else {
            Vec::new()
        }
    }

    /// What there is to tell whoever moves the bytes.
    pub fn take_news(&mut self) -> Option<News> {
        self.word.take_news()
    }

    /// Says what has become due by now: a warning, a token's end. Whether the connection is over;
    /// otherwise when to ask again.
    pub fn due(&mut self, now: Timestamp, terms: &Terms) -> Result<Option<Timestamp>, Over> {
        let was = self.word.grace();
        let next = self.word.due(now, terms)?;
        if was.is_none() && self.word.grace().is_some() {
            self.tell_of_grace(terms);
        }
        let warning = self.warn(now, terms);
        Ok([next, warning].into_iter().flatten().min())
    }

    /// Its session went idle: from now on only the transport's own talk passes, until a good token
    /// comes. Until when; `None`: it cannot be held, and is over.
    pub fn begin_grace(&mut self, now: Timestamp, terms: &Terms) -> Option<Timestamp> {
        let amid = self.due_up + self.due_down + self.dropped_up + self.dropped_down > 0;
        if amid || terms.grace.is_zero() || terms.reception.is_none() || self.open().count() == 0 {
            return None;
        }
        let then = Over::Session(Ended::Idle);
        let until = self.word.begin_grace("expired", then, now, terms);
        self.tell_of_grace(terms);
        Some(until)
    }

    fn tell_of_grace(&mut self, terms: &Terms) {
        let reason = self.word.grace();
        self.tell_all(terms, Topic::JwtAuthFail, reason, None);
    }

    /// Warns ahead of the hard limit. When to ask again.
    fn warn(&mut self, now: Timestamp, terms: &Terms) -> Option<Timestamp> {
        let who = self.word.holder(terms).filter(|_| !self.word.warned)?;
        let cell = &who.lease().cell;
        let whole = cell.created.until(cell.login_exp);
        let at = cell.login_exp.minus(WARN_AHEAD.min(whole / 2));
        if now < at {
            return Some(at);
        }
        if !self.open().any(|it| it.state == State::Connected) {
            return Some(now.plus(SOON));
        }
        let auth = notice::auth(who, terms.mode, None);
        self.word.warned = true;
        self.tell_all(terms, Topic::SessionExpiry, Some("expired"), Some(&auth));
        None
    }

    fn tell_all(&mut self, terms: &Terms, topic: Topic, reason: Option<&str>, auth: Option<&str>) {
        let open = self.open().filter(|it| it.state == State::Connected);
        let told: Vec<String> = open
            .map(|it| control(terms, &it.name, topic, reason, auth))
            .collect();
        self.replies.extend(told);
    }

    /// Answers one message, unless too many answers wait already.
    fn answer(&mut self, packet: String) {
        if self.replies.len() < MOST_REPLIES {
            self.replies.push(packet);
        }
    }

    /// Whether the connection has gone on to a WebSocket: polling is over then.
    pub fn is_upgraded(&self) -> bool {
        self.upgraded
    }

    /// Takes note that it has.
    pub fn upgrade(&mut self) {
        self.upgraded = true;
    }

    /// Whether more attachments are due downstream: text between them would break the client's
    /// decoder.
    pub fn is_amid_attachments(&self) -> bool {
        self.due_down > 0
    }

    /// The last messages to the client: why, and `41` on each namespace. (After `41` the
    /// official client does not reconnect by itself.)
    pub fn farewell_down(&self, notice: Option<&Notice<'_>>) -> Vec<String> {
        let mut out = Vec::new();
        for it in self.open() {
            if let Some(notice) = notice {
                out.push(notice.packet(&it.name));
            }
            out.push(packet('1', &it.name, ""));
        }
        out
    }

    /// The last messages to the upstream: `41` on each namespace, so that it keeps nothing to
    /// recover. Those that it has confirmed come first, since it may close at an unknown one.
    /// Once: nothing the second time.
    pub fn farewell_up(&mut self) -> Vec<String> {
        if std::mem::replace(&mut self.ended, true) {
            return Vec::new();
        }
        let in_state = |state| {
            self.open()
                .filter(move |it| it.state == state)
                .map(|it| packet('1', &it.name, ""))
        };
        in_state(State::Connected)
            .chain(in_state(State::Asked))
            .collect()
    }

    fn open(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.iter().filter(|it| it.state != State::Gone)
    }

    fn find(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|it| *it.name == *name)
    }

    fn set(&mut self, name: &str, state: State) -> Result<&mut Namespace, Refused> {
        let at = self.namespaces.iter().position(|it| *it.name == *name);
        let at = if let Some(at) = at {
            at
        } else {
            if self.namespaces.len() >= MOST_NAMESPACES {
                return Err(Refused::Grammar("too many namespaces"));
            }
            self.namespaces.push(Namespace {
                name: name.into(),
                state,
                sid: None,
            });
            self.namespaces.len() - 1
        };
        let found = self
            .namespaces
            .get_mut(at)
            .ok_or(Refused::Grammar("a namespace"))?;
        found.state = state;
        Ok(found)
    }

    fn up(
        &mut self,
        packet: &Packet<'_>,
        text: &str,
        terms: &Terms,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Refused> {
        if self.word.is_over() {
            return Ok(Verdict::Drop);
        }
        match packet.kind {
            Kind::Connect => self.connect(packet, text, terms, out),
            Kind::ConnectError => Err(Refused::Grammar("CONNECT_ERROR from a client")),
            Kind::Disconnect | Kind::Event | Kind::Ack => {
                let resumed = self.resumed && terms.admits(packet.namespace);
                match self.find(packet.namespace) {
                    Some(it) if it.state == State::Connected => {}
                    // It was left just now: this one crossed with the other's `41`.
                    Some(it) if it.state == State::Gone => return Ok(Verdict::Drop),
                    // (A client may leave what was not confirmed yet, and nothing else.)
                    Some(_) if packet.kind == Kind::Disconnect => {}
                    None if resumed => {}
                    Some(_) | None => return Err(Refused::Grammar("a namespace not open")),
                }
                match (packet.kind, packet.payload) {
                    (Kind::Event, Some(at)) => self.event(packet.namespace, text, at, terms, out),
                    (Kind::Ack, Some(at)) => {
                        whole(Reader::new(text, at), |reader| reader.value(0).map(|_| ()))?;
                        Ok(if self.is_open(terms) {
                            Verdict::Pass
                        } else {
                            Verdict::Drop
                        })
                    }
                    // (To leave needs no word: the end would say the same.)
                    _ => {
                        self.set(packet.namespace, State::Gone)?;
                        Ok(Verdict::Pass)
                    }
                }
            }
        }
    }

    /// A client's event: its token, if it carries one, decides with the connection's own word.
    fn event(
        &mut self,
        namespace: &str,
        text: &str,
        at: usize,
        terms: &Terms,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Refused> {
        let spoken = event::read(text, at, &terms.control_event)?;
        let carried = spoken.carried(terms.annotate)?;
        // Elsewhere a flow may have a `_auth` of its own, which is none of ours.
        let token = carried
            .token
            .filter(|_| carried.is_ours || terms.mode == SocketMode::InBand || self.is_waiting());
        let hands_in = spoken.channel == Channel::Control && spoken.hands_in_a_token()?;
        let was = self.word.grace();
        let heard = self.word.hear(token, terms);
        if was.is_none() && self.word.grace().is_some() {
            self.tell_of_grace(terms);
        } else if let Heard::Drop(reason) = heard {
            self.answer(control(
                terms,
                namespace,
                Topic::JwtAuthFail,
                Some(reason),
                None,
            ));
        }
        let is_good = !matches!(heard, Heard::Drop(_));
        if is_good && (hands_in || heard == Heard::Accepted) {
            let who = self.word.holder(terms);
            let auth = who.map(|it| notice::auth(it, terms.mode, token));
            let told = control(terms, namespace, Topic::Authorised, None, auth.as_deref());
            self.answer(told);
        }
        if hands_in || !is_good {
            return Ok(Verdict::Drop);
        }
        let auth = terms.annotation(self.word.holder(terms));
        let own_sid = self.find(namespace).and_then(|it| it.sid.as_deref());
        spoken.rewrite(own_sid, auth.as_deref(), carried.without.as_deref(), out)
    }

    fn is_waiting(&self) -> bool {
        self.word.grace().is_some()
    }

    /// Whether events and acks may pass now; the client is told when that has just ended.
    fn is_open(&mut self, terms: &Terms) -> bool {
        let was = self.word.grace();
        let is = self.word.is_open(terms);
        if was.is_none() && self.word.grace().is_some() {
            self.tell_of_grace(terms);
        }
        is
    }

    fn connect(
        &mut self,
        packet: &Packet<'_>,
        text: &str,
        terms: &Terms,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Refused> {
        let known = self.find(packet.namespace).map(|it| it.state);
        if known == Some(State::Connected) {
            return Err(Refused::Grammar("CONNECT on an open namespace"));
        }
        let verdict = match (terms.version, packet.payload) {
            (Version::Four, Some(at)) => rewrite_auth(text, at, terms, out)?,
            (Version::Three, Some(_)) => return Err(Refused::Grammar("CONNECT with a payload")),
            // The server opens that one by itself.
            (Version::Three, None) if packet.namespace == "/" => {
                return Err(Refused::Grammar("CONNECT on the first namespace"));
            }
            // A query there may hold anything, a token of ours too, and is none of the tenant's.
            (Version::Three, None) if packet.has_query => {
                out.extend_from_slice(notice::packet('0', packet.namespace, "").as_bytes());
                Verdict::Changed
            }
            (Version::Four | Version::Three, None) => Verdict::Pass,
        };
        if !terms.admits(packet.namespace) || !self.is_open(terms) {
            out.clear();
            if self.replies.len() >= MOST_NAMESPACES {
                return Err(Refused::Grammar("too many namespaces"));
            }
            self.replies.push(refusal(packet.namespace));
            return Ok(Verdict::Drop);
        }
        self.set(packet.namespace, State::Asked)?.sid = None;
        Ok(verdict)
    }

    /// Whether the server may say that a namespace is open: one that was asked for, and in version
    /// 3 the first, which nobody asks for. That one goes without a word where it is not admitted.
    fn may_open(&self, namespace: &str, terms: &Terms) -> Result<bool, Refused> {
        let by_itself = terms.version == Version::Three && namespace == "/";
        match self.find(namespace) {
            Some(_) => Ok(true),
            None if self.resumed || by_itself => Ok(terms.admits(namespace)),
            None => Err(Refused::Grammar("a namespace that nobody asked for")),
        }
    }

    fn down(
        &mut self,
        packet: &Packet<'_>,
        text: &str,
        terms: &Terms,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Refused> {
        match packet.kind {
            Kind::Connect if packet.has_query => Err(Refused::Grammar("a query from a server")),
            Kind::Connect => {
                if !self.may_open(packet.namespace, terms)? {
                    return Ok(Verdict::Drop);
                }
                let Some(at) = packet.payload else {
                    self.set(packet.namespace, State::Connected)?;
                    return Ok(Verdict::Pass);
                };
                let (sid, verdict) = seal_pid(text, at, terms, out)?;
                self.set(packet.namespace, State::Connected)?.sid = sid.map(Into::into);
                Ok(verdict)
            }
            // Version 3 tells of any error so, on an open namespace too, which stays open.
            Kind::ConnectError
                if terms.version == Version::Three
                    && self
                        .find(packet.namespace)
                        .is_none_or(|it| it.state == State::Connected) =>
            {
                Ok(Verdict::Pass)
            }
            Kind::Disconnect | Kind::ConnectError => {
                self.set(packet.namespace, State::Gone)?;
                Ok(Verdict::Pass)
            }
            // The first namespace of version 3, where it is not admitted.
            Kind::Event | Kind::Ack
                if terms.version == Version::Three
                    && packet.namespace == "/"
                    && !terms.admits("/") =>
            {
                Ok(Verdict::Drop)
            }
            // What a tenant tells its own page is its own affair.
            Kind::Event | Kind::Ack if self.is_open(terms) => Ok(Verdict::Pass),
            Kind::Event | Kind::Ack => Ok(Verdict::Drop),
        }
    }
}

const JSON: Refused = Refused::Grammar("JSON");

/// Runs `read` and sees that nothing is left.
fn whole<'a, T>(
    mut reader: Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, json::NotJson>,
) -> Result<T, Refused> {
    let found = read(&mut reader)?;
    if reader.is_done() {
        Ok(found)
    } else {
        Err(JSON)
    }
}

fn slice(text: &str, at: Range<usize>) -> &str {
    text.get(at).unwrap_or_default()
}

/// The one member whose key means `word`. Twice, or with escapes, it is refused.
fn sole<'m>(text: &str, members: &'m [Member], word: &str) -> Result<Option<&'m Member>, Refused> {
    let mut found = None;
    for member in members {
        match json::means(slice(text, member.key.clone()), word) {
            Same::No => (),
            Same::Plainly if found.is_none() => found = Some(member),
            Same::Plainly => return Err(Refused::Grammar("a key twice")),
            Same::Disguised => return Err(Refused::Grammar("a key in disguise")),
        }
    }
    Ok(found)
}

/// The text of a string member that needs no unescaping.
fn plain<'a>(text: &'a str, member: &Member) -> Option<&'a str> {
    let quoted = slice(text, member.value.clone());
    let inner = json::inner(quoted);
    (member.kind == json::Kind::String && !inner.contains('\\')).then_some(inner)
}

/// What becomes of one member of an object.
enum Fate {
    Keep,
    Remove,
    /// The value becomes this JSON.
    Become(String),
}

/// Appends `text` to `out`, with the members of the object at `object` that `fate` does not
/// keep left out or replaced, and the member `last` after them. All the rest is the bytes that
/// came.
fn splice(
    text: &str,
    object: &Range<usize>,
    members: &[Member],
    mut fate: impl FnMut(&Member) -> Fate,
    last: Option<&str>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(slice(text, 0..object.start + 1).as_bytes());
    let mut first = true;
    for member in members {
        let fate = fate(member);
        if matches!(fate, Fate::Remove) {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        if let Fate::Become(value) = fate {
            let head = slice(text, member.key.start..member.value.start);
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(value.as_bytes());
        } else {
            let all = slice(text, member.key.start..member.value.end);
            out.extend_from_slice(all.as_bytes());
        }
    }
    if let Some(last) = last {
        if !first {
            out.push(b',');
        }
        out.extend_from_slice(last.as_bytes());
    }
    out.extend_from_slice(slice(text, object.end - 1..text.len()).as_bytes());
}

/// CONNECT's auth: nobody says who they are there, and `pid` is ours to open.
fn rewrite_auth(
    text: &str,
    at: usize,
    terms: &Terms,
    out: &mut Vec<u8>,
) -> Result<Verdict, Refused> {
    let mut members = Vec::new();
    let object = whole(Reader::new(text, at), |reader| {
        reader.object(0, |it| members.push(it))
    })?;
    let mut gone: Vec<&Member> = Vec::new();
    for word in IDENTITY {
        gone.extend(sole(text, &members, word)?);
    }
    for word in STRINGS {
        let fits = sole(text, &members, word)?
            .is_none_or(|it| matches!(it.kind, json::Kind::String | json::Kind::Null));
        if !fits {
            return Err(Refused::Grammar("an auth field that must be a string"));
        }
    }
    let pid = sole(text, &members, "pid")?;
    let offset = sole(text, &members, "offset")?;
    let mut opened = None;
    if let Some(pid) = pid {
        opened = plain(text, pid)
            .and_then(|it| terms.seal.open(seal::Kind::Pid, it))
            .filter(|it| it.replica == terms.replica)
            .filter(|_| offset.is_none_or(|it| it.kind == json::Kind::String));
        if opened.is_none() {
            gone.extend([pid]);
            gone.extend(offset);
        }
    }
    if gone.is_empty() && opened.is_none() {
        return Ok(Verdict::Pass);
    }
    splice(
        text,
        &object,
        &members,
        |member| {
            if gone.contains(&member) {
                Fate::Remove
            } else if let (true, Some(opened)) = (pid == Some(member), opened) {
                Fate::Become(format!("\"{}\"", opened.id))
            } else {
                Fate::Keep
            }
        },
        None,
        out,
    );
    Ok(Verdict::Changed)
}

/// The server's `40`: the namespace `sid` is learned, the `pid` sealed.
fn seal_pid<'a>(
    text: &'a str,
    at: usize,
    terms: &Terms,
    out: &mut Vec<u8>,
) -> Result<(Option<&'a str>, Verdict), Refused> {
    let mut members = Vec::new();
    let object = whole(Reader::new(text, at), |reader| {
        reader.object(0, |it| members.push(it))
    })?;
    let sid = sole(text, &members, "sid")?.and_then(|it| plain(text, it));
    let Some(pid) = sole(text, &members, "pid")? else {
        return Ok((sid, Verdict::Pass));
    };
    let sealed =
        plain(text, pid).and_then(|it| terms.seal.seal(seal::Kind::Pid, &terms.replica, it));
    splice(
        text,
        &object,
        &members,
        |member| match &sealed {
            _ if member != pid => Fate::Keep,
            Some(sealed) => Fate::Become(format!("\"{sealed}\"")),
            None => Fate::Remove,
        },
        None,
        out,
    );
    Ok((sid, Verdict::Changed))
}

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod word_tests;
