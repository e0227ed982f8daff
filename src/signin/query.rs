//! The two queries that carry a sign-in, read as strictly as we write them: each parameter
//! once, in our order, nothing beside it. All values are base64url, so nothing is decoded.

/// A query that we did not write: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query is not one that this gateway writes")]
pub struct Unclear;

/// The query of `GET /.portcullis/callback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallbackQuery<'a> {
    /// Sealed; for [`super::Signin::read_state`].
    pub state: &'a str,
    /// For [`super::Signin::claim`].
    pub ticket: &'a str,
}

/// Reads `state=...&ticket=...`.
pub fn callback_query(query: &str) -> Result<CallbackQuery<'_>, Unclear> {
    let (state, ticket) = query.split_once('&').ok_or(Unclear)?;
    Ok(CallbackQuery {
        state: value(state, "state")?,
        ticket: value(ticket, "ticket")?,
    })
}

/// Reads the query of the portal's `/login`: nothing, or `state=...`.
pub fn login_query(query: Option<&str>) -> Result<Option<&str>, Unclear> {
    match query {
        None | Some("") => Ok(None),
        Some(it) => value(it, "state").map(Some),
    }
}

fn value<'a>(pair: &'a str, name: &str) -> Result<&'a str, Unclear> {
    let value = pair
        .strip_prefix(name)
        .and_then(|it| it.strip_prefix('='))
        .ok_or(Unclear)?;
    let is_base64url = !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if is_base64url {
        Ok(value)
    } else {
        Err(Unclear)
    }
}
