//! A one-time link sets an account up: a password, then an authenticator app. GET shows and
//! uses nothing up; nothing is stored before the last step.

use http::{Response, StatusCode};

use super::{
    Answer, Visit,
    form::{self, Form},
    form_page, qr,
    view::{self, FieldError},
};
use crate::{
    account::{SetupDone, SetupDraft, SetupRefused},
    body::Body,
    reply::Refusal,
    secret::Secret,
    store::{LinkRecord, UserRecord},
};

/// No link of ours is longer.
const LONGEST_LINK: usize = 128;

/// Shows what the link is for.
pub(super) async fn show(visit: &mut Visit<'_>, link: &str) -> Answer {
    let (user, record) = owner(visit, link).await?;
    Ok(password_page(visit, link, &user, &record, Vec::new()))
}

/// Takes the password, and then the code.
pub(super) async fn go_on(visit: &mut Visit<'_>, link: &str) -> Answer {
    let form = form::read(visit).await?;
    match form.one("draft") {
        Some(draft) => finish(visit, link, draft.reveal(), form.text("code")).await,
        None => begin(visit, link, &form).await,
    }
}

async fn owner(visit: &Visit<'_>, link: &str) -> Result<(UserRecord, LinkRecord), Refusal> {
    if link.is_empty() || link.len() > LONGEST_LINK {
        return Err(Refusal::LinkGone);
    }
    let found = visit.desk.accounts.setup_user(link).await?;
    if found.is_none() {
        visit.hold_back().await;
    }
    found.ok_or(Refusal::LinkGone)
}

async fn begin(visit: &Visit<'_>, link: &str, form: &Form) -> Answer {
    let (user, record) = owner(visit, link).await?;
    let empty = Secret::new("");
    let password = form.one("password").unwrap_or(&empty);
    let same = form.one("again").is_some_and(|it| it == password);
    let mut errors = Vec::new();
    let judged = visit.desk.accounts.judge_password(password, &user.name);
    if let Err(weak) = judged.await {
        errors.push(FieldError::new("password", weak.to_string()));
    }
    if !same {
        errors.push(FieldError::new(
            "again",
            "The two passwords are not the same.",
        ));
    }
    if !errors.is_empty() {
        return Ok(password_page(visit, link, &user, &record, errors));
    }
    match visit
        .desk
        .accounts
        .begin_setup(link, password, &visit.actor())
        .await?
    {
        Ok(draft) if draft.needs_code => Ok(code_page(link, &draft, Vec::new())),
        Ok(draft) => finish(visit, link, &draft.sealed, "").await,
        Err(SetupRefused::LinkGone) => Err(Refusal::LinkGone),
        Err(SetupRefused::Busy { retry_after }) => Err(Refusal::Busy { retry_after }),
        Err(SetupRefused::Weak(weak)) => {
            let errors = vec![FieldError::new("password", weak.to_string())];
            Ok(password_page(visit, link, &user, &record, errors))
        }
    }
}

async fn finish(visit: &Visit<'_>, link: &str, draft: &str, code: &str) -> Answer {
    let (_, record) = owner(visit, link).await?;
    let digits: String = code.chars().filter(|it| !it.is_whitespace()).collect();
    let done = visit
        .desk
        .accounts
        .finish_setup(link, draft, &digits, &visit.actor())
        .await?;
    match done {
        SetupDone::Done(user) => {
            // The store ended every session of theirs; the cells here follow.
            let change = crate::store::Change::User(user.id.clone());
            visit.desk.sessions.apply(change).await?;
            let ended = crate::session::Ended::Credentials;
            visit
                .desk
                .sessions
                .end_user_by(&user.id, ended, None, visit.actor())
                .await?;
            tracing::info!(id = visit.inbound.id, user = %user.name, "account set up");
            Ok(form_page(
                StatusCode::OK,
                &view::SetupDone {
                    username: user.name.as_str(),
                    two_steps: record.enrol_totp,
                },
            ))
        }
        SetupDone::WrongCode(draft) => {
            visit.hold_back().await;
            let errors = vec![FieldError::new(
                "code",
                "That code does not fit. Check the clock of your phone and type the next one.",
            )];
            Ok(code_page(link, &draft, errors))
        }
        SetupDone::LinkGone => Err(Refusal::LinkGone),
    }
}

fn password_page(
    visit: &Visit<'_>,
    link: &str,
    user: &UserRecord,
    record: &LinkRecord,
    errors: Vec<FieldError>,
) -> Response<Body> {
    form_page(
        status(&errors),
        &view::SetupPassword {
            action: format!("/setup/{link}"),
            username: user.name.as_str(),
            password_min: visit.desk.config.login.password_min,
            two_steps: record.enrol_totp,
            errors_title: "Please put this right",
            errors,
        },
    )
}

fn code_page(link: &str, draft: &SetupDraft, errors: Vec<FieldError>) -> Response<Body> {
    form_page(
        status(&errors),
        &view::SetupTotp {
            action: format!("/setup/{link}"),
            qr: qr::svg(&draft.uri),
            uri: &draft.uri,
            groups: qr::groups(draft.secret.reveal()),
            draft: &draft.sealed,
            errors_title: "That did not work",
            errors,
        },
    )
}

fn status(errors: &[FieldError]) -> StatusCode {
    if errors.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    }
}
