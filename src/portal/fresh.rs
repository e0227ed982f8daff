//! What changes an account asks for a factor again, unless one was given just now: whoever
//! finds an open browser takes nothing over.

use std::time::Duration;

use http::{Response, StatusCode};

use super::{
    Answer, Visit, code, complete, form, form_page, key, local,
    view::{self, FieldError},
    with_cookies,
};
use crate::{
    account::PasswordCheck,
    authn::Identity,
    body::Body,
    clock::Timestamp,
    reply::Refusal,
    signin::{HalfLogin, cookie},
    store::UserRecord,
};

/// How long a factor counts as just given.
const FRESH: Duration = Duration::from_mins(5);

/// Whether the last factor is fresh.
pub(super) enum Fresh<'a> {
    /// It is.
    Given(&'a Identity),
    /// It is not: this leads to where it is asked for, and from there back.
    Asked(Response<Body>),
}

/// Asks for a factor again unless one was given in the last five minutes. `back` is the page of
/// ours that asks, where the person comes back to. The session stays; its `gen` is raised.
pub(super) async fn factor<'a>(
    visit: &Visit<'a>,
    back: &'static str,
) -> Result<Fresh<'a>, Refusal> {
    let Ok(identity) = visit.identity else {
        return Ok(Fresh::Asked(local("/login")));
    };
    if is_fresh(identity.auth_time(), visit.now) {
        return Ok(Fresh::Given(identity));
    }
    let user = complete::user_of(visit, identity).await?;
    let half = complete::half_on_top(visit, identity, &user, Some(back));
    let sealed = visit.desk.signin.half_login(&half, &visit.inbound.host);
    Ok(Fresh::Asked(with_cookies(
        local(place(&user)),
        [cookie::half(&sealed)],
    )))
}

fn is_fresh(auth_time: Timestamp, now: Timestamp) -> bool {
    auth_time.until(now) < FRESH
}

/// Where this user gives a factor again: the second one, where there is one.
fn place(user: &UserRecord) -> &'static str {
    key::place(user).unwrap_or("/login/again")
}

/// Shows the form for who has nothing but a password.
pub(super) async fn show(visit: &mut Visit<'_>) -> Answer {
    match asked(visit).await? {
        Ok((_, user)) => Ok(page(&user, Vec::new())),
        Err(elsewhere) => Ok(local(elsewhere)),
    }
}

/// Whose password is asked here: who is signed in and has no second step. Else, where to go.
async fn asked(
    visit: &Visit<'_>,
) -> Result<Result<(HalfLogin, UserRecord), &'static str>, Refusal> {
    let half = code::half_done(visit).await?;
    let Some((half, user)) = half.filter(|(half, _)| half.raises.is_some()) else {
        return Ok(Err("/account"));
    };
    // A second step is not made good by the first.
    Ok(match key::place(&user) {
        Some(second) => Err(second),
        None => Ok((half, user)),
    })
}

/// Looks at the password; the session goes on under the next generation.
pub(super) async fn check(visit: &mut Visit<'_>) -> Answer {
    let form = form::read(visit).await?;
    let (half, user) = match asked(visit).await? {
        Ok(both) => both,
        Err(elsewhere) => return Ok(local(elsewhere)),
    };
    let wrong = match form.one("password").filter(|it| !it.reveal().is_empty()) {
        None => "Type your password.",
        Some(password) => {
            let (accounts, actor) = (&visit.desk.accounts, visit.actor());
            let checked = accounts
                .check_password(user.name.as_str(), password, &actor, Some(&user.id))
                .await?;
            match checked {
                PasswordCheck::Right(_) => return go_back(visit, &user, &half).await,
                PasswordCheck::Wrong => "That is not your password.",
                PasswordCheck::TooOften { retry_after } => {
                    visit.hold_back().await;
                    return Err(Refusal::TooOften { retry_after });
                }
                PasswordCheck::Busy { retry_after } => return Err(Refusal::Busy { retry_after }),
            }
        }
    };
    visit.hold_back().await;
    Ok(page(&user, vec![FieldError::new("password", wrong)]))
}

async fn go_back(visit: &Visit<'_>, user: &UserRecord, half: &HalfLogin) -> Answer {
    let Ok(identity) = visit.identity else {
        return Ok(local("/login"));
    };
    // A password gives no more than what the session had.
    let (level, amr) = (identity.level(), identity.amr());
    let login = complete::raise(visit, user, half, level, amr).await?;
    Ok(complete::back(visit, &login, half))
}

fn page(user: &UserRecord, errors: Vec<FieldError>) -> Response<Body> {
    let status = if errors.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNAUTHORIZED
    };
    form_page(
        status,
        &view::Again {
            username: user.name.as_str(),
            errors_title: "That did not work",
            errors,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_fresh_for_five_minutes() {
        let then = Timestamp::from_secs(1_800_000_000);
        assert!(is_fresh(then, then));
        assert!(is_fresh(then, then.plus(Duration::from_secs(299))));
        assert!(!is_fresh(then, then.plus(Duration::from_mins(5))));
    }
}
