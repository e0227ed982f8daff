//! Second steps: which there are, another one, another name, one less.

use http::{Response, StatusCode};
use serde::Deserialize;

use super::super::{
    Answer, Visit, api, complete, form, form_page,
    fresh::{self, Fresh},
    key, local, qr,
    view::{self, FieldError},
};
use super::date;
use crate::{
    account::{AppConnected, Registration, SetupDraft},
    body::Body,
    reply::{Refusal, json},
    store::{Change, CredentialKind, Removed, StoreError, UserRecord},
};

const HERE: &str = "/account/factors";

#[derive(Deserialize)]
struct Start {
    kind: Option<String>,
}

pub(in super::super) async fn show(visit: &mut Visit<'_>) -> Answer {
    let notice = match visit.query() {
        Some("done=added") => Some("It is registered. Every other session of yours has ended."),
        Some("done=renamed") => Some("It has its new name."),
        Some("done=removed") => Some("It is removed. Every other session of yours has ended."),
        _ => None,
    };
    page(visit, StatusCode::OK, notice, Vec::new()).await
}

async fn page(
    visit: &Visit<'_>,
    status: StatusCode,
    notice: Option<&'static str>,
    errors: Vec<FieldError>,
) -> Answer {
    let Ok(identity) = visit.identity else {
        return Ok(local("/login"));
    };
    let user = complete::user_of(visit, identity).await?;
    let keys = visit.desk.keys.of(&user.id).await?;
    let lines = keys.iter().map(|it| view::FactorLine {
        handle: hex(&it.id),
        name: it.name.clone(),
        kind: kind_in_words(it.kind, it.backup_eligible),
        since: date(it.created),
        last_used: it.last_used.map_or_else(|| "never".to_owned(), date),
    });
    Ok(key::scripted(form_page(
        status,
        &view::AccountFactors {
            here: HERE,
            notice,
            totp: user.totp_sealed.is_some(),
            last: keys.len() + usize::from(user.totp_sealed.is_some()) < 2,
            keys: lines.collect(),
            errors_title: "That did not work",
            errors,
        },
    )))
}

fn kind_in_words(kind: CredentialKind, synced: bool) -> &'static str {
    match (kind, synced) {
        (CredentialKind::Passkey, true) => "Passkey, on all devices of its account",
        (CredentialKind::Passkey, false) => "Passkey, on one device",
        (CredentialKind::Key, true) => "Security key, on all devices of its account",
        (CredentialKind::Key, false) => "Security key",
        (CredentialKind::U2f, _) => "Security key from before (U2F)",
    }
}

/// A challenge for the script: a key, or a passkey.
pub(in super::super) async fn start(visit: &mut Visit<'_>) -> Answer {
    let sent: Start = form::json(visit).await?;
    let kind = match sent.kind.as_deref() {
        Some("key") => CredentialKind::Key,
        Some("passkey") => CredentialKind::Passkey,
        _ => return Err(Refusal::Unreadable),
    };
    let identity = match fresh::factor(visit, HERE).await? {
        Fresh::Given(identity) => identity,
        Fresh::Asked(detour) => {
            // The script leads there.
            let to = detour.headers().get(http::header::LOCATION).cloned();
            let to = to.as_ref().and_then(|it| it.to_str().ok());
            let answer = json::answer(StatusCode::OK, &serde_json::json!({ "go": to }));
            let cookies: Vec<_> = detour
                .headers()
                .get_all(http::header::SET_COOKIE)
                .iter()
                .cloned()
                .collect();
            return Ok(super::super::with_cookies(answer, cookies));
        }
    };
    let user = complete::user_of(visit, identity).await?;
    let session = identity.lease().cell.sid;
    let keys = &visit.desk.keys;
    match keys.begin_registration(&user, kind, &session).await? {
        Some(options) => Ok(json::answer(StatusCode::OK, &options)),
        None => Ok(api::fault(
            StatusCode::CONFLICT,
            "too_many",
            "You have as many keys as there may be. Remove one first.",
        )),
    }
}

/// Registers what the browser made.
pub(in super::super) async fn add(visit: &mut Visit<'_>) -> Answer {
    let form = form::read(visit).await?;
    let identity = match fresh::factor(visit, HERE).await? {
        Fresh::Given(identity) => identity,
        Fresh::Asked(detour) => return Ok(detour),
    };
    let kind = match form.text("kind") {
        "key" => CredentialKind::Key,
        "passkey" => CredentialKind::Passkey,
        _ => return Err(Refusal::Unreadable),
    };
    let user = complete::user_of(visit, identity).await?;
    let (session, from) = (identity.lease().cell.sid, visit.actor());
    let (name, answer) = (form.text("name"), form.text("credential"));
    if answer.is_empty() {
        let words = "Registering a key needs JavaScript, and a browser that knows WebAuthn.";
        return wrong(visit, words).await;
    }
    let keys = &visit.desk.keys;
    let done = keys
        .finish_registration(&user, kind, name, answer, &session, &from)
        .await?;
    match done {
        Registration::Done(_) => {
            follow(visit, &user.id).await?;
            tracing::info!(id = visit.inbound.id, user = %user.name, kind = kind.as_str(), "a key was registered");
            Ok(local("/account/factors?done=added"))
        }
        Registration::Over => {
            wrong(visit, "That took too long, or was sent twice. Try again.").await
        }
        Registration::Taken => wrong(visit, "That key is registered already.").await,
        Registration::TooMany => {
            wrong(
                visit,
                "You have as many keys as there may be. Remove one first.",
            )
            .await
        }
        Registration::NotVerified => {
            let words = "It did not check that it is you, which a passkey must. Add it as a \
                         security key instead.";
            wrong(visit, words).await
        }
        Registration::Wrong => {
            wrong(visit, "Its answer does not fit this server. Try again.").await
        }
    }
}

const APP: &str = "/account/factors/app";

/// Shows a secret for an authenticator app; nothing is stored.
pub(in super::super) async fn show_app(visit: &mut Visit<'_>) -> Answer {
    let identity = match fresh::factor(visit, APP).await? {
        Fresh::Given(identity) => identity,
        Fresh::Asked(detour) => return Ok(detour),
    };
    let user = complete::user_of(visit, identity).await?;
    let session = identity.lease().cell.sid;
    let draft = visit.desk.accounts.begin_app(&user, &session);
    Ok(app_page(StatusCode::OK, &user, &draft, Vec::new()))
}

/// Connects the app that has the secret.
pub(in super::super) async fn connect_app(visit: &mut Visit<'_>) -> Answer {
    let form = form::read(visit).await?;
    let identity = match fresh::factor(visit, APP).await? {
        Fresh::Given(identity) => identity,
        Fresh::Asked(detour) => return Ok(detour),
    };
    let user = complete::user_of(visit, identity).await?;
    let (session, from) = (identity.lease().cell.sid, visit.actor());
    let (draft, code) = (form.text("draft"), form.text("code"));
    let accounts = &visit.desk.accounts;
    let done = accounts
        .finish_app(&user, draft, code, session, &from)
        .await?;
    match done {
        AppConnected::Done(_) => {
            follow(visit, &user.id).await?;
            Ok(local("/account/factors?done=added"))
        }
        AppConnected::WrongCode(draft) => {
            let words = "That code is not the new app's. Wait for the next one.";
            let errors = vec![FieldError::new("code", words)];
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(app_page(status, &user, &draft, errors))
        }
        AppConnected::Over => Ok(local(APP)),
    }
}

fn app_page(
    status: StatusCode,
    user: &UserRecord,
    draft: &SetupDraft,
    errors: Vec<FieldError>,
) -> Response<Body> {
    form_page(
        status,
        &view::AccountApp {
            here: HERE,
            replaces: user.totp_sealed.is_some(),
            qr: qr::svg(&draft.uri),
            uri: &draft.uri,
            groups: qr::groups(draft.secret.reveal()),
            draft: &draft.sealed,
            errors_title: "That did not work",
            errors,
        },
    )
}

/// Gives one another name.
pub(in super::super) async fn rename(visit: &mut Visit<'_>) -> Answer {
    let form = form::read(visit).await?;
    let Ok(identity) = visit.identity else {
        return Ok(local("/login"));
    };
    let user = complete::user_of(visit, identity).await?;
    let id = unhex(form.text("factor")).ok_or(Refusal::Unreadable)?;
    let (keys, from) = (&visit.desk.keys, visit.actor());
    if keys.rename(&user, &id, form.text("name"), &from).await? {
        Ok(local("/account/factors?done=renamed"))
    } else {
        Err(Refusal::NotFound)
    }
}

/// Takes one away; never the last.
pub(in super::super) async fn remove(visit: &mut Visit<'_>) -> Answer {
    let form = form::read(visit).await?;
    let identity = match fresh::factor(visit, HERE).await? {
        Fresh::Given(identity) => identity,
        Fresh::Asked(detour) => return Ok(detour),
    };
    let user = complete::user_of(visit, identity).await?;
    let (keys, from) = (&visit.desk.keys, visit.actor());
    let keep = identity.lease().cell.sid;
    let removed = if form.text("factor") == "totp" {
        keys.remove_totp(&user, keep, &from).await?
    } else {
        let id = unhex(form.text("factor")).ok_or(Refusal::Unreadable)?;
        keys.remove(&user, &id, keep, &from).await?
    };
    match removed {
        Removed::Done => {
            follow(visit, &user.id).await?;
            Ok(local("/account/factors?done=removed"))
        }
        Removed::Last => {
            let words = "That is your last second step, and stays. Add another one first.";
            wrong(visit, words).await
        }
        Removed::NotThere => Err(Refusal::NotFound),
    }
}

async fn wrong(visit: &Visit<'_>, words: &str) -> Answer {
    let errors = vec![FieldError::new("factors", words)];
    page(visit, StatusCode::UNPROCESSABLE_ENTITY, None, errors).await
}

/// The store ended sessions of theirs; the cells here follow.
async fn follow(visit: &Visit<'_>, user: &crate::name::UserId) -> Result<(), StoreError> {
    visit.desk.sessions.apply(Change::User(user.clone())).await
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    if text.is_empty() || text.len() % 2 == 1 {
        return None;
    }
    pairs
        .map(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok())
        .collect()
}
