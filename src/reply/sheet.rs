//! The one style sheet, under a name that changes with it.

use std::sync::LazyLock;

use http::{HeaderValue, Response, header};

use super::headers::{self, Referrer};
use crate::{body::Body, secret};

/// The sheet itself.
pub const SHEET: &str = include_str!("../../web/portal.css");

static PATH: LazyLock<String> = LazyLock::new(|| {
    let digest = secret::digest(SHEET);
    let short = digest.iter().take(8).map(|it| format!("{it:02x}"));
    format!("/.portcullis/portal-{}.css", short.collect::<String>())
});

/// Where it is, on every host.
pub fn path() -> &'static str {
    &PATH
}

/// Answers with it. It is no secret and never changes under its name: it may be cached.
pub fn serve() -> Response<Body> {
    let mut response = Response::new(Body::full(SHEET));
    headers::secure(&mut response, Referrer::None);
    let headers = response.headers_mut();
    headers.remove(header::VARY);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/css; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sheet_loads_nothing_from_elsewhere() {
        assert!(path().starts_with("/.portcullis/portal-"));
        assert!(!SHEET.contains("@import"));
        for (at, _) in SHEET.match_indices("url(") {
            let after = SHEET.get(at + 4..).unwrap();
            assert!(
                after.starts_with("\"data:image/svg+xml") || after.starts_with('#'),
                "{}",
                &after[..20]
            );
        }
    }
}
