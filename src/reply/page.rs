//! Answers as pages.

use askama::Template;
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    Asker, Refusal,
    headers::{self, Referrer},
    words::{self, Words},
};
use crate::body::Body;

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage<'a> {
    title: &'a str,
    gate: &'static str,
    happened: &'a str,
    next: &'a [String],
    button: Option<&'a Button>,
    retry_secs: Option<u64>,
    status: String,
    id: &'a str,
}

/// What a person can press.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// Where it leads.
    pub href: String,
    /// What it says.
    pub text: &'static str,
    /// Whether it is a form's button, and no link.
    pub post: bool,
}

/// A page of ours, rendered.
pub fn answer(status: StatusCode, page: &impl Template, referrer: Referrer) -> Response<Body> {
    html(status, render(page), referrer)
}

/// Renders a page. Writing to a string cannot fail; were it to, the status says enough.
pub fn render(page: &impl Template) -> String {
    page.render().unwrap_or_default()
}

/// A rendered page as an answer.
pub fn html(status: StatusCode, html: String, referrer: Referrer) -> Response<Body> {
    let mut response = Response::new(Body::full(html));
    *response.status_mut() = status;
    headers::secure(&mut response, referrer);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    response
}

pub(super) fn refusal(refusal: &Refusal, asker: &Asker) -> Response<Body> {
    html(
        refusal.status(),
        refusal_html(refusal, asker),
        Referrer::Ourselves,
    )
}

/// The page that tells of a refusal.
pub fn refusal_html(refusal: &Refusal, asker: &Asker) -> String {
    let status = refusal.status();
    let Words {
        title,
        gate,
        happened,
        next,
        button,
    } = words::of(refusal, asker);
    // Waiting rooms look again by themselves; a lock-out does not.
    let waits = matches!(
        refusal,
        Refusal::Starting { .. } | Refusal::StoreAway { .. }
    );
    render(&RefusalPage {
        title,
        gate,
        happened: &happened,
        next: &next,
        button: button.as_ref(),
        retry_secs: refusal.retry_secs().filter(|_| waits && asker.navigation),
        status: format!(
            "{} {}",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default()
        ),
        id: &asker.id,
    })
}
