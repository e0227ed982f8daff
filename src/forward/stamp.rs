//! What the gateway says of a request to its upstream. `intake` took out what a visitor may not
//! say; here it is said.

use std::{
    fmt::{Display, Write as _},
    net::IpAddr,
    sync::Arc,
};

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    body::Body,
    intake::{Inbound, Level},
    session::Profile,
};

/// What the gateway says of one request.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// What kind of host it goes to: which table of headers the upstream gets, and what its
    /// answer is cleaned of. The level of [`Inbound::strip`].
    pub level: Level,
    /// Whose request it is; `None`: nobody's, and no identity header is sent.
    pub who: Option<Arc<Profile>>,
    /// The assertion about them.
    pub assertion: Option<HeaderValue>,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_SSL: HeaderName = HeaderName::from_static("x-forwarded-ssl");
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
const REMOTE_EMAIL: HeaderName = HeaderName::from_static("remote-email");
const REMOTE_NAME: HeaderName = HeaderName::from_static("remote-name");
const REMOTE_GROUPS: HeaderName = HeaderName::from_static("remote-groups");
const X_FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
const X_FORWARDED_GROUPS: HeaderName = HeaderName::from_static("x-forwarded-groups");
const X_USER_ROLE: HeaderName = HeaderName::from_static("x-user-role");
/// Carries the assertion.
pub const ASSERTION: HeaderName = HeaderName::from_static("x-portcullis-assertion");

impl Stamp {
    /// The headers as the upstream gets them, and the body.
    pub(super) fn onto(self, inbound: Inbound) -> (HeaderMap, Body) {
        let Inbound { mut headers, .. } = inbound;
        headers.remove(header::EXPECT);
        headers.reserve(LINES);
        let mut text = Text(BytesMut::with_capacity(ROOM));
        let peer = inbound.arrival.peer.ip().to_canonical();
        let port = inbound.arrival.local.port();
        let told = inbound.forwarded.unwrap_or_default();
        let host = inbound.host.as_str();

        text.host(host);
        if !matches!(port, 80 | 443) {
            text.put(":").show(port);
        }
        text.set(&mut headers, header::HOST);

        let client = text.show(inbound.client).take();
        match (&told.chain, &client) {
            (Some(chain), _) => text
                .put(chain)
                .put(", ")
                .show(peer)
                .set(&mut headers, X_FORWARDED_FOR),
            (None, Some(client)) if peer == inbound.client => {
                headers.insert(X_FORWARDED_FOR, client.clone());
            }
            (None, _) => text.show(peer).set(&mut headers, X_FORWARDED_FOR),
        }
        match &told.host {
            Some(told) => text.put(told),
            None => text.host(host),
        };
        text.set(&mut headers, X_FORWARDED_HOST);
        let proto = HeaderValue::from_static(if inbound.https { "https" } else { "http" });
        headers.insert(X_FORWARDED_PROTO, proto);
        let port = told.port.unwrap_or(port);
        headers.insert(X_FORWARDED_PORT, HeaderValue::from(port));
        match self.level {
            Level::Guarded => {
                text.forwarded(inbound.client, client.as_ref(), host, inbound.https);
                text.set(&mut headers, header::FORWARDED);
                text.put(&inbound.id).set(&mut headers, X_REQUEST_ID);
            }
            Level::OpenHost | Level::OpenMode => {
                let ssl = HeaderValue::from_static(if inbound.https { "on" } else { "off" });
                headers.insert(X_FORWARDED_SSL, ssl);
                text.put(inbound.target.as_str())
                    .set(&mut headers, X_ORIGINAL_URI);
            }
        }
        if let Some(client) = client {
            headers.insert(X_REAL_IP, client);
        }
        if let Some(who) = &self.who {
            identify(&mut headers, &mut text, who);
        }
        if let Some(assertion) = self.assertion {
            headers.insert(ASSERTION, assertion);
        }
        (headers, inbound.body)
    }
}

fn identify(headers: &mut HeaderMap, text: &mut Text, who: &Profile) {
    if let Some(name) = text.put(who.name.as_str()).take() {
        headers.insert(REMOTE_USER, name.clone());
        headers.insert(X_FORWARDED_USER, name);
    }
    if !who.email.is_empty() {
        text.put(&who.email).set(headers, REMOTE_EMAIL);
    }
    if !who.display_name.is_empty() {
        text.put(&who.display_name).set(headers, REMOTE_NAME);
    }
    let mut comma = "";
    for group in &who.groups {
        text.put(comma).put(group.as_str());
        comma = ",";
    }
    if let Some(groups) = text.take().filter(|it| !it.is_empty()) {
        headers.insert(REMOTE_GROUPS, groups.clone());
        headers.insert(X_FORWARDED_GROUPS, groups.clone());
        headers.insert(X_USER_ROLE, groups);
    }
}

/// What the values of one request take, in bytes, if nothing in it is long.
const ROOM: usize = 512;

/// How many header lines are added at most, or nearly.
const LINES: usize = 18;

/// Writes header values one after the other into one buffer.
struct Text(BytesMut);

impl Text {
    fn put(&mut self, text: &str) -> &mut Self {
        self.0.put_slice(text.as_bytes());
        self
    }

    /// A number or an address. (Writing to a buffer that grows cannot fail.)
    fn show(&mut self, it: impl Display) -> &mut Self {
        let _ = write!(self.0, "{it}");
        self
    }

    /// A host; an IPv6 address in its brackets.
    fn host(&mut self, host: &str) -> &mut Self {
        if host.contains(':') {
            self.put("[").put(host).put("]")
        } else {
            self.put(host)
        }
    }

    /// RFC 7239; `shown` is the client's address as it is written already.
    fn forwarded(
        &mut self,
        client: IpAddr,
        shown: Option<&HeaderValue>,
        host: &str,
        https: bool,
    ) -> &mut Self {
        let shown = shown.map_or(&b""[..], HeaderValue::as_bytes);
        let (before, after) = match client {
            IpAddr::V4(_) => ("for=", ""),
            IpAddr::V6(_) => ("for=\"[", "]\""),
        };
        self.put(before);
        self.0.put_slice(shown);
        self.put(after);
        if host.contains(':') {
            self.put(";host=\"").host(host).put("\"");
        } else {
            self.put(";host=").put(host);
        }
        self.put(if https { ";proto=https" } else { ";proto=http" })
    }

    /// What was written. Names and addresses are always a header's value; a display name that
    /// is none is left out.
    fn take(&mut self) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.0.split().freeze()).ok()
    }

    fn set(&mut self, headers: &mut HeaderMap, name: HeaderName) {
        match self.take() {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    }
}
