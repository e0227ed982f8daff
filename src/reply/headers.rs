//! The headers that everything of ours carries.

use http::{HeaderValue, Response, header};

use crate::body::Body;

/// Nothing from elsewhere, no script at all, no frame around us. A form leads to ourselves
/// only: browsers hold redirects after it to this too, so the way onward from a form is a page
/// that refreshes, never a redirect to another host.
pub const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The same for the pages that ask the browser for keys: our own script, and what it asks us.
pub const SCRIPT_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; \
     style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; \
     base-uri 'none'";

/// What a page's links may tell of where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Referrer {
    /// Nothing.
    None,
    /// Nothing, except to ourselves: pages with a form need it, or browsers without Fetch
    /// Metadata send `Origin: null` with it, which is nobody's.
    Ourselves,
}

/// Puts them on.
pub fn secure(response: &mut Response<Body>, referrer: Referrer) {
    let referrer = match referrer {
        Referrer::None => "no-referrer",
        Referrer::Ourselves => "same-origin",
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "private, no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::REFERRER_POLICY, referrer),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.append(
        header::VARY,
        HeaderValue::from_static("Cookie, Authorization, Accept, Sec-Fetch-Mode"),
    );
}
