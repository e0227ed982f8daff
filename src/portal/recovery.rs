//! Signing in with a recovery code in place of the second factor.

use http::{Response, StatusCode};

use super::{
    Answer, Visit, code, complete, form, form_page, local,
    login::{Wanted, wanted, with_state},
    view::{self, FieldError},
};
use crate::{
    account::RecoveryCheck, body::Body, reply::Refusal, secret::Secret, store::UserRecord,
};

/// Shows the form, to who has done the first step in this browser.
pub(super) async fn show(visit: &mut Visit<'_>) -> Answer {
    let wanted = wanted(visit)?;
    match code::half_done(visit).await? {
        Some((half, user)) if half.raises.is_none() => Ok(page(wanted.as_ref(), &user, Vec::new())),
        Some(_) | None => Ok(local(&with_state("/login", wanted.as_ref()))),
    }
}

/// Looks at the code.
pub(super) async fn check(visit: &mut Visit<'_>) -> Answer {
    let wanted = wanted(visit)?;
    let form = form::read(visit).await?;
    let half = code::half_done(visit).await?;
    // It opens a session for who has lost a factor; it is not for what asks for one again.
    let Some((half, user)) = half.filter(|(half, _)| half.raises.is_none()) else {
        return Ok(local(&with_state("/login", wanted.as_ref())));
    };
    let empty = Secret::new("");
    let typed = form.one("code").unwrap_or(&empty);
    match judge(visit, &user, typed).await? {
        None => complete::on_portal(visit, &user, Some(&half), wanted.as_ref()).await,
        Some(words) => {
            let errors = vec![FieldError::new("code", words)];
            Ok(page(wanted.as_ref(), &user, errors))
        }
    }
}

/// Looks at a code; `Some`: why it is worth nothing. A wrong one takes its time.
pub(super) async fn judge(
    visit: &Visit<'_>,
    user: &UserRecord,
    typed: &Secret,
) -> Result<Option<&'static str>, Refusal> {
    if typed.reveal().trim().is_empty() {
        return Ok(Some("Type one of your recovery codes."));
    }
    let accounts = &visit.desk.accounts;
    let checked = accounts
        .check_recovery(&user.id, typed, &visit.actor())
        .await?;
    match checked {
        RecoveryCheck::Right { left } => {
            tracing::warn!(id = visit.inbound.id, user = %user.name, left, "recovery code used");
            Ok(None)
        }
        RecoveryCheck::Wrong => {
            visit.hold_back().await;
            tracing::info!(id = visit.inbound.id, user = %user.name, "wrong recovery code");
            Ok(Some("That code is wrong or was used before."))
        }
        RecoveryCheck::TooOften { retry_after } => {
            visit.hold_back().await;
            Err(Refusal::TooOften { retry_after })
        }
    }
}

fn page(wanted: Option<&Wanted>, user: &UserRecord, errors: Vec<FieldError>) -> Response<Body> {
    let status = if errors.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNAUTHORIZED
    };
    form_page(
        status,
        &view::RecoveryLogin {
            action: with_state("/login/recovery", wanted),
            restart: with_state("/login", wanted),
            username: user.name.as_str(),
            errors_title: "That did not work",
            errors,
        },
    )
}
