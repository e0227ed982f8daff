//! The cookies that we set: host-only, `HttpOnly`, `Secure`, `Path=/`, `SameSite=Lax`. Never a
//! `Domain`.

use std::time::Duration;

use http::HeaderValue;

use super::ATTEMPT_LIFE;
use crate::clock::Timestamp;

/// The session token.
pub const SESSION: &str = "__Host-portcullis";

/// What all our other cookies' names begin with.
pub const PREFIX: &str = "__Host-portcullis-";

/// After [`PREFIX`]: the device id, on the portal.
pub const DEVICE: &str = "device";

/// After [`PREFIX`]: the tenant last met on a host.
pub const TENANT: &str = "tenant";

/// After [`PREFIX`]: a half-done login, on the host where it is done.
pub const HALF: &str = "half";

/// After [`PREFIX`], and before 8 hex digits: a sign-in attempt.
const ATTEMPT: &str = "login-";

/// After [`PREFIX`]: the name to begin with, on the portal, for who asked for it.
pub const NAME: &str = "name";

/// After [`PREFIX`]: a failed callback has begun again by itself, and does so only once.
pub const RETRIED: &str = "retried";

const YEAR: Duration = Duration::from_hours(365 * 24);

/// The session cookie; the browser keeps it until `login_exp`.
pub fn session(token: &str, login_exp: Timestamp, now: Timestamp) -> HeaderValue {
    build(SESSION, token, now.until(login_exp))
}

/// Takes the session cookie away.
pub fn session_gone() -> HeaderValue {
    build(SESSION, "", Duration::ZERO)
}

/// An attempt's cookie.
pub fn attempt(attempt: &str, sealed: &str) -> HeaderValue {
    build(&format!("{PREFIX}{ATTEMPT}{attempt}"), sealed, ATTEMPT_LIFE)
}

/// Takes an attempt's cookie away.
pub fn attempt_gone(attempt: &str) -> HeaderValue {
    gone(&format!("{ATTEMPT}{attempt}"))
}

/// The attempt that a cookie is about; `name` without [`PREFIX`].
pub fn attempt_of(name: &str) -> Option<&str> {
    name.strip_prefix(ATTEMPT)
        .filter(|it| it.len() == 8 && it.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// The device cookie, sealed, for a year.
pub(super) fn device(sealed: &str) -> HeaderValue {
    build(&format!("{PREFIX}{DEVICE}"), sealed, YEAR)
}

/// The name to begin with, sealed, for a year.
pub(super) fn name(sealed: &str) -> HeaderValue {
    build(&format!("{PREFIX}{NAME}"), sealed, YEAR)
}

/// The tenant last met, sealed, for a year.
pub(super) fn tenant(sealed: &str) -> HeaderValue {
    build(&format!("{PREFIX}{TENANT}"), sealed, YEAR)
}

/// A half-done login, sealed.
pub fn half(sealed: &str) -> HeaderValue {
    build(&format!("{PREFIX}{HALF}"), sealed, ATTEMPT_LIFE)
}

/// Notes that a failed callback has begun again by itself, for a minute.
pub fn retried() -> HeaderValue {
    build(&format!("{PREFIX}{RETRIED}"), "1", Duration::from_mins(1))
}

/// Takes the cookie `PREFIX` + `name` away.
pub fn gone(name: &str) -> HeaderValue {
    build(&format!("{PREFIX}{name}"), "", Duration::ZERO)
}

/// `value` is base64url or a JWT: nothing in it needs quoting. What would is left out.
fn build(name: &str, value: &str, life: Duration) -> HeaderValue {
    let age = life.as_secs();
    let text = format!("{name}={value}; Path=/; Max-Age={age}; Secure; HttpOnly; SameSite=Lax");
    let mut header = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

/// The one value of the cookie `PREFIX` + `name`; `None` when it is missing or came twice.
pub fn only<'a>(others: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = others.iter().filter(|(it, _)| it == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}
