//! Judges the messages of an Engine.IO WebSocket: the open packet, or the probe of a connection
//! that began as polling, then pings and Socket.IO packets. What does not fit the moment is
//! refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::socket::{
    Refused, Way,
    conversation::{Conversation, News, Terms, Verdict},
    engineio::{self, Version},
    notice::Notice,
    polling::Upgrading,
};
use crate::{authz::Over, clock::Timestamp};

/// A conversation that two transports may share.
pub type Shared = Arc<Mutex<Conversation>>;

/// Nothing that holds the lock can leave a conversation half changed in a way that matters: a
/// poisoned one is used on.
pub fn lock(shared: &Shared) -> MutexGuard<'_, Conversation> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where an Engine.IO WebSocket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A new connection: the server speaks first.
    Opening,
    /// It began as polling: the client probes first.
    Probing,
    /// The probe was sent.
    Probed,
    /// The probe was answered: the client goes over when it likes.
    Answered,
    /// Messages go both ways.
    Open,
}

/// The guard of one Engine.IO WebSocket.
#[derive(Debug)]
pub struct Guard {
    terms: Arc<Terms>,
    conversation: Shared,
    phase: Phase,
    /// The polling connection that this takes over.
    upgrading: Option<Upgrading>,
    news: Option<News>,
    now: Timestamp,
    dropped: u32,
}

/// What a message was, besides its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Something a person may have done.
    User,
    /// The transport's own talk.
    Transport,
}

impl Guard {
    /// For a WebSocket that begins a connection (no `sid` in its query).
    pub fn open(terms: Arc<Terms>) -> Self {
        Self {
            terms,
            conversation: Shared::default(),
            phase: Phase::Opening,
            upgrading: None,
            news: None,
            now: Timestamp::default(),
            dropped: 0,
        }
    }

    /// For a WebSocket that takes over a polling connection (its `sid` was opened).
    pub fn upgrade(terms: Arc<Terms>, upgrading: Upgrading) -> Self {
        Self {
            terms,
            conversation: upgrading.conversation(),
            phase: Phase::Probing,
            upgrading: Some(upgrading),
            news: None,
            now: Timestamp::default(),
            dropped: 0,
        }
    }

    /// Largest message, in bytes.
    pub fn max_message(&self) -> usize {
        self.terms.max_message
    }

    /// Judges a text message that was not looked at yet. What goes in its place, if anything,
    /// is appended to `out`.
    pub fn text(
        &mut self,
        way: Way,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(Verdict, Use), Refused> {
        let text = simdutf8::basic::from_utf8(payload).map_err(|_| Refused::Utf8)?;
        if self.phase == Phase::Open && text.starts_with('4') {
            let mut conversation = lock(&self.conversation);
            conversation.at(self.now);
            let verdict = conversation.message(way, text, &self.terms, out)?;
            if let Some(news) = conversation.take_news() {
                self.news = Some(news);
            }
            self.dropped += conversation.take_dropped();
            // What goes nowhere is no use of the session.
            let used = match verdict {
                Verdict::Drop => Use::Transport,
                Verdict::Pass | Verdict::Changed => Use::User,
            };
            return Ok((verdict, used));
        }
        self.transport(way, text, out)
            .map(|it| (it, Use::Transport))
    }

    /// Judges a binary message, of which `first` is the first byte: an attachment, if one is due.
    pub fn binary(&mut self, way: Way, first: Option<u8>) -> Result<Verdict, Refused> {
        if self.phase == Phase::Open {
            self.terms.take_bytes(first)?;
            lock(&self.conversation).binary(way)
        } else {
            Err(Refused::Grammar("bytes before the connection is open"))
        }
    }

    fn transport(&mut self, way: Way, text: &str, out: &mut Vec<u8>) -> Result<Verdict, Refused> {
        match (self.phase, way, text) {
            (Phase::Opening, Way::Down, text) if text.starts_with('0') => {
                let Terms {
                    version,
                    seal,
                    replica,
                    ..
                } = &*self.terms;
                engineio::seal_open(*version, text, seal, replica, out)?;
                self.phase = Phase::Open;
                return Ok(Verdict::Changed);
            }
            (Phase::Probing, Way::Up, "2probe") => self.phase = Phase::Probed,
            (Phase::Probed, Way::Down, "3probe") => self.phase = Phase::Answered,
            (Phase::Answered, Way::Up, "5") => {
                lock(&self.conversation).upgrade();
                if let Some(upgrading) = &self.upgrading {
                    upgrading.rise();
                }
                self.phase = Phase::Open;
            }
            (Phase::Open, Way::Down, "6" | "1") => {}
            (Phase::Open, Way::Up, "1") => self.small_talk(way)?,
            // Version 4 is asked by the server whether it is there, version 3 by the client.
            (Phase::Open, way, "2" | "3") if heartbeat(self.terms.version, way) == text => {
                self.small_talk(way)?;
            }
            _ => return Err(Refused::Grammar("an Engine.IO packet out of place")),
        }
        Ok(Verdict::Pass)
    }

    /// The time from now on.
    pub fn at(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Takes note of a frame of the transport's own, or a part of a message.
    pub fn small_talk(&self, way: Way) -> Result<(), Refused> {
        match way {
            Way::Up => {
                let mut conversation = lock(&self.conversation);
                conversation.at(self.now);
                conversation.small_talk(&self.terms)
            }
            Way::Down => Ok(()),
        }
    }

    /// How many messages were dropped since the last time, for there were too many.
    pub fn take_dropped(&mut self) -> u32 {
        std::mem::take(&mut self.dropped)
    }

    /// Whether the last message has something to tell whoever moves the bytes.
    pub fn has_news(&self) -> bool {
        self.news.is_some()
    }

    /// What the last message has to tell whoever moves the bytes.
    pub fn take_news(&mut self) -> Option<News> {
        self.news.take()
    }

    /// Whether the connection is over by now; otherwise when to ask again.
    pub fn due(&mut self, now: Timestamp) -> Result<Option<Timestamp>, Over> {
        lock(&self.conversation).due(now, &self.terms)
    }

    /// The session went idle: until when a token may revive the connection. `None`: it is over.
    pub fn begin_grace(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.phase == Phase::Open {
            lock(&self.conversation).begin_grace(now, &self.terms)
        } else {
            None
        }
    }

    /// Packets of ours for the client, if this is a moment to send them.
    pub fn take_replies(&mut self) -> Vec<String> {
        if self.phase == Phase::Open {
            lock(&self.conversation).take_replies()
        } else {
            Vec::new()
        }
    }

    /// Whether more attachments are due to the client.
    pub fn is_amid_attachments(&self) -> bool {
        lock(&self.conversation).is_amid_attachments()
    }

    /// The last messages, downstream and upstream. Nothing on a WebSocket that is not open.
    pub fn farewell(&mut self, notice: Option<&Notice<'_>>) -> (Vec<String>, Vec<String>) {
        if self.phase != Phase::Open {
            return (Vec::new(), Vec::new());
        }
        let mut conversation = lock(&self.conversation);
        (
            conversation.farewell_down(notice),
            conversation.farewell_up(),
        )
    }
}

/// What a side says to tell that it is there.
pub(super) fn heartbeat(version: Version, way: Way) -> &'static str {
    match (version, way) {
        (Version::Four, Way::Down) | (Version::Three, Way::Up) => "2",
        (Version::Four, Way::Up) | (Version::Three, Way::Down) => "3",
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.phase == Phase::Open
            && let Some(upgrading) = &self.upgrading
        {
            upgrading.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{conversation::tests::terms_of, pace::tests::pace};

    fn text(guard: &mut Guard, way: Way, text: &str) -> Result<Verdict, Refused> {
        let mut out = Vec::new();
        guard
            .text(way, text.as_bytes(), &mut out)
            .map(|(verdict, _)| verdict)
    }

    fn open() -> Guard {
        let mut guard = Guard::open(Arc::new(terms_of("alice", 1)));
        text(&mut guard, Way::Down, r#"0{"sid":"abc"}"#).unwrap();
        guard
    }

    /// An open namespace, and `burst` messages at once (of which that has taken one), one a second.
    fn paced(burst: u32) -> Guard {
        let mut guard = Guard::open(Arc::new(Terms {
            pace: pace(1, burst),
            ..terms_of("alice", 1)
        }));
        guard.at(Timestamp::from_secs(1_700_000_000));
        for (way, it) in [
            (Way::Down, r#"0{"sid":"abc"}"#),
            (Way::Up, "40"),
            (Way::Down, r#"40{"sid":"me"}"#),
        ] {
            text(&mut guard, way, it).unwrap();
        }
        guard
    }

    #[test]
    fn w15_what_is_too_much_is_counted_and_a_second_makes_up_for_one() {
        let mut guard = paced(4);
        let say = |guard: &mut Guard| text(guard, Way::Up, r#"42["a"]"#).unwrap();
        let said: Vec<Verdict> = (0..5).map(|_| say(&mut guard)).collect();
        assert_eq!(said.iter().filter(|it| **it == Verdict::Pass).count(), 3);
        assert_eq!((guard.take_dropped(), guard.take_dropped()), (2, 0));
        assert_eq!(guard.take_replies().len(), 1, "told, but not of each");
        guard.at(Timestamp::from_secs(1_700_000_001));
        assert_eq!(say(&mut guard), Verdict::Pass);
        assert_eq!(say(&mut guard), Verdict::Drop);
        assert_eq!(guard.take_dropped(), 1);
        assert_eq!(guard.take_replies().len(), 1, "a second later, once more");
    }

    #[test]
    fn w15_too_much_of_the_transports_own_talk_is_the_end() {
        let guard = paced(4);
        let talked = (0..9).map(|_| guard.small_talk(Way::Up));
        assert_eq!(talked.flatten().count(), 4);
        assert_eq!(guard.small_talk(Way::Up), Err(Refused::TooFast));
        assert_eq!(guard.small_talk(Way::Down), Ok(()));
    }

    #[test]
    fn amid_attachments_is_until_the_last_has_come() {
        let mut guard = open();
        for (way, it) in [
            (Way::Up, "40"),
            (Way::Down, r#"40{"sid":"me"}"#),
            (Way::Down, r#"451-["b",{"_placeholder":true,"num":0}]"#),
        ] {
            assert!(!guard.is_amid_attachments());
            text(&mut guard, way, it).unwrap();
        }
        assert!(guard.is_amid_attachments());
        guard.binary(Way::Down, Some(4)).unwrap();
        assert!(!guard.is_amid_attachments());
    }

    #[test]
    fn a_new_connection_is_opened_by_the_server() {
        for first in ["1", "2", "4", "9", "x"] {
            let mut guard = Guard::open(Arc::new(terms_of("alice", 1)));
            let it = format!(r#"{first}{{"sid":"abc"}}"#);
            assert!(text(&mut guard, Way::Down, &it).is_err(), "{it}");
        }
        let mut guard = Guard::open(Arc::new(terms_of("alice", 1)));
        assert!(text(&mut guard, Way::Up, "40").is_err());
        let mut guard = Guard::open(Arc::new(terms_of("alice", 1)));
        assert!(text(&mut guard, Way::Down, "40").is_err());
        let mut guard = open();
        for (way, good) in [
            (Way::Down, "2"),
            (Way::Up, "3"),
            (Way::Up, "40/app,"),
            (Way::Down, r#"40/app,{"sid":"x"}"#),
            (Way::Up, "41/app,"),
            (Way::Up, "1"),
        ] {
            assert!(text(&mut guard, way, good).is_ok(), "{good}");
        }
    }

    #[test]
    fn version_3_pings_the_other_way_and_opens_the_first_namespace_by_itself() {
        let three = || {
            let mut guard = Guard::open(Arc::new(terms_of("alice", 1).of(Version::Three)));
            text(&mut guard, Way::Down, r#"0{"sid":"abc"}"#).unwrap();
            text(&mut guard, Way::Down, "40").unwrap();
            guard
        };
        let mut guard = three();
        for (way, good) in [
            (Way::Up, "2"),
            (Way::Down, "3"),
            (Way::Down, "6"),
            (Way::Up, r#"42["hello"]"#),
            (Way::Up, "40/app?token=x,"),
            (Way::Down, "40/app,"),
            (Way::Up, r#"451-/app,["b",{"_placeholder":true,"num":0}]"#),
        ] {
            assert!(text(&mut guard, way, good).is_ok(), "{good}");
        }
        assert_eq!(guard.binary(Way::Up, Some(4)), Ok(Verdict::Pass));
        for (way, bad) in [
            (Way::Up, "3"),
            (Way::Down, "2"),
            (Way::Up, "40"),
            (Way::Up, "40/app,{}"),
            (Way::Up, "42/other,[\"x\"]"),
            (Way::Down, "40/other,"),
        ] {
            assert!(text(&mut three(), way, bad).is_err(), "{bad}");
        }
        // An attachment begins with what it is.
        for bad in [None, Some(0), Some(1), Some(2), Some(b'4')] {
            let mut guard = three();
            let event = r#"451-["b",{"_placeholder":true,"num":0}]"#;
            text(&mut guard, Way::Up, event).unwrap();
            assert!(guard.binary(Way::Up, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn w21_what_no_client_sends_on_a_websocket_is_refused() {
        for bad in [
            "",
            "0{\"sid\":\"x\"}",
            "2",
            "2probe",
            "3x",
            "5",
            "6",
            "7",
            "bAAAA",
            "4",
            "1x",
        ] {
            assert!(text(&mut open(), Way::Up, bad).is_err(), "{bad}");
        }
        assert!(open().binary(Way::Up, Some(4)).is_err());
        assert_eq!(
            open().text(Way::Up, b"42[\"\xff\"]", &mut Vec::new()),
            Err(Refused::Utf8)
        );
    }
}
