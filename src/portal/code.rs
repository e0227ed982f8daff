//! The second step: a code. What stands between the steps is an opaque ticket, never a session.

use http::{Response, StatusCode};

use super::{
    Answer, Visit, complete, form, form_page, local,
    login::{Wanted, wanted, with_state},
    view::{self, FieldError},
};
use crate::{
    account::TotpCheck,
    body::Body,
    reply::Refusal,
    secret,
    signin::{HalfLogin, cookie},
    store::{StoreError, UserRecord},
};

/// Shows the form, to who has done the first step in this browser.
pub(super) async fn show(visit: &mut Visit<'_>) -> Answer {
    let wanted = wanted(visit)?;
    match half_done(visit).await? {
        Some((half, user)) => {
            let recovery = recovery(visit, &half, wanted.as_ref()).await?;
            let (wanted, errors) = (wanted.as_ref(), Vec::new());
            Ok(page(StatusCode::OK, wanted, recovery, &user, errors))
        }
        None => Ok(local(&with_state("/login", wanted.as_ref()))),
    }
}

/// Looks at the code.
pub(super) async fn check(visit: &mut Visit<'_>) -> Answer {
    let wanted = wanted(visit)?;
    let form = form::read(visit).await?;
    let Some((half, user)) = half_done(visit).await? else {
        return Ok(local(&with_state("/login", wanted.as_ref())));
    };
    let refused = match judge(visit, &user, form.text("code")).await? {
        Judged::Right => {
            return complete::on_portal(visit, &user, Some(&half), wanted.as_ref()).await;
        }
        Judged::NotEnrolled => return Ok(local(&with_state("/login", wanted.as_ref()))),
        Judged::Refused(text) => text,
    };
    let errors = vec![FieldError::new("code", refused)];
    let recovery = recovery(visit, &half, wanted.as_ref()).await?;
    Ok(page(
        StatusCode::UNAUTHORIZED,
        wanted.as_ref(),
        recovery,
        &user,
        errors,
    ))
}

/// Where a recovery code is taken instead, for who has one and signs in; else nothing.
pub(super) async fn recovery(
    visit: &Visit<'_>,
    half: &HalfLogin,
    wanted: Option<&Wanted>,
) -> Result<String, StoreError> {
    let left = visit.desk.accounts.recovery_codes_left(&half.user).await?;
    Ok(if left > 0 && half.raises.is_none() {
        with_state("/login/recovery", wanted)
    } else {
        String::new()
    })
}

/// What a code was good for.
pub(super) enum Judged {
    Right,
    /// Nothing; the words for it.
    Refused(&'static str),
    /// There is nothing to compare it with.
    NotEnrolled,
}

/// Looks at a code; a wrong one takes its time.
pub(super) async fn judge(
    visit: &Visit<'_>,
    user: &UserRecord,
    code: &str,
) -> Result<Judged, Refusal> {
    let digits: String = code.chars().filter(|it| !it.is_whitespace()).collect();
    if digits.is_empty() {
        return Ok(Judged::Refused("Type the six digits that your app shows."));
    }
    let checked = visit
        .desk
        .accounts
        .check_totp(&user.id, &digits, &visit.actor())
        .await?;
    match checked {
        TotpCheck::Right => return Ok(Judged::Right),
        TotpCheck::NotEnrolled => return Ok(Judged::NotEnrolled),
        TotpCheck::Wrong | TotpCheck::Used => visit.hold_back().await,
        TotpCheck::TooOften { retry_after } => {
            visit.hold_back().await;
            return Err(Refusal::TooOften { retry_after });
        }
    }
    tracing::info!(id = visit.inbound.id, user = %user.name, "wrong code");
    Ok(Judged::Refused(
        "That code is wrong or was used before. Wait for the next one.",
    ))
}

/// The half-done login of this browser, if it still stands.
pub(super) async fn half_done(
    visit: &Visit<'_>,
) -> Result<Option<(HalfLogin, UserRecord)>, StoreError> {
    let Some(sealed) = cookie::only(visit.others(), cookie::HALF) else {
        return Ok(None);
    };
    open(visit, sealed, Binding::Required).await
}

/// Whether the browser must carry the device that the first step was done on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    /// It must: the half-done login came in a cookie.
    Required,
    /// Only where it carries one at all: the half-done login was in a script's hands, which may
    /// be without cookies.
    IfThere,
}

/// Reads a half-done login: made here, in time, on this device, for an account that is as it was.
pub(super) async fn open(
    visit: &Visit<'_>,
    sealed: &str,
    binding: Binding,
) -> Result<Option<(HalfLogin, UserRecord)>, StoreError> {
    let signin = &visit.desk.signin;
    let Ok(half) = signin.open_half_login(sealed, &visit.inbound.host, visit.now) else {
        return Ok(None);
    };
    let device = signin.known_device(visit.others()).map(|it| it.digest());
    let fits = match device {
        Some(device) => device == half.device,
        None => binding == Binding::IfThere,
    };
    // A step-up lives and dies with the session that it is on top of.
    let stands = half.raises.is_none_or(|sid| {
        visit
            .identity
            .is_ok_and(|it| it.lease().cell.sid == sid && it.lease().cell.user == half.user)
    });
    if !fits || !stands {
        return Ok(None);
    }
    let id = half.user.clone();
    let user = visit.desk.store.call(move |store| store.user(&id)).await?;
    let same_password = |user: &UserRecord| {
        secret::digest(user.password_hash.as_deref().unwrap_or_default()) == half.password
    };
    Ok(user
        .filter(|it| !it.disabled && same_password(it))
        .map(|user| (half, user)))
}

fn page(
    status: StatusCode,
    wanted: Option<&Wanted>,
    recovery: String,
    user: &UserRecord,
    errors: Vec<FieldError>,
) -> Response<Body> {
    form_page(
        status,
        &view::Code {
            action: with_state("/login/code", wanted),
            key: if user.keys > 0 {
                with_state("/login/key", wanted)
            } else {
                String::new()
            },
            recovery,
            restart: with_state("/login", wanted),
            username: user.name.as_str(),
            errors_title: "That did not work",
            errors,
        },
    )
}
