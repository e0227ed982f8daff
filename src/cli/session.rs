//! `portcullis session`: who is signed in, and no longer.

use std::{collections::HashMap, fmt::Write as _, path::Path};

use clap::Subcommand;

use super::{Outcome, desk::Desk, print, stop};
use crate::{
    clock::Timestamp,
    name::{UserId, UserName},
    session::Ended,
    store::{Digest, SessionRecord, Store as _, StoreError, together},
    telemetry::audit::{Actor, Event, What, session_word},
};

/// `portcullis session`
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Show who is signed in.
    List {
        /// Only this user's.
        #[arg(long, value_name = "NAME", value_parser = UserName::parse)]
        user: Option<UserName>,
    },
    /// End sessions, on every open socket of every running gateway.
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Revoke {
        /// This one: its id from `session list`, or more of it.
        #[arg(group = "which", value_parser = parse_id)]
        id: Option<String>,
        /// All of this user's.
        #[arg(long, group = "which", value_name = "NAME", value_parser = UserName::parse)]
        user: Option<UserName>,
        /// Everybody's.
        #[arg(long, group = "which")]
        all: bool,
    },
}

/// Characters of a session's id that are shown.
const SHOWN: usize = 12;

fn parse_id(text: &str) -> Result<String, String> {
    let good = (SHOWN..=64).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_hexdigit());
    if good {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("an id has {SHOWN} hexadecimal digits"))
    }
}

fn hex(digest: &Digest) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn short(digest: &Digest) -> String {
    hex(digest).chars().take(SHOWN).collect()
}

pub(super) fn run(file: &Path, json: bool, command: SessionCommand) -> anyhow::Result<Outcome> {
    let mut desk = Desk::open(file)?;
    match command {
        SessionCommand::List { user } => list(&mut desk, user.as_ref(), json),
        SessionCommand::Revoke {
            id: Some(id),
            user: _,
            all: _,
        } => revoke(&mut desk, &id),
        SessionCommand::Revoke {
            id: None,
            user: Some(user),
            all: _,
        } => {
            let user = desk.user(&user)?;
            let now = desk.now();
            let event = revoked(What::SessionsEnded, now).about(&user.id, &user.name);
            let count = together(&mut desk.store, "end_user_sessions", |store| {
                let why = Ended::Revoked.as_str();
                let count = store.end_user_sessions(&user.id, why, None, now)?;
                store.append_audit(&event.with_count("count", count as u64))?;
                Ok(count)
            })?;
            desk.confirm(&format!("ended {count} sessions of {}", user.name))
        }
        SessionCommand::Revoke {
            id: None,
            user: None,
            all: _,
        } => {
            let now = desk.now();
            let event = revoked(What::SessionsEnded, now);
            let count = together(&mut desk.store, "end_all_sessions", |store| {
                let count = store.end_all_sessions(Ended::Revoked.as_str(), now)?;
                store.append_audit(&event.with_count("count", count as u64))?;
                Ok(count)
            })?;
            desk.confirm(&format!("ended {count} sessions"))
        }
    }
}

fn revoked(what: What, now: Timestamp) -> Event {
    Event::new(what, now, Actor::operator()).with("why", Ended::Revoked.as_str())
}

fn revoke(desk: &mut Desk, id: &str) -> anyhow::Result<Outcome> {
    let now = desk.now();
    let meant: Vec<Digest> = desk
        .store
        .live_sessions(now)?
        .into_iter()
        .map(|it| it.sid)
        .filter(|it| hex(it).starts_with(id))
        .collect();
    match meant.as_slice() {
        [] => Err(stop(
            Outcome::NotFound,
            format!("there is no live session {id}"),
        )),
        [sid] => {
            let event = revoked(What::SessionEnded, now).with("session", session_word(sid));
            together(&mut desk.store, "end_session", |store| {
                store.end_session(sid, Ended::Revoked.as_str(), now)?;
                let session = store.session(sid)?.ok_or(StoreError::NotFound)?;
                let event = match store.user(&session.user)? {
                    Some(user) => event.about(&user.id, &user.name),
                    None => event,
                };
                store.append_audit(&event)
            })?;
            desk.confirm(&format!("ended session {}", short(sid)))
        }
        _ => Err(stop(
            Outcome::BadUsage,
            format!("several sessions begin with {id}; give more of the id"),
        )),
    }
}

fn list(desk: &mut Desk, user: Option<&UserName>, json: bool) -> anyhow::Result<Outcome> {
    let only = user.map(|it| desk.user(it)).transpose()?.map(|it| it.id);
    let names: HashMap<UserId, UserName> = desk
        .store
        .users()?
        .into_iter()
        .map(|it| (it.id, it.name))
        .collect();
    let now = desk.now();
    let sessions: Vec<SessionRecord> = desk
        .store
        .live_sessions(now)?
        .into_iter()
        .filter(|it| only.as_ref().is_none_or(|only| it.user == *only))
        .collect();
    let name = |it: &SessionRecord| names.get(&it.user).map_or("?", UserName::as_str);
    let hosts = |it: &SessionRecord| -> Vec<String> {
        it.grants
            .iter()
            .filter(|it| !it.ended)
            .map(|it| it.host.to_string())
            .collect()
    };
    if json {
        let sessions: Vec<_> = sessions
            .iter()
            .map(|it| {
                serde_json::json!({
                    "id": short(&it.sid),
                    "digest": hex(&it.sid),
                    "user": name(it),
                    "user_id": it.user,
                    "amr": it.amr,
                    "level": it.level,
                    "hosts": hosts(it),
                    "confined_to": it.confined_to.as_ref().map(ToString::to_string),
                    "address": it.address,
                    "agent": it.agent,
                    "created": print::time(it.created),
                    "last_used": print::time(it.last_used),
                    "idle_expires": print::time(it.idle_expires),
                    "login_expires": print::time(it.login_exp),
                })
            })
            .collect();
        print::say_json(&sessions.into());
        return Ok(Outcome::Done);
    }
    let rows: Vec<_> = sessions
        .iter()
        .map(|it| {
            vec![
                short(&it.sid),
                name(it).to_owned(),
                it.amr.join("+"),
                print::time(it.created),
                print::time(it.last_used),
                it.address.clone(),
                hosts(it).join(","),
            ]
        })
        .collect();
    print::say_table(
        &[
            "ID",
            "USER",
            "FACTORS",
            "SINCE",
            "LAST USED",
            "FROM",
            "HOSTS",
        ],
        &rows,
    );
    Ok(Outcome::Done)
}
