//! The second step with a key, and the only step with a passkey.

use http::{HeaderValue, Response, StatusCode, header};
use serde::Deserialize;

use super::{
    Answer, Visit, api, code, complete, form, form_page, local,
    login::{self, Wanted, wanted, with_state},
    view::{self, FieldError},
    with_cookies,
};
use crate::{
    account::{Allowed, KeyCheck, Strength},
    body::Body,
    reply::{Refusal, headers::SCRIPT_POLICY, json},
    signin::HalfLogin,
    store::{StoreError, UserRecord},
};

/// What a script asks before it asks the browser.
#[derive(Deserialize)]
pub(super) struct Start {
    /// A half-done login; without it, the browser's own counts.
    ticket: Option<String>,
    /// No half-done login at all: a passkey, whoever's.
    #[serde(default)]
    passkey: bool,
}

/// Where the second step of this user is, the strongest first; `None`: there is none.
pub(super) fn place(user: &UserRecord) -> Option<&'static str> {
    match (user.keys > 0, user.totp_sealed.is_some()) {
        (true, _) => Some("/login/key"),
        (false, true) => Some("/login/code"),
        (false, false) => None,
    }
}

/// Shows what to do, to who has done the first step in this browser.
pub(super) async fn show(visit: &mut Visit<'_>) -> Answer {
    let wanted = wanted(visit)?;
    match code::half_done(visit).await? {
        Some((half, user)) if user.keys > 0 => {
            let errors = Vec::new();
            page(visit, StatusCode::OK, wanted.as_ref(), &half, &user, errors).await
        }
        Some(_) | None => Ok(local(&with_state("/login", wanted.as_ref()))),
    }
}

/// Looks at the key's answer.
pub(super) async fn check(visit: &mut Visit<'_>) -> Answer {
    let wanted = wanted(visit)?;
    let form = form::read(visit).await?;
    let Some((half, user)) = code::half_done(visit).await? else {
        return Ok(local(&with_state("/login", wanted.as_ref())));
    };
    let answer = form.text("credential");
    if answer.is_empty() {
        let errors = vec![FieldError::new("key", NO_SCRIPT)];
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return page(visit, status, wanted.as_ref(), &half, &user, errors).await;
    }
    match judge(visit, &half, answer).await? {
        Ok((user, strength)) => {
            let given = complete::with_key(&half.amr, strength);
            let wanted = wanted.as_ref();
            complete::on_portal_with(visit, &user, Some(&half), given, wanted).await
        }
        Err(words) => {
            visit.hold_back().await;
            let errors = vec![FieldError::new("key", words)];
            let status = StatusCode::UNAUTHORIZED;
            page(visit, status, wanted.as_ref(), &half, &user, errors).await
        }
    }
}

const NO_SCRIPT: &str = "Keys and passkeys need JavaScript, and a browser that knows WebAuthn. \
                         Use another way to sign in, or another browser.";

/// Looks at an answer to the second step; the words for one that is not good.
pub(super) async fn judge(
    visit: &Visit<'_>,
    half: &HalfLogin,
    answer: &str,
) -> Result<Result<(UserRecord, Strength), String>, StoreError> {
    let (keys, from) = (&visit.desk.keys, visit.actor());
    let checked = keys
        .finish_second(&half.user, allowed(half), answer, &half.binding(), &from)
        .await?;
    Ok(told(checked))
}

fn told(checked: KeyCheck) -> Result<(UserRecord, Strength), String> {
    Err(match checked {
        KeyCheck::Right(user, strength) => return Ok((user, strength)),
        KeyCheck::Over => "That took too long, or was sent twice. Try again.".to_owned(),
        KeyCheck::NotRegistered => {
            "That key is not registered here for this. Use another one, or another way.".to_owned()
        }
        KeyCheck::NotVerified => {
            "Your key did not check that it is you, so it cannot take the place of your password. \
             Sign in with name and password; the key is then your second step."
                .to_owned()
        }
        KeyCheck::Cloned { name } => format!(
            "The key \u{201c}{name}\u{201d} was refused: it counts its uses, and has counted \
             backwards, as a copy of it would. Use another key or another way, then remove it \
             from your account."
        ),
        KeyCheck::Wrong => "The key's answer does not fit this server. Try again.".to_owned(),
    })
}

fn allowed(half: &HalfLogin) -> Allowed {
    if half.hardware {
        Allowed::Hardware
    } else {
        Allowed::Any
    }
}

/// Looks at a passkey's answer: both steps in one.
pub(super) async fn passkey(visit: &mut Visit<'_>) -> Answer {
    let wanted = wanted(visit)?;
    let form = form::read(visit).await?;
    let answer = form.text("credential");
    let words = if answer.is_empty() {
        NO_SCRIPT.to_owned()
    } else {
        match judge_passkey(visit, answer).await? {
            Ok((user, strength)) => {
                let given = complete::with_passkey(strength);
                return complete::on_portal_with(visit, &user, None, given, wanted.as_ref()).await;
            }
            Err(words) => words,
        }
    };
    visit.hold_back().await;
    let errors = vec![FieldError::new("passkey", words)];
    let status = StatusCode::UNAUTHORIZED;
    Ok(login::page(
        status,
        wanted.as_ref(),
        None,
        login::Typed::default(),
        errors,
    ))
}

pub(super) async fn judge_passkey(
    visit: &Visit<'_>,
    answer: &str,
) -> Result<Result<(UserRecord, Strength), String>, StoreError> {
    let device = visit.desk.signin.known_device(visit.others());
    let Some(device) = device.map(|it| it.digest()) else {
        return Ok(told(KeyCheck::Over));
    };
    let (keys, from) = (&visit.desk.keys, visit.actor());
    Ok(told(keys.finish_passkey(answer, &device, &from).await?))
}

/// Answers a script with a challenge.
pub(super) async fn start(visit: &mut Visit<'_>) -> Answer {
    let sent: Start = form::json(visit).await?;
    if sent.passkey {
        let device = visit.desk.signin.device(visit.others());
        let options = visit.desk.keys.begin_passkey(&device.digest()).await?;
        return Ok(with_cookies(
            json::answer(StatusCode::OK, &options),
            [visit.desk.signin.device_cookie(&device)],
        ));
    }
    let half = match &sent.ticket {
        Some(ticket) => code::open(visit, ticket, code::Binding::IfThere).await?,
        None => code::half_done(visit).await?,
    };
    let Some((half, user)) = half else {
        visit.hold_back().await;
        return Ok(api::fault(
            StatusCode::UNAUTHORIZED,
            "ticket",
            "The ticket is not good here, or no longer. Begin again with the password.",
        ));
    };
    let (keys, bound) = (&visit.desk.keys, half.binding());
    let options = keys.begin_second(&user.id, allowed(&half), &bound).await?;
    Ok(match options {
        Some(options) => json::answer(StatusCode::OK, &options),
        None => api::fault(
            StatusCode::CONFLICT,
            "not_enrolled",
            "This account has no such key.",
        ),
    })
}

async fn page(
    visit: &Visit<'_>,
    status: StatusCode,
    wanted: Option<&Wanted>,
    half: &HalfLogin,
    user: &UserRecord,
    errors: Vec<FieldError>,
) -> Answer {
    let recovery = code::recovery(visit, half, wanted).await?;
    // What a key opened is not kept open by less.
    let strong = half.raises.is_some() && visit.identity.is_ok_and(|it| it.level() >= 3);
    let code = user.totp_sealed.is_some() && !half.hardware && !strong;
    let code = code.then(|| with_state("/login/code", wanted));
    Ok(scripted(form_page(
        status,
        &view::Key {
            action: with_state("/login/key", wanted),
            code: code.unwrap_or_default(),
            recovery,
            restart: with_state("/login", wanted),
            username: user.name.as_str(),
            host: wanted.map(|it| it.state.host.as_str()),
            hardware: half.hardware,
            again: half.raises.is_some(),
            errors_title: "That did not work",
            errors,
        },
    )))
}

/// Lets a page run the one script that asks the browser for keys.
pub(super) fn scripted(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(SCRIPT_POLICY),
    );
    response
}

/// A key that is a piece of hardware, and a way to it: what `hardware-key` asks for.
pub(super) async fn has_hardware(visit: &Visit<'_>, user: &UserRecord) -> Result<bool, Refusal> {
    let keys = visit.desk.keys.of(&user.id).await?;
    Ok(keys.iter().any(|it| Allowed::Hardware.takes(it)))
}
