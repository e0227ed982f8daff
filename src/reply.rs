//! Everything the gateway says in its own voice: `Refusal` -> status, page or JSON, security
//! headers.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    authn::NotSignedIn, body::Body, config::Policy, intake::Malformed, socket::quota::Full,
    store::StoreError,
};

pub mod asker;
pub mod headers;
pub mod json;
pub mod page;
pub mod redirect;
pub mod script;
pub mod sheet;
mod words;

pub use asker::{Asker, Voice};

/// Why a request got no further. One variant per thing that a person would want to be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its form cannot be trusted.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Nobody is signed in, and it is no navigation that could be sent to the portal.
    #[error("not signed in: {why}")]
    NotSignedIn {
        /// Why not.
        #[source]
        why: NotSignedIn,
        /// Where to sign in.
        login_url: Option<String>,
    },
    /// Signed in, and the route asks for more, or for something fresher.
    #[error("the route asks for {}", policy.as_str())]
    NotEnough {
        /// What it asks for.
        policy: Policy,
        /// Where to show it.
        login_url: Option<String>,
    },
    /// The policy says no; or, under a guarded root, nobody is there. The two look the same.
    #[error("the policy says no")]
    Forbidden,
    /// From a sibling or another site, or with a wrong `Origin`.
    #[error("from another site")]
    CrossSite,
    /// No such page of ours.
    #[error("no such page")]
    NotFound,
    /// Another method is needed.
    #[error("this method is not served here")]
    Method {
        /// For the `Allow` header.
        allow: &'static str,
    },
    /// The body is of another kind than is read here.
    #[error("this media type is not read here")]
    MediaType,
    /// What was sent could not be read.
    #[error("the form or JSON could not be read")]
    Unreadable,
    /// Too often.
    #[error("too often")]
    TooOften {
        /// Try again after.
        retry_after: Duration,
    },
    /// No socket more.
    #[error("{whose}")]
    TooManySockets {
        /// Whose number is used up.
        whose: Full,
        /// Try again after.
        retry_after: Duration,
    },
    /// A set-up link that does not work (any more).
    #[error("the set-up link does not work")]
    LinkGone,
    /// A sign-in that took too long, or whose state is not ours.
    #[error("the sign-in cannot be continued")]
    SignInLost {
        /// Where to begin again.
        again: String,
    },
    /// A sign-in came back twice without its cookie.
    #[error("the browser did not send the sign-in cookie back")]
    CookieTrouble {
        /// Where to begin again.
        again: String,
    },
    /// The tenant does not answer.
    #[error("the upstream cannot be reached")]
    Unreachable,
    /// The tenant took too long.
    #[error("the upstream took too long")]
    TimedOut,
    /// The tenant is stopped.
    #[error("the tenant is stopped")]
    Stopped,
    /// The tenant is starting.
    #[error("the tenant is starting")]
    Starting {
        /// Try again after.
        retry_after: Duration,
    },
    /// Too many people sign in at once.
    #[error("too many sign-ins at once")]
    Busy {
        /// Try again after.
        retry_after: Duration,
    },
    /// The store is away: nobody can sign in just now.
    #[error("the store is away")]
    StoreAway {
        /// Try again after.
        retry_after: Duration,
    },
}

/// How long to wait for a store that is away or busy before asking again.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::warn!(error = %error, source = ?std::error::Error::source(&error), "the store did not answer");
        Self::StoreAway {
            retry_after: STORE_PATIENCE,
        }
    }
}

impl Refusal {
    /// The status the caller sees. No wildcard: a new refusal must choose.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(malformed) => match malformed {
                Malformed::Misdirected => StatusCode::MISDIRECTED_REQUEST,
                Malformed::Method => StatusCode::METHOD_NOT_ALLOWED,
                Malformed::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Malformed::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                Malformed::Host
                | Malformed::Authority
                | Malformed::Target
                | Malformed::Ambiguous
                | Malformed::Framing
                | Malformed::Handshake
                | Malformed::EngineIo => StatusCode::BAD_REQUEST,
            },
            Self::NotSignedIn { .. } | Self::NotEnough { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::NotFound | Self::LinkGone => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unreadable | Self::SignInLost { .. } | Self::CookieTrouble { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::TooOften { .. } | Self::TooManySockets { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unreachable => StatusCode::BAD_GATEWAY,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Stopped | Self::Starting { .. } | Self::Busy { .. } | Self::StoreAway { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The `error` of the JSON answer.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => match malformed {
                Malformed::Misdirected => "misdirected",
                Malformed::Method => "method_not_allowed",
                Malformed::TooLarge => "head_too_large",
                Malformed::BodyTooLarge => "body_too_large",
                Malformed::Host
                | Malformed::Authority
                | Malformed::Target
                | Malformed::Ambiguous
                | Malformed::Framing
                | Malformed::Handshake
                | Malformed::EngineIo => "malformed",
            },
            Self::NotSignedIn { .. } => "not_signed_in",
            Self::NotEnough { .. } => "level",
            Self::Forbidden => "forbidden",
            Self::CrossSite => "cross_site",
            Self::NotFound => "not_found",
            Self::Method { .. } => "method_not_allowed",
            Self::MediaType => "media_type",
            Self::Unreadable => "unreadable",
            Self::TooOften { .. } => "too_often",
            Self::TooManySockets { .. } => "too_many_sockets",
            Self::LinkGone => "link",
            Self::SignInLost { .. } => "sign_in_lost",
            Self::CookieTrouble { .. } => "cookies",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Stopped => "stopped",
            Self::Starting { .. } => "starting",
            Self::Busy { .. } => "busy",
            Self::StoreAway { .. } => "store_away",
        }
    }

    /// When to try again, in whole seconds, at least one.
    pub fn retry_secs(&self) -> Option<u64> {
        if let Self::TooOften { retry_after }
        | Self::TooManySockets { retry_after, .. }
        | Self::Starting { retry_after }
        | Self::Busy { retry_after }
        | Self::StoreAway { retry_after } = self
        {
            let up = u64::from(retry_after.subsec_nanos() > 0);
            Some((retry_after.as_secs() + up).max(1))
        } else {
            None
        }
    }

    /// Where to sign in, if that would help.
    pub fn login_url(&self) -> Option<&str> {
        if let Self::NotSignedIn { login_url, .. } | Self::NotEnough { login_url, .. } = self {
            login_url.as_deref()
        } else {
            None
        }
    }

    /// Whether nothing more is read from this connection: what follows may be smuggled.
    fn closes(&self) -> bool {
        matches!(self, Self::Malformed(_)) && self.status() != StatusCode::MISDIRECTED_REQUEST
    }
}

/// Tells the log why, and the caller only as much as they need, in the form that they read.
pub fn refuse(refusal: &Refusal, asker: &Asker) -> Response<Body> {
    let status = refusal.status();
    tracing::info!(status = status.as_u16(), id = asker.id, reason = %refusal, "refused");
    let mut response = match asker.voice {
        Voice::Page => page::refusal(refusal, asker),
        Voice::Json => json::refusal(refusal),
    };
    let headers = response.headers_mut();
    if let Some(secs) = refusal.retry_secs() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    if let Refusal::Method { allow } = refusal {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if refusal.closes() && !asker.http2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if asker.at_portal && status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
        // Too many cookies even for the portal: no form could be posted to clear them.
        headers.insert("clear-site-data", HeaderValue::from_static("\"cookies\""));
    }
    response
}

#[cfg(test)]
mod tests;
