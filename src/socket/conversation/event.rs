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
const MARKED: [&str; 4] = ["_client", "_socketId", "_auth", "uibuilderCtrl"];
/// What of the control messages hands in a token, and is for us alone.
const HANDS_IN: [&str; 2] = ["auth", "authorise"];

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

/// What of a message is a token.
#[derive(Debug, Default)]
pub(super) struct Carried<'a> {
    /// `_auth.jwt`; empty when it is no plain text.
    pub(super) token: Option<&'a str>,
    /// It is one of ours, or may be in disguise.
    pub(super) is_ours: bool,
    /// The message's `_auth` without it.
    pub(super) without: Option<String>,
}

/// Reads the event whose JSON begins at byte `at` of `text`. `control` is the event of control
/// messages.
pub(super) fn read<'a>(text: &'a str, at: usize, control: &str) -> Result<Spoken<'a>, Refused> {
    let mut reader = Reader::new(text, at);
    let name = (|| {
        reader.take(b'[')?;
        reader.space();
        reader.string()
    })()
    .map_err(|_| Refused::Grammar("an event without a name"))?;
    let name_end = name.end;
    let name = slice(text, name);
    if json::means_one_of(name, &RESERVED_EVENTS) {
        return Err(Refused::Grammar("a reserved event"));
    }
    let mut channel = Channel::Other;
    let of_file = Some((control, Channel::Control)).filter(|it| it.0 != "uiBuilderControl");
    for (word, of) in CHANNELS.into_iter().chain(of_file) {
        match json::means(name, word) {
            Same::No => {}
            Same::Plainly => channel = of,
            Same::Disguised => return Err(Refused::Grammar("an event's name in disguise")),
        }
    }
    let (mut first, mut marked) = (None, Vec::new());
    whole(reader, |reader| {
        loop {
            reader.space();
            match reader.peek() {
                Some(b',') => reader.take(b',')?,
                _ => return reader.take(b']'),
            }
            reader.space();
            let argument = if first.is_none() && reader.peek() == Some(b'{') {
                let object = reader.object(1, |it| {
                    if json::means_one_of(slice(text, it.key.clone()), &MARKED) {
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

impl Spoken<'_> {
    /// The token that it carries, if any. `annotated`: whatever means `_auth` is taken out of a
    /// message to uibuilder, so that one in disguise is refused no more, but worth nothing.
    pub(super) fn carried(&self, annotated: bool) -> Result<Carried<'_>, Refused> {
        let found = sole(self.text, &self.marked, "_auth").and_then(|auth| match auth {
            Some(auth) => carried(slice(self.text, auth.value.clone())),
            None => Ok(Carried::default()),
        });
        match found {
            Err(_) if annotated && self.channel != Channel::Other => Ok(Carried {
                token: Some(""),
                is_ours: true,
                without: None,
            }),
            found => found,
        }
    }

    /// Whether, on the control channel, it is for us: it hands in a token and says nothing else.
    pub(super) fn hands_in_a_token(&self) -> Result<bool, Refused> {
        let said = sole(self.text, &self.marked, "uibuilderCtrl")?;
        let Some(said) = said.filter(|it| it.kind == json::Kind::String) else {
            return Ok(false);
        };
        let mut found = false;
        for word in HANDS_IN {
            match json::means(slice(self.text, said.value.clone()), word) {
                Same::No => {}
                Same::Plainly => found = true,
                Same::Disguised => return Err(Refused::Grammar("a control message in disguise")),
            }
        }
        Ok(found)
    }

    /// Writes what goes on of it, where that is not what came. `own_sid` is the client's
    /// `socket.id`; `auth` what we say of who sent it, where the tenant wants to know;
    /// `without_token` its own `_auth` without a token of ours.
    pub(super) fn rewrite(
        &self,
        own_sid: Option<&str>,
        auth: Option<&str>,
        without_token: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Refused> {
        if self.channel == Channel::Other {
            return self.clean(None, None, without_token, out);
        }
        let client = sole(self.text, &self.marked, "_client")?;
        let foreign = sole(self.text, &self.marked, "_socketId")?
            .filter(|it| own_sid.is_none() || plain(self.text, it) != own_sid);
        match auth {
            Some(auth) => self.annotate([client, foreign], auth, out),
            None => self.clean(client, foreign, without_token, out),
        }
    }

    /// Takes `client`, `foreign` and any token of ours out of the message.
    fn clean(
        &self,
        client: Option<&Member>,
        foreign: Option<&Member>,
        without_token: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Result<Verdict, Refused> {
        let auth = sole(self.text, &self.marked, "_auth")?;
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
                match without_token {
                    Some(value) if auth == Some(member) => Fate::Become(value.to_owned()),
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
        let is = |member: &Member, word| json::means(slice(text, member.key.clone()), word);
        let goes = |it: &Member| gone.contains(&Some(it)) || is(it, "_auth") != Same::No;
        // (A placeholder becomes bytes: an `_auth` beside it would be lost. It is wrapped as it
        // is, and says nothing besides: a token of ours in it would go on.)
        let is_bytes = |it: &Vec<Member>| it.iter().any(|it| is(it, "_placeholder") != Same::No);
        if members
            .as_ref()
            .is_some_and(|it| is_bytes(it) && it.iter().any(goes))
        {
            return Err(Refused::Grammar("a placeholder that says more"));
        }
        let members = members.filter(|it| !is_bytes(it));
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
                if goes(member) {
                    Fate::Remove
                } else {
                    Fate::Keep
                }
            },
            Some(&ours),
            out,
        );
        Ok(Verdict::Changed)
    }

    fn members(&self, object: &Range<usize>) -> Result<Vec<Member>, Refused> {
        let mut all = Vec::new();
        Reader::new(self.text, object.start).object(1, |it| all.push(it))?;
        Ok(all)
    }
}

/// The token of a message's `_auth`, and what is left without it: no credential of ours reaches a
/// flow.
fn carried(auth: &str) -> Result<Carried<'_>, Refused> {
    if !auth.starts_with('{') {
        return Ok(Carried::default());
    }
    let mut members = Vec::new();
    let object = whole(Reader::new(auth, 0), |reader| {
        reader.object(2, |it| members.push(it))
    })?;
    let Some(jwt) = sole(auth, &members, "jwt")? else {
        return Ok(Carried::default());
    };
    let token = plain(auth, jwt);
    // A token has nothing to escape; one that escapes all the same is not shown to anybody.
    let is_ours = match token {
        Some(token) => token::is_ours(format!("Bearer {token}")),
        None => jwt.kind == json::Kind::String,
    };
    let without = is_ours
        .then(|| {
            let mut out = Vec::new();
            let fate = |member: &Member| {
                if member == jwt {
                    Fate::Remove
                } else {
                    Fate::Keep
                }
            };
            splice(auth, &object, &members, fate, None, &mut out);
            String::from_utf8(out).map_err(|_| JSON)
        })
        .transpose()?;
    Ok(Carried {
        token: Some(token.unwrap_or_default()),
        is_ours,
        without,
    })
}
