//! Strip, then stamp: the headers that only the gateway may set, from the permit.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{intake::Inbound, session::Profile};

/// Identity headers, as Authelia's, oauth2-proxy's and uibuilder's users know them.
const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
const REMOTE_EMAIL: HeaderName = HeaderName::from_static("remote-email");
const REMOTE_NAME: HeaderName = HeaderName::from_static("remote-name");
const REMOTE_GROUPS: HeaderName = HeaderName::from_static("remote-groups");
const X_FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
const X_FORWARDED_GROUPS: HeaderName = HeaderName::from_static("x-forwarded-groups");
const X_USER_ROLE: HeaderName = HeaderName::from_static("x-user-role");
/// The signed assertion.
const ASSERTION: HeaderName = HeaderName::from_static("x-portcullis-assertion");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_SSL: HeaderName = HeaderName::from_static("x-forwarded-ssl");
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Sets where the request came from. The headers were stripped before.
pub fn origin(headers: &mut HeaderMap, inbound: &Inbound, guarded: bool) {
    let scheme = if inbound.https { "https" } else { "http" };
    let standard = if inbound.https { 443 } else { 80 };
    let client = inbound.client.to_string();
    let host = match inbound.port {
        Some(port) if port != standard => format!("{}:{port}", bracketed(inbound.host.as_str())),
        _ => bracketed(inbound.host.as_str()),
    };
    let forwarded = format!(
        "for={};host=\"{host}\";proto={scheme}",
        node(inbound.client)
    );
    set(headers, header::HOST, &host);
    set(headers, X_FORWARDED_HOST, &host);
    set(headers, X_REAL_IP, &client);
    set(headers, X_FORWARDED_FOR, &client);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    headers.insert(
        X_FORWARDED_PORT,
        HeaderValue::from(inbound.port.unwrap_or(standard)),
    );
    if guarded {
        set(headers, header::FORWARDED, &forwarded);
        set(headers, X_REQUEST_ID, &inbound.id);
    } else {
        // nginx-proxy's own two.
        let ssl = if inbound.https { "on" } else { "off" };
        headers.insert(X_FORWARDED_SSL, HeaderValue::from_static(ssl));
        set(headers, X_ORIGINAL_URI, &inbound.target);
    }
}

/// Sets who it is.
pub fn identity(headers: &mut HeaderMap, profile: &Profile, assertion: Option<HeaderValue>) {
    let groups = profile
        .groups
        .iter()
        .map(crate::name::UserName::as_str)
        .collect::<Vec<_>>()
        .join(",");
    set(headers, REMOTE_USER, profile.name.as_str());
    set(headers, X_FORWARDED_USER, profile.name.as_str());
    set(headers, REMOTE_EMAIL, &profile.email);
    set(headers, REMOTE_NAME, &profile.display_name);
    set(headers, REMOTE_GROUPS, &groups);
    set(headers, X_FORWARDED_GROUPS, &groups);
    set(headers, X_USER_ROLE, &groups);
    if let Some(assertion) = assertion {
        headers.insert(ASSERTION, assertion);
    }
}

/// Sets one, or leaves it out where there is nothing to say. (What cannot stand in a header is
/// refused where it is entered; should it get here all the same, it is not sent.)
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_bytes(value.as_bytes()) {
        Ok(value) if !value.is_empty() => {
            headers.insert(name, value);
        }
        _ => {}
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// An address as RFC 7239, section 6 writes it.
fn node(client: IpAddr) -> String {
    match client {
        IpAddr::V4(it) => it.to_string(),
        IpAddr::V6(it) => format!("\"[{it}]\""),
    }
}
