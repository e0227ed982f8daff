//! The first step: user name and password.

use http::{HeaderValue, Response, StatusCode};

use super::{
    Answer, Visit, complete, form, form_page, key, local, onward,
    view::{self, FieldError},
    with_cookies,
};
use crate::{
    account::PasswordCheck,
    authn::NotSignedIn,
    body::Body,
    name::UserName,
    reply::Refusal,
    secret,
    session::Ended,
    signin::{BadAttempt, HalfLogin, State, cookie, login_query},
    store::UserRecord,
};

/// What somebody signs in for: the sealed state as it came, and what it says.
pub(super) struct Wanted {
    pub(super) raw: String,
    pub(super) state: State,
    /// Whether it may still lead to a ticket. An older one tells only where to begin again.
    pub(super) fresh: bool,
}

/// What the query asks for. Nothing is believed but a state that we sealed.
pub(super) fn wanted(visit: &Visit<'_>) -> Result<Option<Wanted>, Refusal> {
    let lost = || Refusal::SignInLost {
        again: "/login".to_owned(),
    };
    let Some(raw) = login_query(visit.query()).map_err(|_| lost())? else {
        return Ok(None);
    };
    let signin = &visit.desk.signin;
    let (state, fresh) = match signin.read_state(raw, visit.now) {
        Ok(state) => (state, true),
        Err(BadAttempt::Expired) => (signin.read_old_state(raw).map_err(|_| lost())?, false),
        Err(BadAttempt::NotOurs | BadAttempt::Elsewhere | BadAttempt::Missing) => {
            return Err(lost());
        }
    };
    Ok(Some(Wanted {
        raw: raw.to_owned(),
        state,
        fresh,
    }))
}

/// `path`, with the state that a sign-in carries from step to step.
pub(super) fn with_state(path: &str, wanted: Option<&Wanted>) -> String {
    match wanted {
        Some(it) => format!("{path}?state={}", it.raw),
        None => path.to_owned(),
    }
}

/// Shows the form, or goes on where somebody is signed in already.
pub(super) async fn show(visit: &mut Visit<'_>) -> Answer {
    let wanted = wanted(visit)?;
    match (visit.identity, wanted) {
        (Ok(_), None) => Ok(local("/account")),
        (Ok(identity), Some(wanted)) => onward::go(visit, identity, &wanted).await,
        (Err(why), wanted) => {
            let remembered = visit.desk.signin.remembered_name(visit.others());
            let typed = Typed {
                username: remembered.as_ref().map_or("", UserName::as_str),
                remember: remembered.is_some(),
            };
            Ok(page(
                StatusCode::OK,
                wanted.as_ref(),
                notice(why),
                typed,
                Vec::new(),
            ))
        }
    }
}

/// Looks at name and password.
pub(super) async fn password(visit: &mut Visit<'_>) -> Answer {
    let wanted = wanted(visit)?;
    let form = form::read(visit).await?;
    let username = form.text("username").trim().to_owned();
    let typed = Typed {
        username: &username,
        remember: form.one("remember").is_some(),
    };
    let password = form.one("password").filter(|it| !it.reveal().is_empty());
    let Some(password) = password.filter(|_| !username.is_empty()) else {
        let errors = missing(&username, password.is_none());
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(page(status, wanted.as_ref(), None, typed, errors));
    };
    let device = visit.desk.signin.device(visit.others());
    let checked = visit
        .desk
        .accounts
        .check_password(&username, password, &visit.actor(), device.users().first())
        .await?;
    let user = match checked {
        PasswordCheck::Right(user) => user,
        PasswordCheck::Wrong => {
            visit.hold_back().await;
            tracing::info!(id = visit.inbound.id, client = %visit.inbound.client, "wrong password");
            let errors = vec![FieldError::new(
                "username",
                "The user name or the password is wrong.",
            )];
            let status = StatusCode::UNAUTHORIZED;
            return Ok(page(status, wanted.as_ref(), None, typed, errors));
        }
        PasswordCheck::TooOften { retry_after } => {
            visit.hold_back().await;
            return Err(Refusal::TooOften { retry_after });
        }
        PasswordCheck::Busy { retry_after } => return Err(Refusal::Busy { retry_after }),
    };
    let name = name_cookie(visit, &user, typed.remember);
    let Some(second) = key::place(&user) else {
        let done = complete::on_portal(visit, &user, None, wanted.as_ref()).await?;
        return Ok(with_cookies(done, name));
    };
    let half = HalfLogin {
        user: user.id.clone(),
        password_time: visit.now,
        device: device.digest(),
        amr: vec!["pwd".to_owned()],
        back: None,
        password: secret::digest(user.password_hash.as_deref().unwrap_or_default()),
        raises: None,
        hardware: false,
    };
    let sealed = visit.desk.signin.half_login(&half, &visit.inbound.host);
    Ok(with_cookies(
        local(&with_state(second, wanted.as_ref())),
        [
            cookie::half(&sealed),
            visit.desk.signin.device_cookie(&device),
        ]
        .into_iter()
        .chain(name),
    ))
}

/// The name that the browser begins with the next time: kept only for who asks for it, and
/// forgotten by who does not.
fn name_cookie(visit: &Visit<'_>, user: &UserRecord, remember: bool) -> Option<HeaderValue> {
    let signin = &visit.desk.signin;
    if remember {
        return Some(signin.name_cookie(&user.name));
    }
    let is_there = visit.others().iter().any(|(name, _)| name == cookie::NAME);
    is_there.then(|| cookie::gone(cookie::NAME))
}

fn missing(username: &str, no_password: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if username.is_empty() {
        errors.push(FieldError::new("username", "Type your user name."));
    }
    if no_password {
        errors.push(FieldError::new("password", "Type your password."));
    }
    errors
}

/// What the form holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Typed<'a> {
    /// The user name.
    pub(super) username: &'a str,
    /// Whether it is to be remembered.
    pub(super) remember: bool,
}

pub(super) fn page(
    status: StatusCode,
    wanted: Option<&Wanted>,
    notice: Option<&str>,
    typed: Typed<'_>,
    errors: Vec<FieldError>,
) -> Response<Body> {
    key::scripted(form_page(
        status,
        &view::Login {
            action: with_state("/login", wanted),
            passkey: with_state("/login/passkey", wanted),
            host: wanted.map(|it| it.state.host.as_str()),
            notice,
            username: typed.username,
            remember: typed.remember,
            wrong: !errors.is_empty(),
            errors_title: "That did not work",
            errors,
        },
    ))
}

/// Why somebody who was signed in is asked again.
fn notice(why: NotSignedIn) -> Option<&'static str> {
    match why {
        NotSignedIn::Session(ended) => match ended {
            Ended::Idle => Some("You were away for a while, so you have been signed out."),
            Ended::LoginExpired => Some("Your sign-in has reached its time limit."),
            Ended::Revoked | Ended::Disabled => Some("Your session was ended."),
            Ended::Credentials => {
                Some("Your account was changed, so you have been signed out everywhere.")
            }
            Ended::Replaced => Some("Somebody else signed in here, which ended your session."),
            Ended::Logout | Ended::Grant => None,
        },
        NotSignedIn::Address => {
            Some("Your network address has changed, so we ask you to sign in again.")
        }
        NotSignedIn::Missing
        | NotSignedIn::Repeated
        | NotSignedIn::Malformed
        | NotSignedIn::Signature
        | NotSignedIn::Audience
        | NotSignedIn::Expired
        | NotSignedIn::Unknown => None,
    }
}
