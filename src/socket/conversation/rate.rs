//! Clients that send more than they may: what is too much is dropped and told, and who goes on is
//! closed.

use std::{sync::atomic::AtomicI64, time::Duration};

use super::{Conversation, State, Terms, control};
use crate::{
    clock::Timestamp,
    socket::{
        Refused,
        notice::Topic,
        socketio::{Kind, Packet},
    },
};

/// How often a client is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What one connection has sent.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// The time, as far as whoever moves the bytes has told it.
    now: Timestamp,
    /// The bucket of a connection under no login.
    messages: AtomicI64,
    /// The bucket of what was sent in vain, and of the transport's own talk.
    vain: AtomicI64,
    /// When to tell the next time.
    tell_at: Timestamp,
    dropped: u32,
}

impl Conversation {
    /// The time from now on.
    pub fn at(&mut self, now: Timestamp) {
        self.rate.now = now;
    }

    /// How many messages were dropped since the last time, for there were too many.
    pub fn take_dropped(&mut self) -> u32 {
        std::mem::take(&mut self.rate.dropped)
    }

    /// Takes note of something of the transport's own that came from the client. It is never
    /// dropped, and too much of it is the end.
    pub fn small_talk(&self, terms: &Terms) -> Result<(), Refused> {
        match terms.pace {
            Some(pace) if !pace.take(&self.rate.vain, 1, self.rate.now) => Err(Refused::TooFast),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a client's packet is more than may come. Attachments count; to leave does not, for
    /// it needs a CONNECT before, which does.
    pub(super) fn is_too_much(
        &mut self,
        packet: &Packet<'_>,
        terms: &Terms,
    ) -> Result<bool, Refused> {
        let Some(pace) = terms.pace else {
            return Ok(false);
        };
        if packet.kind == Kind::Disconnect {
            return Ok(false);
        }
        let count = 1 + packet.attachments;
        let login = terms.owner.as_ref();
        let bucket = login.map_or(&self.rate.messages, |it| &it.lease().grant.messages);
        if pace.take(bucket, count, self.rate.now) {
            return Ok(false);
        }
        if !pace.take(&self.rate.vain, count, self.rate.now) {
            return Err(Refused::TooFast);
        }
        // A client that is refused a namespace does not ask again, and this page may be another's.
        if packet.kind == Kind::Connect {
            return Ok(false);
        }
        self.rate.dropped += 1;
        self.tell_of_rate(packet, terms);
        Ok(true)
    }

    fn tell_of_rate(&mut self, packet: &Packet<'_>, terms: &Terms) {
        let is_open = self
            .find(packet.namespace)
            .is_some_and(|it| it.state == State::Connected);
        if !(is_open || self.resumed) || self.rate.now < self.rate.tell_at {
            return;
        }
        self.rate.tell_at = self.rate.now.plus(TOLD_EVERY);
        self.answer(control(
            terms,
            packet.namespace,
            Topic::JwtAuthFail,
            Some("rate"),
            None,
        ));
    }
}
