//! Raw request -> [`Inbound`]: request id, true client address, host, the raw path and beside
//! it the form decided on, forgeable and hop-by-hop headers removed (on open hosts only the
//! identity headers).
//!
//! In two steps, because how much is taken out depends on the host: [`admit()`] makes an
//! [`Inbound`] whose form can be trusted, with our credentials taken out; once `route` knows
//! where it goes, [`Inbound::strip`] takes out the headers that a visitor may not send there.

use std::net::IpAddr;

use http::{HeaderMap, Method, uri::PathAndQuery};

use crate::{body::Body, name::HostName};

mod admit;
pub mod client;
pub mod credentials;
pub mod handshake;
pub mod host;
pub mod path;
pub mod strip;
pub mod wire;

pub use admit::{IntakeFacts, admit};
pub use client::Forwarded;
pub use strip::Level;

/// How a request reached us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The TCP peer.
    pub peer: std::net::SocketAddr,
    /// Our own address it was sent to.
    pub local: std::net::SocketAddr,
    /// Over TLS? Then the server name the client asked for, if any.
    pub tls: Option<Option<HostName>>,
}

/// A request whose form can be trusted. Its *content* is still the visitor's.
#[derive(Debug)]
pub struct Inbound {
    /// Our id for it: 22 characters of base64url; forwarded as `X-Request-Id`.
    pub id: String,
    /// How it came.
    pub arrival: Arrival,
    /// The client's address: the peer's, or what a trusted proxy says.
    pub client: IpAddr,
    /// The scheme the client used, as far as we may believe: `https` or `http`.
    pub https: bool,
    /// The host asked for, canonical.
    pub host: HostName,
    /// The port in `Host`, where it is not the scheme's own.
    pub port: Option<u16>,
    /// Its method.
    pub method: Method,
    /// Path and query exactly as they came: what is forwarded.
    pub target: PathAndQuery,
    /// The path that decisions are made on; see [`path`].
    pub path: path::Decided,
    /// The headers that are left. `Host` and `Content-Length` are gone; hop-by-hop and forgeable
    /// ones after [`Inbound::strip`]; `Sec-WebSocket-*` of a handshake stay.
    pub headers: HeaderMap,
    /// What a trusted proxy in front of us says; `None` when the peer is not one.
    pub forwarded: Option<Forwarded>,
    /// The credentials of ours that it carried, taken out of the headers.
    pub credentials: Credentials,
    /// A WebSocket handshake, well formed?
    pub websocket: bool,
    /// HTTP/2 (or HTTP/1.x)?
    pub http2: bool,
    /// Its body.
    pub body: Body,
    /// hyper's own key to the connection, for an upgrade.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
}

impl Inbound {
    /// Whether it is for the gateway itself, which answers below `/.portcullis/` of every guarded host.
    pub fn is_ours(&self) -> bool {
        self.target.as_str().starts_with("/.portcullis/")
    }

    /// Takes out what may not go on to a host of this kind, and everything hop-by-hop. `keep`
    /// are the names (lower case) that the tenant is given back by the file. To be called once
    /// the destination is known and before anything is decided on headers.
    pub fn strip(&mut self, level: Level, keep: &[String]) {
        strip::strip(&mut self.headers, level, keep);
    }
}

/// What of ours a request carried. Only the bytes: nothing is verified yet.
#[derive(Debug, Default, Clone)]
pub struct Credentials {
    /// `__Host-portcullis`; `Err` when it came more than once.
    pub cookie: Option<Result<String, Repeated>>,
    /// An `Authorization: Bearer` JWT with one of our `typ`.
    pub bearer: Option<String>,
    /// `portcullis.token.<JWT>` among the subprotocols.
    pub subprotocol: Option<String>,
    /// Our other cookies (`__Host-portcullis-login-<8 hex>`, `__Host-portcullis-tenant`, ...),
    /// name without the prefix `__Host-portcullis-`, in order.
    pub others: Vec<(String, String)>,
}

/// A cookie of ours that came more than once: somebody tossed it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated;

/// What was wrong with a request's form: 400 and close, 421, 431 or 413.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No host, several, or one that is none.
    #[error("the Host is missing, repeated or malformed")]
    Host,
    /// The target's authority and `Host` differ.
    #[error("the request target and Host disagree")]
    Authority,
    /// TLS was made for another name. 421.
    #[error("this connection was made for another host")]
    Misdirected,
    /// A target that no honest client sends: `#`, control characters, broken percent-encoding.
    #[error("the request target is malformed")]
    Target,
    /// A path that could be read in two ways, on a host where that matters.
    #[error("the path could be read in two ways")]
    Ambiguous,
    /// `CONNECT`, `TRACE` and the like. 405.
    #[error("this method is not served")]
    Method,
    /// Both `Transfer-Encoding` and `Content-Length`, or one of them malformed or repeated.
    #[error("the message's length is ambiguous")]
    Framing,
    /// A WebSocket handshake that is none: wrong version, no key, a body.
    #[error("the WebSocket handshake is malformed")]
    Handshake,
    /// An Engine.IO query with an encoded or repeated key that matters.
    #[error("the Engine.IO query is malformed")]
    EngineIo,
    /// A header line or all of them too large, or too many. 431.
    #[error("the request's head is too large")]
    TooLarge,
    /// The body is larger than is let through. 413.
    #[error("the request's body is too large")]
    BodyTooLarge,
}
