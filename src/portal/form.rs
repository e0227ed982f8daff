//! What a page or a script sends: read with a limit, a deadline and a media type.

use http::header;
use http_body_util::{BodyExt as _, Limited};

use super::Visit;
use crate::{body::Body, intake::Malformed, reply::Refusal, secret::Secret};

/// No form of ours is longer.
const LONGEST: usize = 16 << 10;

/// A form's fields, in the order that they came.
#[derive(Debug)]
pub struct Form(Vec<(String, Secret)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded` text.
    pub fn parse(text: &str) -> Self {
        let fields = form_urlencoded::parse(text.as_bytes());
        Self(
            fields
                .map(|(name, value)| (name.into_owned(), Secret::new(value)))
                .collect(),
        )
    }

    /// A field that came exactly once.
    pub fn one(&self, name: &str) -> Option<&Secret> {
        let mut found = self.0.iter().filter(|(it, _)| it == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// Its text; empty where it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.one(name).map_or("", Secret::reveal)
    }
}

/// Reads a page's form.
pub(super) async fn read(visit: &mut Visit<'_>) -> Result<Form, Refusal> {
    must_be(visit, "application/x-www-form-urlencoded")?;
    let bytes = bytes(visit).await?;
    Ok(Form::parse(bytes.reveal()))
}

/// Reads a script's JSON.
pub(super) async fn json<T: serde::de::DeserializeOwned>(
    visit: &mut Visit<'_>,
) -> Result<T, Refusal> {
    must_be(visit, "application/json")?;
    let bytes = bytes(visit).await?;
    serde_json::from_str(bytes.reveal()).map_err(|_| Refusal::Unreadable)
}

/// Refuses every other media type; a `text/plain` form cannot pass for JSON.
pub(super) fn must_be(visit: &Visit<'_>, kind: &str) -> Result<(), Refusal> {
    let mut lines = visit.inbound.headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(Refusal::MediaType);
    };
    let essence = line.to_str().unwrap_or_default().split(';').next();
    if essence.is_some_and(|it| it.trim().eq_ignore_ascii_case(kind)) {
        Ok(())
    } else {
        Err(Refusal::MediaType)
    }
}

async fn bytes(visit: &mut Visit<'_>) -> Result<Secret, Refusal> {
    let body = std::mem::replace(&mut visit.inbound.body, Body::Empty);
    let patience = visit.desk.config.limits.body_timeout;
    let collected = tokio::time::timeout(patience, Limited::new(body, LONGEST).collect())
        .await
        .map_err(|_| Refusal::Unreadable)?
        .map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Refusal::Malformed(Malformed::BodyTooLarge)
            } else {
                Refusal::Unreadable
            }
        })?;
    String::from_utf8(collected.to_bytes().into())
        .map(Secret::new)
        .map_err(|_| Refusal::Unreadable)
}
