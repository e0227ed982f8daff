//! Full name and e-mail address.

use http::{Response, StatusCode};

use super::super::{
    Answer, Visit, complete, form, form_page,
    fresh::{self, Fresh},
    local,
    view::{self, FieldError},
};
use crate::{account::ProfileChange, body::Body, store::Change};

const HERE: &str = "/account/profile";

pub(in super::super) async fn show(visit: &mut Visit<'_>) -> Answer {
    let Ok(identity) = visit.identity else {
        return Ok(local("/login"));
    };
    let user = complete::user_of(visit, identity).await?;
    let notice = (visit.query() == Some("done")).then_some("Saved. Every app is told from now on.");
    Ok(page(
        user.name.as_str(),
        (&user.display_name, &user.email),
        notice,
        Vec::new(),
    ))
}

pub(in super::super) async fn change(visit: &mut Visit<'_>) -> Answer {
    let form = form::read(visit).await?;
    // Apps know people by what this says.
    let identity = match fresh::factor(visit, HERE).await? {
        Fresh::Given(identity) => identity,
        Fresh::Asked(detour) => return Ok(detour),
    };
    let (id, name) = (&identity.profile().id, identity.profile().name.as_str());
    let (full, email) = (form.text("name"), form.text("email"));
    let accounts = &visit.desk.accounts;
    let changed = accounts
        .change_profile(id, full, email, &visit.actor())
        .await?;
    let (field, words) = match changed {
        ProfileChange::Done => {
            let change = Change::User(id.clone());
            visit.desk.sessions.apply(change).await?;
            return Ok(local("/account/profile?done"));
        }
        ProfileChange::NotPlain(not) => ("name", not.to_string()),
        ProfileChange::NoAddress => ("email", "That is no e-mail address.".to_owned()),
        ProfileChange::Taken => {
            let words = "Somebody else here has that address.";
            ("email", words.to_owned())
        }
    };
    let errors = vec![FieldError::new(field, words)];
    Ok(page(name, (full, email), None, errors))
}

fn page(
    username: &str,
    (display_name, email): (&str, &str),
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
        &view::AccountProfile {
            here: HERE,
            notice,
            username,
            display_name,
            email,
            errors_title: "Please put this right",
            errors,
        },
    )
}
