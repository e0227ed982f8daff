//! A new password, for who knows the old one and has just given a factor.

use http::{Response, StatusCode};

use super::super::{
    Answer, Visit, complete,
    form::{self, Form},
    form_page,
    fresh::{self, Fresh},
    local,
    view::{self, FieldError},
};
use crate::{
    account::PasswordChange, authn::Identity, body::Body, reply::Refusal, secret::Secret,
    session::Ended, store::Change,
};

const HERE: &str = "/account/password";

pub(in super::super) async fn show(visit: &mut Visit<'_>) -> Answer {
    let done = visit.query() == Some("done");
    if let (true, Ok(identity)) = (done, visit.identity) {
        let notice = Some("Your password is changed, and every other session of yours is over.");
        return Ok(page(visit, identity, notice, Vec::new()));
    }
    match fresh::factor(visit, HERE).await? {
        Fresh::Given(identity) => Ok(page(visit, identity, None, Vec::new())),
        Fresh::Asked(detour) => Ok(detour),
    }
}

pub(in super::super) async fn change(visit: &mut Visit<'_>) -> Answer {
    let form = form::read(visit).await?;
    let identity = match fresh::factor(visit, HERE).await? {
        Fresh::Given(identity) => identity,
        Fresh::Asked(detour) => return Ok(detour),
    };
    let (old, new) = match chosen(&form) {
        Ok(both) => both,
        Err(errors) => return Ok(page(visit, identity, None, errors)),
    };
    let user = complete::user_of(visit, identity).await?;
    let sid = identity.lease().cell.sid;
    let (accounts, actor) = (&visit.desk.accounts, visit.actor());
    let change = accounts
        .change_password(&user, old, new, sid, &actor)
        .await?;
    let (field, words) = match change {
        PasswordChange::Done(_) => {
            // The store ended the others; the cells here follow.
            let sessions = &visit.desk.sessions;
            sessions
                .end_user_by(&user.id, Ended::Credentials, Some(&sid), actor)
                .await?;
            sessions.apply(Change::User(user.id.clone())).await?;
            tracing::info!(id = visit.inbound.id, user = %user.name, "password changed");
            return Ok(local("/account/password?done"));
        }
        PasswordChange::WrongOld => {
            visit.hold_back().await;
            ("old", "That is not your password until now.".to_owned())
        }
        PasswordChange::Weak(weak) => ("password", weak.to_string()),
        PasswordChange::Same => ("password", "That is the old one.".to_owned()),
        PasswordChange::Overtaken => {
            let words = "Your password was changed somewhere else at the same moment.";
            ("old", words.to_owned())
        }
        PasswordChange::TooOften { retry_after } => {
            visit.hold_back().await;
            return Err(Refusal::TooOften { retry_after });
        }
        PasswordChange::Busy { retry_after } => return Err(Refusal::Busy { retry_after }),
    };
    let errors = vec![FieldError::new(field, words)];
    Ok(page(visit, identity, None, errors))
}

/// The old and the new password, or what is missing.
fn chosen(form: &Form) -> Result<(&Secret, &Secret), Vec<FieldError>> {
    let field = |name| form.one(name).filter(|it| !it.reveal().is_empty());
    match (field("old"), field("password"), field("again")) {
        (Some(old), Some(new), Some(again)) if new == again => Ok((old, new)),
        (old, new, again) => {
            let mut errors = Vec::new();
            if old.is_none() {
                errors.push(FieldError::new("old", "Type your password until now."));
            }
            if new.is_none() {
                errors.push(FieldError::new("password", "Type a new password."));
            } else if new != again {
                let words = "The two new passwords are not the same.";
                errors.push(FieldError::new("again", words));
            }
            Err(errors)
        }
    }
}

fn page(
    visit: &Visit<'_>,
    identity: &Identity,
    notice: Option<&str>,
    errors: Vec<FieldError>,
) -> Response<Body> {
    let status = if errors.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    form_page(
        status,
        &view::AccountPassword {
            here: HERE,
            notice,
            username: identity.profile().name.as_str(),
            password_min: visit.desk.config.login.password_min,
            errors_title: "Please put this right",
            errors,
        },
    )
}
