//! Answers in JSON.

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::{
    Refusal,
    headers::{self, Referrer},
    words,
};
use crate::body::Body;

/// An error as the contract writes it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Fault<'a> {
    /// For programs.
    pub error: &'a str,
    /// For people.
    pub message: &'a str,
    /// Where to sign in, if that would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_url: Option<&'a str>,
    /// What the route asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<&'a str>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// Any value as an answer of ours.
pub fn answer(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let bytes = serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec());
    let mut response = Response::new(Body::full(bytes));
    *response.status_mut() = status;
    headers::secure(&mut response, Referrer::None);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

pub(super) fn refusal(refusal: &Refusal) -> Response<Body> {
    let message = words::message(refusal);
    let level = if let Refusal::NotEnough { policy, .. } = refusal {
        Some(policy.as_str())
    } else {
        None
    };
    answer(
        refusal.status(),
        &Fault {
            error: refusal.code(),
            message,
            login_url: refusal.login_url(),
            level,
            retry_after: refusal.retry_secs(),
        },
    )
}
