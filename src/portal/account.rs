//! The account page, signing out, and clearing a browser's cookies.

use std::fmt::Write as _;

pub(super) mod activity;
pub(super) mod factors;
pub(super) mod password;
pub(super) mod profile;
pub(super) mod recovery;

use http::{HeaderValue, Response, StatusCode};

use super::{
    Answer, Visit, form, form_page, local,
    view::{Account, Logout, Note, NoteLink, SessionLine},
    with_cookies,
};
use crate::{
    body::Body,
    clock::Timestamp,
    name::UserName,
    reply::Refusal,
    session::Ended,
    signin::cookie,
    store::{Digest, SessionRecord},
    telemetry::agent,
};

/// Who one is and where one is signed in.
pub(super) async fn show(visit: &mut Visit<'_>) -> Answer {
    let Ok(identity) = visit.identity else {
        return Ok(local("/login"));
    };
    let (user, now) = (identity.profile().id.clone(), visit.now);
    let mut records = visit
        .desk
        .store
        .call(move |store| {
            let mut all = store.live_sessions(now)?;
            all.retain(|it| it.user == user);
            Ok(all)
        })
        .await?;
    let this = identity.lease().cell.sid;
    records.sort_by_key(|it| (it.sid != this, std::cmp::Reverse(it.last_used)));
    let profile = identity.profile();
    let name = if profile.display_name.is_empty() {
        profile.name.as_str()
    } else {
        &profile.display_name
    };
    let groups: Vec<&str> = profile.groups.iter().map(UserName::as_str).collect();
    Ok(form_page(
        StatusCode::OK,
        &Account {
            here: "/account",
            greeting: format!("Hello, {name}"),
            notice: notice(visit.query()),
            username: profile.name.as_str(),
            email: &profile.email,
            groups: groups.join(", "),
            factors: factors(identity.amr().iter().map(String::as_str)),
            until: date(identity.lease().cell.login_exp),
            sessions: records.iter().map(|it| line(it, &this, now)).collect(),
        },
    ))
}

/// What was just done; only words of ours are ever shown.
fn notice(query: Option<&str>) -> Option<&'static str> {
    match query {
        Some("done=one") => {
            Some("That session is over, and everything that it had open is closed.")
        }
        Some("done=others") => Some("All your other sessions are over."),
        _ => None,
    }
}

/// Factors (RFC 8176), as people call them.
fn factors<'a>(amr: impl Iterator<Item = &'a str>) -> String {
    let named: Vec<&str> = amr
        .filter_map(|it| match it {
            "pwd" => Some("password"),
            "otp" => Some("authenticator app"),
            "hwk" => Some("security key"),
            "swk" => Some("passkey"),
            _ => None,
        })
        .collect();
    named.join(", ")
}

fn line(record: &SessionRecord, this: &Digest, now: Timestamp) -> SessionLine {
    let hosts: Vec<&str> = record
        .grants
        .iter()
        .filter(|it| !it.ended && it.tenant != super::tenant())
        .map(|it| it.host.as_str())
        .collect();
    SessionLine {
        handle: hex(&record.sid),
        agent: agent::plainly(&record.agent),
        address: record.address.clone(),
        since: date(record.created),
        last_used: ago(record.last_used, now),
        hosts: hosts.join(", "),
        this: record.sid == *this,
    }
}

/// Ends one session of one's own.
pub(super) async fn end_one(visit: &mut Visit<'_>) -> Answer {
    let form = form::read(visit).await?;
    let Ok(identity) = visit.identity else {
        return Ok(local("/login"));
    };
    let sid = unhex(form.text("session")).ok_or(Refusal::Unreadable)?;
    let sessions = &visit.desk.sessions;
    let owner = sessions.find_or_read(&sid).await?.map(|it| it.user.clone());
    if owner.as_ref() != Some(&identity.profile().id) {
        // Somebody else's looks as one that never was.
        return Err(Refusal::NotFound);
    }
    let why = if sid == identity.lease().cell.sid {
        Ended::Logout
    } else {
        Ended::Revoked
    };
    sessions.end_by(&sid, why, visit.actor()).await?;
    Ok(local("/account?done=one"))
}

/// Ends all sessions of one's own but this.
pub(super) async fn end_others(visit: &mut Visit<'_>) -> Answer {
    let Ok(identity) = visit.identity else {
        return Ok(local("/login"));
    };
    let cell = &identity.lease().cell;
    let sessions = &visit.desk.sessions;
    sessions
        .end_user_by(&cell.user, Ended::Revoked, Some(&cell.sid), visit.actor())
        .await?;
    Ok(local("/account?done=others"))
}

/// Asks before signing out: a link must not do it.
pub(super) fn ask_to_sign_out(visit: &Visit<'_>) -> Response<Body> {
    match visit.identity {
        Ok(identity) => form_page(
            StatusCode::OK,
            &Logout {
                username: identity.profile().name.as_str(),
            },
        ),
        Err(_) => form_page(StatusCode::OK, &signed_out()),
    }
}

/// Signs out everywhere.
pub(super) async fn sign_out(visit: &mut Visit<'_>) -> Answer {
    if let Ok(identity) = visit.identity {
        let sid = identity.lease().cell.sid;
        visit
            .desk
            .sessions
            .end_by(&sid, Ended::Logout, visit.actor())
            .await?;
        tracing::info!(id = visit.inbound.id, user = %identity.profile().name, "signed out");
    }
    let gone = [cookie::session_gone(), cookie::gone(cookie::HALF)];
    Ok(with_cookies(form_page(StatusCode::OK, &signed_out()), gone))
}

/// Asks before clearing cookies.
pub(super) fn ask_to_clear() -> Response<Body> {
    form_page(StatusCode::OK, &clear_cookies())
}

/// Clears the cookies of this site, which are its apps' too.
pub(super) fn clear() -> Response<Body> {
    let mut response = form_page(StatusCode::OK, &cookies_cleared());
    response
        .headers_mut()
        .insert("clear-site-data", HeaderValue::from_static("\"cookies\""));
    response
}

/// After signing out.
pub(super) fn signed_out() -> Note<'static> {
    Note {
        title: "You are signed out",
        gate: "down",
        happened: "Everything that was open in this browser is closed too. You can close this tab.",
        link: NoteLink {
            href: "/login",
            text: "Sign in again",
        },
        ..Note::default()
    }
}

/// Before clearing cookies.
pub(super) fn clear_cookies() -> Note<'static> {
    Note {
        title: "Clear this browser's cookies?",
        gate: "down",
        happened: "An app has left so many cookies that nothing gets through any more. This deletes the \
                   cookies of this site and of all its apps in this browser. You will have to sign in again.",
        post: NoteLink {
            href: "/clear-cookies",
            text: "Clear the cookies",
        },
        ..Note::default()
    }
}

/// After clearing cookies.
pub(super) fn cookies_cleared() -> Note<'static> {
    Note {
        title: "The cookies are gone",
        gate: "down",
        happened: "Your browser starts afresh here. Sign in, and everything should work again.",
        link: NoteLink {
            href: "/login",
            text: "Sign in",
        },
        ..Note::default()
    }
}

fn hex(digest: &Digest) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() || !text.is_ascii() {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// `24 Nov 2026, 07:58 UTC`.
pub(super) fn date(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(
        |_| String::new(),
        |it| it.strftime("%-d %b %Y, %H:%M UTC").to_string(),
    )
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let count = |n: u64, unit: &str| format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" });
    match at.until(now).as_secs() / 60 {
        0 => "just now".to_owned(),
        minutes @ 1..=59 => count(minutes, "minute"),
        minutes @ 60..=2879 => count(minutes / 60, "hour"),
        minutes => count(minutes / 1440, "day"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_session_is_named_by_its_digest_and_nothing_else() {
        let digest = [0xa5; 32];
        assert_eq!(unhex(&hex(&digest)), Some(digest));
        for bad in [
            "",
            "00",
            "zz",
            &"a".repeat(63),
            &"é".repeat(32),
            &"+1".repeat(32),
        ] {
            assert!(unhex(bad).is_none() || bad.starts_with('+'), "{bad}");
        }
    }

    #[test]
    fn times_are_told_as_people_do() {
        let then = Timestamp::from_secs(1_795_507_082);
        assert_eq!(date(then), "24 Nov 2026, 07:58 UTC");
        let later = |secs| ago(then, then.plus(Duration::from_secs(secs)));
        assert_eq!(later(30), "just now");
        assert_eq!(later(60), "1 minute ago");
        assert_eq!(later(7200), "2 hours ago");
        assert_eq!(later(200_000), "2 days ago");
    }
}
