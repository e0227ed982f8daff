//! Whose word holds on a connection, and until when: the tokens that messages carry, what becomes
//! of a connection without a good one, and what the relay has to be told of it.

use crate::{
    authn::{Identity, Remembered, Shown},
    authz::Over,
    clock::Timestamp,
    config::SocketMode,
    session::Ended,
    socket::{
        conversation::Terms,
        notice::{self, Notice, Topic},
    },
};

/// Something that whoever moves the bytes has to act on.
#[derive(Debug)]
pub enum News {
    /// The connection goes on under this token.
    Adopted(Box<Identity>),
    /// It is over.
    Over(Over),
    /// Something is due at another time than before: ask when.
    Due,
}

/// What a client message's token says of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It may pass; nothing is said of it.
    Passes,
    /// It may pass, and the client is told that its token was accepted.
    Accepted,
    /// It is dropped, for this `R` of the contract.
    Drop(&'static str),
}

/// Nothing passes until a good token comes, or it is over.
#[derive(Debug, Clone, Copy)]
struct Grace {
    until: Timestamp,
    reason: &'static str,
    /// How it ends if none comes.
    then: Over,
}

/// The word that holds.
#[derive(Debug, Default)]
pub(super) struct Word {
    /// Who the last accepted token in a message is; `None`: whoever opened the connection.
    holder: Option<Box<Identity>>,
    remembered: Remembered,
    grace: Option<Grace>,
    over: Option<Over>,
    adopted: bool,
    due: bool,
    /// The client was told that the hard limit is near.
    pub(super) warned: bool,
}

impl Word {
    /// Who a message is from.
    pub(super) fn holder<'a>(&'a self, terms: &'a Terms) -> Option<&'a Identity> {
        self.holder.as_deref().or(terms.owner.as_ref())
    }

    /// Whether nothing passes any more.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Judges what a client's event carries. `None`: no token.
    pub(super) fn hear(&mut self, token: Option<&str>, terms: &Terms) -> Heard {
        let Some(owner) = &terms.owner else {
            return Heard::Passes; // nobody has to sign in here
        };
        let in_band = terms.mode == SocketMode::InBand;
        let Some(token) = token else {
            if let Some(grace) = self.grace {
                return Heard::Drop(grace.reason);
            }
            return match owner.shown() {
                _ if !in_band => Heard::Passes,
                Shown::Cookie => self.lacks("missing", terms),
                _ if self.is_open(terms) => Heard::Passes,
                Shown::Bearer | Shown::Subprotocol | Shown::Message => Heard::Drop("expired"),
            };
        };
        let strict = in_band || self.grace.is_some();
        let Some(reception) = &terms.reception else {
            return if strict {
                Heard::Drop("policy")
            } else {
                Heard::Passes
            };
        };
        let now = reception.clock.now();
        let identity = match reception.identify(token, &mut self.remembered, now) {
            Ok(identity) => identity,
            Err(why) if strict => {
                let reason = notice::reason(why);
                return match self.in_force(terms) {
                    None if reason == "expired" => self.lacks(reason, terms),
                    _ => Heard::Drop(reason),
                };
            }
            // The session speaks for the message; the token was only taken out.
            Err(_) => return Heard::Passes,
        };
        if identity.lease().cell.user != owner.lease().cell.user {
            // Nobody's messages pass on a connection that somebody else opened.
            self.over = Some(Over::Session(Ended::Replaced));
            return Heard::Drop("audience");
        }
        if identity.level() < owner.level() {
            return if strict {
                Heard::Drop("policy")
            } else {
                Heard::Passes
            };
        }
        let held = self.holder(terms).map_or(0, |it| it.token_exp);
        let is_first = in_band && self.holder.is_none() && owner.shown() == Shown::Cookie;
        if !(is_first || self.grace.is_some() || identity.token_exp > held) {
            return Heard::Passes;
        }
        (self.holder, self.grace) = (Some(Box::new(identity)), None);
        (self.adopted, self.due) = (true, true);
        Heard::Accepted
    }

    /// Whether anything but the transport's own talk may pass now.
    pub(super) fn is_open(&mut self, terms: &Terms) -> bool {
        if self.over.is_some() || self.grace.is_some() {
            return false;
        }
        if terms.mode == SocketMode::Session {
            return true;
        }
        let (Some(until), Some(reception)) = (self.in_force(terms), &terms.reception) else {
            return true; // a cookie's connection whose client has said nothing yet
        };
        let now = reception.clock.now();
        let stands = |it: &Identity| it.lease().check(now).is_ok();
        if now < until && self.holder.as_deref().is_none_or(stands) {
            return true;
        }
        self.begin_grace("expired", Over::Token, now, terms);
        false
    }

    /// Until when the token that holds is good, where a token has to.
    fn in_force(&self, terms: &Terms) -> Option<Timestamp> {
        let owner = terms
            .owner
            .as_ref()
            .filter(|it| it.shown() != Shown::Cookie);
        let both = [owner, self.holder.as_deref()];
        both.into_iter()
            .flatten()
            .map(|it| Timestamp::from_secs(it.token_exp))
            .max()
    }

    /// A message came without a good token, and nothing else speaks for it.
    fn lacks(&mut self, reason: &'static str, terms: &Terms) -> Heard {
        if let Some(reception) = terms.reception.as_ref().filter(|_| self.grace.is_none()) {
            self.begin_grace(reason, Over::Token, reception.clock.now(), terms);
        }
        Heard::Drop(reason)
    }

    /// From now on nothing passes.
    pub(super) fn begin_grace(
        &mut self,
        reason: &'static str,
        then: Over,
        now: Timestamp,
        terms: &Terms,
    ) -> Timestamp {
        let until = now.plus(terms.grace);
        let until = self.grace.map_or(until, |it| it.until.min(until));
        self.grace = Some(Grace {
            until,
            reason,
            then,
        });
        self.due = true;
        until
    }

    /// Whether it is over by now; otherwise when to ask again.
    pub(super) fn due(&mut self, now: Timestamp, terms: &Terms) -> Result<Option<Timestamp>, Over> {
        if let Some(over) = self.over {
            return Err(over);
        }
        if let Some(grace) = self.grace {
            return if now < grace.until {
                Ok(Some(grace.until))
            } else {
                self.over = Some(grace.then);
                Err(grace.then)
            };
        }
        if terms.mode == SocketMode::Session || self.is_open(terms) {
            let until = self
                .in_force(terms)
                .filter(|_| terms.mode == SocketMode::InBand);
            return Ok(until);
        }
        Ok(self.grace.map(|it| it.until))
    }

    /// Why nothing passes, while a token may still help.
    pub(super) fn grace(&self) -> Option<&'static str> {
        self.grace.map(|it| it.reason)
    }

    /// What there is to tell whoever moves the bytes.
    pub(super) fn take_news(&mut self) -> Option<News> {
        if let Some(over) = self.over {
            return Some(News::Over(over));
        }
        let (adopted, due) = (
            std::mem::take(&mut self.adopted),
            std::mem::take(&mut self.due),
        );
        match &self.holder {
            Some(holder) if adopted => Some(News::Adopted(holder.clone())),
            _ => due.then_some(News::Due),
        }
    }
}

/// A control message for one namespace.
pub(super) fn control(
    terms: &Terms,
    namespace: &str,
    topic: Topic,
    reason: Option<&str>,
    auth: Option<&str>,
) -> String {
    let notice = Notice {
        event: &terms.control_event,
        topic,
        reason,
        login_url: &terms.login_url,
        auth,
    };
    notice.packet(namespace)
}
