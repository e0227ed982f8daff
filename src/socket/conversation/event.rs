//! A client's event: its name is a string, on uibuilder's channels nobody says who they are, and
//! where a tenant asks for it we say it.

use std::ops::Range;

use super::{Fate, JSON, Verdict, plain, slice, sole, splice, whole};
use crate::{
    socket::{
        Refused,
        json::{self, Member, Reader, Same},
        socketio::RESERVED_EVENTS,
    },
    token,
};

/// uibuilder's channels from the browser.
const CHANNELS: [(&str, Channel); 2] = [
    ("uiBuilderClient", Channel::Client),
    ("uiBuilderControl", Channel::Control),
];
/// What we act on in a message.
const MARKED: [&str; 3] = ["_client", "_socketId", "_auth"];

/// What an event is to uibuilder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// A message from the page.
    Client,
    /// The two libraries' own talk.
    Control,
    /// Nothing: the tenant's own event.
    Other,
}

/// An event that was read.
#[derive(Debug)]
pub(super) struct Spoken<'a> {
    text: &'a str,
    name_end: usize,
    pub(super) channel: Channel,
    /// The first argument.
    first: Option<(Range<usize>, json::Kind)>,
    /// What of its members we act on.
    marked: Vec<Member>,
}

/// Reads the event whose JSON begins at byte `at` of `text`. `every`: the tenant's own events may
/// carry a token, too.
pub(super) fn read(text: &str, at: usize, every: bool) -> Result<Spoken<'_>, Refused> {
    let mut reader = Reader::new(text, at);
    let name = (|| {
        reader.take(b'[')?;
        reader.space();
        reader.string()
    })()
    .map_err(|_| Refused::Grammar("an event without a name"))?;
    let name_end = name.end;
    let name = slice(text, name);
    if RESERVED_EVENTS
        .iter()
        .any(|it| json::means(name, it) != Same::No)
    {
        return Err(Refused::Grammar("a reserved event"));
    }
    let mut channel = Channel::Other;
    for (word, of) in CHANNELS {
        match json::means(name, word) {
            Same::No => {}
            Same::Plainly => channel = of,
            Same::Disguised => return Err(Refused::Grammar("an event's name in disguise")),
        }
    }
    let looked_at = every || channel != Channel::Other;
    let (mut first, mut marked) = (None, Vec::new());
    whole(reader, |reader| {
        loop {
            reader.space();
            match reader.peek() {
                Some(b',') => reader.take(b',')?,
                _ => return reader.take(b']'),
            }
            reader.space();
            let argument = if looked_at && first.is_none() && reader.peek() == Some(b'{') {
                let object = reader.object(1, |it| {
                    if is_marked(slice(text, it.key.clone())) {
                        marked.push(it);
                    }
                })?;
                (object, json::Kind::Object)
            } else {
                reader.value(1)?
            };
            first.get_or_insert(argument);
        }
    })?;
    Ok(Spoken {
        text,
        name_end,
        channel,
        first,
        marked,
    })
}

/// Whether a message's key is one that we act on, disguised or not.
fn is_marked(key: &str) -> bool {
    MARKED.iter().any(|it| json::means(key, it) != Same::No)
}

impl Spoken<'_> {
    /// Writes what goes on of it, where that is not what came. `own_sid` is the client's
    /// `socket.id`; `auth` what we say of who sent it, where the tenant wants to know.
    pub(super) fn rewrite(
        &self,
        own_sid: Option<&str>,
        auth: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Refused> {
        if self.channel == Channel::Other {
            return self.clean(None, None, out);
        }
        let client = sole(self.text, &self.marked, "_client")?;
        let foreign = sole(self.text, &self.marked, "_socketId")?
            .filter(|it| own_sid.is_none() || plain(self.text, it) != own_sid);
        match auth {
            Some(auth) => self.annotate([client, foreign], auth, out),
            None => self.clean(client, foreign, out),
        }
    }

    /// Takes `client`, `foreign` and any token of ours out of the message.
    fn clean(
        &self,
        client: Option<&Member>,
        foreign: Option<&Member>,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Refused> {
        let auth = sole(self.text, &self.marked, "_auth")?;
        let without_token = match auth {
            Some(auth) => without_token(slice(self.text, auth.value.clone()))?,
            None => None,
        };
        let Some((object, _)) = &self.first else {
            return Ok(Verdict::Pass);
        };
        if client.is_none() && foreign.is_none() && without_token.is_none() {
            return Ok(Verdict::Pass);
        }
        splice(
            self.text,
            object,
            &self.members(object)?,
            |member| {
                if client == Some(member) || foreign == Some(member) {
                    return Fate::Remove;
                }
                match &without_token {
                    Some(value) if auth == Some(member) => Fate::Become(value.clone()),
                    _ => Fate::Keep,
                }
            },
            None,
            out,
        );
        Ok(Verdict::Changed)
    }

    /// Takes `gone` and whatever means `_auth` out of the message, and puts ours last. What is no
    /// object is wrapped as uibuilder does it.
    fn annotate(
        &self,
        gone: [Option<&Member>; 2],
        auth: &str,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Refused> {
        let text = self.text;
        let ours = format!("\"_auth\":{auth}");
        let (at, members) = match &self.first {
            None => {
                for part in [
                    slice(text, 0..self.name_end),
                    ",{",
                    &ours,
                    "}",
                    slice(text, self.name_end..text.len()),
                ] {
                    out.extend_from_slice(part.as_bytes());
                }
                return Ok(Verdict::Changed);
            }
            Some((_, json::Kind::Array)) => {
                return Err(Refused::Grammar("a message that is a list"));
            }
            Some((at, json::Kind::Object)) => (at, Some(self.members(at)?)),
            Some((at, json::Kind::String | json::Kind::Scalar | json::Kind::Null)) => (at, None),
        };
        // (A placeholder becomes bytes: an `_auth` beside it would be lost.)
        let is = |member: &Member, word| json::means(slice(text, member.key.clone()), word);
        let members = members.filter(|it| it.iter().all(|it| is(it, "_placeholder") == Same::No));
        let Some(members) = members else {
            for part in [
                slice(text, 0..at.start),
                "{\"payload\":",
                slice(text, at.clone()),
                ",",
                &ours,
                "}",
                slice(text, at.end..text.len()),
            ] {
                out.extend_from_slice(part.as_bytes());
            }
            return Ok(Verdict::Changed);
        };
        splice(
            text,
            at,
            &members,
            |member| {
                let goes = gone.contains(&Some(member)) || is(member, "_auth") != Same::No;
                if goes { Fate::Remove } else { Fate::Keep }
            },
            Some(&ours),
            out,
        );
        Ok(Verdict::Changed)
    }

    fn members(&self, object: &Range<usize>) -> Result<Vec<Member>, Refused> {
        let mut all = Vec::new();
        Reader::new(self.text, object.start)
            .object(1, |it| all.push(it))
            .map_err(|_| JSON)?;
        Ok(all)
    }
}

/// A message's `_auth` without a token of ours, where there is one in it: no credential of ours
/// reaches a flow.
fn without_token(auth: &str) -> Result<Option<String>, Refused> {
    if !auth.starts_with('{') {
        return Ok(None);
    }
    let mut members = Vec::new();
    let object = whole(Reader::new(auth, 0), |reader| {
        reader.object(2, |it| members.push(it))
    })?;
    let ours = sole(auth, &members, "jwt")?.filter(|jwt| {
        let token = json::inner(slice(auth, jwt.value.clone()));
        // A token has nothing to escape; one that escapes all the same is not shown to anybody.
        token.contains('\\') || token::is_ours(format!("Bearer {token}"))
    });
    let Some(ours) = ours else {
        return Ok(None);
    };
    let mut out = Vec::new();
    splice(
        auth,
        &object,
        &members,
        |member| {
            if member == ours {
                Fate::Remove
            } else {
                Fate::Keep
            }
        },
        None,
        &mut out,
    );
    String::from_utf8(out).map(Some).map_err(|_| JSON)
}
