//! Recovery codes: how many are left, and a new set, shown once.

use http::{HeaderValue, Response, StatusCode, header};

use super::super::{
    Answer, Visit, form, form_page,
    fresh::{self, Fresh},
    local, view,
};
use crate::{
    body::Body,
    reply::headers::{self, Referrer},
    secret::Secret,
};

const HERE: &str = "/account/recovery";

pub(in super::super) async fn show(visit: &mut Visit<'_>) -> Answer {
    let Ok(identity) = visit.identity else {
        return Ok(local("/login"));
    };
    let left = visit
        .desk
        .accounts
        .recovery_codes_left(&identity.profile().id)
        .await?;
    Ok(form_page(
        StatusCode::OK,
        &view::AccountRecovery {
            here: HERE,
            left,
            codes: Vec::new(),
        },
    ))
}

/// Makes a new set and shows it.
pub(in super::super) async fn make(visit: &mut Visit<'_>) -> Answer {
    form::read(visit).await?;
    let identity = match fresh::factor(visit, HERE).await? {
        Fresh::Given(identity) => identity,
        Fresh::Asked(detour) => return Ok(detour),
    };
    let user = &identity.profile().id;
    let codes = visit
        .desk
        .accounts
        .new_recovery_codes(user, &visit.actor())
        .await?;
    Ok(form_page(
        StatusCode::OK,
        &view::AccountRecovery {
            here: HERE,
            left: u32::try_from(codes.len()).unwrap_or(u32::MAX),
            codes: codes.iter().map(|it| it.reveal().to_owned()).collect(),
        },
    ))
}

/// Gives the codes that the page just showed as a text file: it sends them itself, since they
/// are kept nowhere. What is no code of the right form is left out.
pub(in super::super) async fn download(visit: &mut Visit<'_>) -> Answer {
    let form = form::read(visit).await?;
    let Ok(identity) = visit.identity else {
        return Ok(local("/login"));
    };
    let codes: Vec<&str> = form
        .text("codes")
        .split_ascii_whitespace()
        .filter(|it| {
            it.len() == 19
                && it
                    .bytes()
                    .all(|b| b == b'-' || b.is_ascii_lowercase() || b.is_ascii_digit())
        })
        .take(crate::account::CODES)
        .collect();
    let text = Secret::new(format!(
        "Recovery codes of {} at {}\r\nEach works once, in place of the second step.\r\n\r\n{}\r\n",
        identity.profile().name,
        visit.asker.portal,
        codes.join("\r\n")
    ));
    Ok(file(&text))
}

fn file(text: &Secret) -> Response<Body> {
    let mut response = Response::new(Body::full(text.reveal().to_owned()));
    headers::secure(&mut response, Referrer::None);
    let lines = response.headers_mut();
    lines.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    lines.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"recovery-codes.txt\""),
    );
    lines.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-store"),
    );
    response
}
