//! The one script of the portal's own pages, under a name that changes with it: it asks the
//! browser for keys.

use std::sync::LazyLock;

use http::{HeaderValue, Response, header};

use super::headers::{self, Referrer};
use crate::{body::Body, secret};

/// The script itself.
const SCRIPT: &str = include_str!("../../web/keys.js");

static PATH: LazyLock<String> = LazyLock::new(|| {
    let digest = secret::digest(SCRIPT);
    let short = digest.iter().take(8).map(|it| format!("{it:02x}"));
    format!("/.portcullis/keys-{}.js", short.collect::<String>())
});

/// Where it is, on the portal's host.
pub fn path() -> &'static str {
    &PATH
}

/// Answers with it. It is no secret and never changes under its name: it may be cached.
pub fn serve() -> Response<Body> {
    let mut response = Response::new(Body::full(SCRIPT));
    headers::secure(&mut response, Referrer::None);
    let headers = response.headers_mut();
    headers.remove(header::VARY);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/javascript; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    response
}
