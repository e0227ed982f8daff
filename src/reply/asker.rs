//! Who asks, and in which form they can read an answer.

use http::{HeaderMap, HeaderName, Method, header};

use crate::intake::Inbound;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// A page for a person.
    Page,
    /// JSON for a script, a poll, a socket.
    Json,
}

/// Where a request says that it was made, as browsers tell with Fetch Metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// By this very origin.
    SameOrigin,
    /// By a sibling: under the same registrable domain, and no friend.
    SameSite,
    /// By somebody else.
    CrossSite,
    /// By the user: typed, bookmarked.
    User,
    /// It does not say, or says something that we do not know.
    Unsaid,
}

/// What an answer needs to know of a request.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The form to answer in.
    pub voice: Voice,
    /// Whether this is a top-level document navigation, which can be sent elsewhere.
    pub navigation: bool,
    /// By whom it was made.
    pub site: Site,
    /// The request's id; may be empty.
    pub id: String,
    /// The client's address, once it is known; for the access log.
    pub client: Option<std::net::IpAddr>,
    /// Over HTTP/2?
    pub http2: bool,
    /// The portal's origin, for buttons; empty: there is none.
    pub portal: String,
    /// Whether the portal itself was asked.
    pub at_portal: bool,
}

impl Asker {
    /// Reads it off a request's head.
    pub fn from_head(method: &Method, headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|it| it.to_str().ok());
        let reads_html = text(header::ACCEPT).is_some_and(|it| it.contains("text/html"));
        let safe = matches!(*method, Method::GET | Method::HEAD);
        let (page, navigation) = match text(MODE) {
            Some(mode) => {
                let navigates = mode == "navigate";
                let top = text(DEST).is_none_or(|it| it == "document");
                (navigates, navigates && top && safe)
            }
            None if text(X_REQUESTED_WITH).is_some() => (false, false),
            None => (reads_html, reads_html && safe),
        };
        Self {
            voice: if page { Voice::Page } else { Voice::Json },
            navigation,
            site: match text(SITE) {
                Some("same-origin") => Site::SameOrigin,
                Some("same-site") => Site::SameSite,
                Some("cross-site") => Site::CrossSite,
                Some("none") => Site::User,
                Some(_) | None => Site::Unsaid,
            },
            id: String::new(),
            client: None,
            http2: false,
            portal: String::new(),
            at_portal: false,
        }
    }

    /// Reads it off an admitted request.
    pub fn of(inbound: &Inbound) -> Self {
        let mut asker = Self::from_head(&inbound.method, &inbound.headers);
        if inbound.websocket {
            asker.voice = Voice::Json;
            asker.navigation = false;
        }
        asker.id.clone_from(&inbound.id);
        asker.http2 = inbound.http2;
        asker
    }

    /// The same, with the portal's origin (`https://auth.example.com:8443`) for its buttons.
    #[must_use]
    pub fn with_portal(mut self, origin: impl Into<String>) -> Self {
        self.portal = origin.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(method: &Method, lines: &[(&'static str, &'static str)]) -> Asker {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, http::HeaderValue::from_static(value));
        }
        Asker::from_head(method, &headers)
    }

    #[test]
    fn a_navigation_is_what_the_browser_says_it_is() {
        let top = [
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(asker(&Method::GET, &top).navigation);
        assert!(!asker(&Method::POST, &top).navigation);
        assert_eq!(asker(&Method::POST, &top).voice, Voice::Page);
        let frame = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
        assert!(!asker(&Method::GET, &frame).navigation);
        let fetch = [("sec-fetch-mode", "cors"), ("accept", "text/html")];
        assert!(!asker(&Method::GET, &fetch).navigation);
        assert_eq!(asker(&Method::GET, &fetch).voice, Voice::Json);
    }

    #[test]
    fn without_fetch_metadata_who_reads_html_navigates() {
        let html = [("accept", "text/html,*/*;q=0.8")];
        assert!(asker(&Method::GET, &html).navigation);
        assert!(!asker(&Method::GET, &[("accept", "*/*")]).navigation);
        let xhr = [
            ("accept", "text/html"),
            ("x-requested-with", "XMLHttpRequest"),
        ];
        assert_eq!(asker(&Method::GET, &xhr).voice, Voice::Json);
    }
}
