//! Between siblings: tenants are same-site with one another, so `SameSite` protects nothing.
//! What a browser sends by itself (the cookie) counts only where the page that made it ask is
//! this host's own, or the person typed or followed a link.

use http::{HeaderMap, HeaderName, Method, header::ORIGIN};

use crate::{
    authn::Shown,
    authz::{Ask, Kind, is_sent_by_itself},
};

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// `Sec-Fetch-Site` (W3C Fetch Metadata).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// This very origin.
    SameOrigin,
    /// A sibling.
    SameSite,
    /// Anybody else.
    CrossSite,
    /// The person: typed, bookmarked.
    None,
}

/// What the browser says of who made it ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetch {
    /// `Sec-Fetch-Site`, where it was sent and understood.
    pub site: Option<Site>,
    /// Whether any Fetch Metadata was sent, understood or not.
    pub present: bool,
    /// `Sec-Fetch-Mode: navigate` with `Sec-Fetch-Dest: document`.
    pub top_level: bool,
    /// `Origin`; `Some("")` stands for one that was repeated or unreadable.
    pub origin: Option<String>,
}

impl Fetch {
    /// Reads the headers. A header that came twice is worse than none.
    pub fn read(headers: &HeaderMap) -> Self {
        let one = |name: HeaderName| {
            let mut all = headers.get_all(name).iter();
            match (all.next(), all.next()) {
                (None, _) => None,
                (Some(value), None) => Some(value.to_str().unwrap_or_default()),
                (Some(_), Some(_)) => Some(""),
            }
        };
        let site = one(SITE);
        Self {
            site: match site {
                Some("same-origin") => Some(Site::SameOrigin),
                Some("same-site") => Some(Site::SameSite),
                Some("cross-site") => Some(Site::CrossSite),
                Some("none") => Some(Site::None),
                _ => None,
            },
            present: site.is_some(),
            top_level: one(MODE) == Some("navigate") && one(DEST) == Some("document"),
            origin: one(ORIGIN).map(str::to_owned),
        }
    }
}

/// Whether a request that carries the user's cookie was made by this host's own page, by the
/// person, or by an origin that the file allows.
pub fn is_own(ask: &Ask, shown: Shown, allowed: &[String]) -> bool {
    if !is_sent_by_itself(shown) {
        // Whoever can put a token into a header or a subprotocol holds it. An Origin that is
        // there must still fit.
        return ask.kind != Kind::Socket
            || ask
                .fetch
                .origin
                .as_deref()
                .is_none_or(|it| is_ours(it, ask, allowed));
    }
    let origin = ask.fetch.origin.as_deref();
    if ask.kind == Kind::Socket {
        return origin.is_some_and(|it| is_ours(it, ask, allowed));
    }
    if origin.is_some_and(|it| allowed.iter().any(|one| one == it)) {
        return true;
    }
    let safe = ask.method == Method::GET || ask.method == Method::HEAD;
    if ask.fetch.present {
        return match ask.fetch.site {
            Some(Site::SameOrigin | Site::None) => true,
            Some(Site::SameSite | Site::CrossSite) => safe && ask.fetch.top_level,
            None => false,
        };
    }
    // A browser without Fetch Metadata, or no browser.
    let unsafe_method = !safe && ask.method != Method::OPTIONS;
    match origin {
        Some(it) if unsafe_method || ask.kind == Kind::Polling => is_ours(it, ask, allowed),
        None => !unsafe_method,
        Some(_) => true,
    }
}

fn is_ours(origin: &str, ask: &Ask, allowed: &[String]) -> bool {
    origin == ask.own_origin || allowed.iter().any(|it| it == origin)
}
