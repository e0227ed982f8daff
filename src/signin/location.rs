//! `Location` values that lead back to a host of ours.

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::name::HostName;

/// What may not stand in a header or would end the path: everything else goes back as it came.
const KEPT_OUT: &AsciiSet = &CONTROLS.add(b' ').add(b'#');

/// `target` on this very host, as an absolute URL: a target may begin with `//` or `/\`, which
/// alone would lead elsewhere. A target that is no path becomes `/`.
///
/// `port` is the one in `Host`, where it is not 443.
pub fn absolute(host: &HostName, port: Option<u16>, target: &str) -> HeaderValue {
    let port = port.map(|it| format!(":{it}")).unwrap_or_default();
    let target = if target.starts_with('/') { target } else { "/" };
    // HostName keeps an IPv6 address without its brackets.
    let (open, close) = if host.as_str().contains(':') {
        ("[", "]")
    } else {
        ("", "")
    };
    let target = utf8_percent_encode(target, KEPT_OUT);
    HeaderValue::try_from(format!("https://{open}{host}{close}{port}{target}"))
        .unwrap_or_else(|_| HeaderValue::from_static("/"))
}
