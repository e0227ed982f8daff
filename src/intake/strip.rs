//! Headers that a visitor may not send.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

/// How much is taken out; it depends on where the request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A guarded host: everything that only the gateway may say.
    Guarded,
    /// An open host of a guarded gateway: the identity headers; otherwise as nginx-proxy does it.
    OpenHost,
    /// Open mode: as nginx-proxy does it.
    OpenMode,
}

/// Takes out of `headers` what `level` says, and at every level what is hop-by-hop. `keep` are
/// names (lower case) that a tenant is given back.
pub(super) fn strip(headers: &mut HeaderMap, level: Level, keep: &[String]) {
    nominated(headers);
    let mut gone: Vec<HeaderName> = Vec::new();
    for name in headers.keys() {
        if is_hop_by_hop(name) || is_forged(name.as_str(), level, keep) {
            gone.push(name.clone());
        }
    }
    for name in gone {
        headers.remove(name);
    }
}

/// Takes out what the `Connection` lines name, except what requests are judged by: naming those
/// must not make them go away.
fn nominated(headers: &mut HeaderMap) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    let names: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|it| !it.eq_ignore_ascii_case("close") && !it.eq_ignore_ascii_case("keep-alive"))
        .filter_map(|it| it.parse().ok())
        .filter(|it: &HeaderName| !is_end_to_end(it.as_str()))
        .collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_end_to_end(name: &str) -> bool {
    matches!(
        name,
        "host" | "cookie" | "authorization" | "origin" | "referer" | "range" | "service-worker"
    ) || name.starts_with("sec-")
        || name.starts_with("content-")
        || name.starts_with("access-control-")
}

/// RFC 9110, section 7.6.1, and what goes with it.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

fn is_forged(name: &str, level: Level, keep: &[String]) -> bool {
    let odd = name.bytes().any(|it| matches!(it, b'_' | b'.'));
    let plain: Cow<'_, str> = if odd {
        name.replace(['_', '.'], "-").into()
    } else {
        name.into()
    };
    let forged = match level {
        Level::Guarded => is_reserved(&plain) || (odd && is_ruling(&plain)),
        // nginx drops names with other than letters, digits and hyphens.
        Level::OpenHost => is_identity(&plain) || plain == "proxy" || !is_tame(name),
        Level::OpenMode => plain == "proxy" || !is_tame(name),
    };
    forged && (is_identity(&plain) || !keep.iter().any(|it| it == name))
}

fn is_tame(name: &str) -> bool {
    name.bytes()
        .all(|it| it.is_ascii_alphanumeric() || it == b'-')
}

/// What tells tenants who somebody is.
pub(crate) fn is_identity(name: &str) -> bool {
    matches!(
        name,
        "remote-user"
            | "remote-email"
            | "remote-name"
            | "remote-groups"
            | "x-forwarded-user"
            | "x-forwarded-groups"
            | "x-user-role"
    ) || name.starts_with("x-portcullis-")
}

/// What only a gateway may say, and what other gateways say. `name` has only hyphens.
fn is_reserved(name: &str) -> bool {
    // Most headers begin otherwise.
    if !matches!(
        name.as_bytes().first(),
        Some(b'x' | b'r' | b'f' | b'c' | b'd' | b't' | b'p')
    ) {
        return false;
    }
    is_identity(name)
        || [
            "x-remote-",
            "x-forwarded-",
            "x-auth-request-",
            "x-auth-user",
            "x-authentik-",
            "x-webauth-",
            "cf-access-",
        ]
        .iter()
        .any(|it| name.starts_with(it))
        || matches!(
            name,
            "x-user-id"
                | "x-user-email"
                | "x-user-name"
                | "forwarded"
                | "forwarded-for"
                | "x-forwarded"
                | "cf-connecting-ip"
                | "do-connecting-ip"
                | "true-client-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-real-ip"
                | "fastly-client-ip"
                | "x-appengine-user-ip"
                | "x-original-url"
                | "x-original-uri"
                | "x-rewrite-url"
                | "x-request-id"
                | "proxy"
        )
}

/// Names that rule a message: a look-alike (`Content_Length`) is taken out.
fn is_ruling(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "transfer-encoding"
            | "connection"
            | "upgrade"
            | "cookie"
            | "authorization"
            | "trailer"
            | "keep-alive"
            | "origin"
    ) || name.starts_with("sec-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(lines: &[(&'static str, &'static str)], level: Level, keep: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        let keep: Vec<String> = keep.iter().map(|it| (*it).to_owned()).collect();
        strip(&mut headers, level, &keep);
        let mut left: Vec<String> = headers.keys().map(|it| it.as_str().to_owned()).collect();
        left.sort();
        left
    }

    #[test]
    fn h1_h6_h10_nothing_of_the_strip_list_is_left() {
        for name in [
            "Remote-User",
            "Remote-Email",
            "Remote-Name",
            "Remote-Groups",
            "X-Portcullis-Assertion",
            "X-Portcullis-Anything",
            "X-Remote-User",
            "X-User-Id",
            "X-User-Email",
            "X-User-Name",
            "X-User-Role",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-User",
            "X-Forwarded-Groups",
            "X-Forwarded-Uri",
            "X-Forwarded-Prefix",
            "Forwarded",
            "Forwarded-For",
            "X-Forwarded",
            "X-Auth-Request-Email",
            "X-Authentik-Username",
            "X-WebAuth-User",
            "Cf-Access-Jwt-Assertion",
            "CF-Connecting-IP",
            "DO-Connecting-IP",
            "True-Client-IP",
            "X-Client-IP",
            "X-Cluster-Client-IP",
            "X-Real-IP",
            "Fastly-Client-IP",
            "X-Appengine-User-IP",
            "X-Original-URL",
            "X-Original-URI",
            "X-Rewrite-URL",
            "X-Request-Id",
            "Proxy",
        ] {
            assert_eq!(left(&[(name, "x")], Level::Guarded, &[]), [""; 0], "{name}");
        }
    }

    #[test]
    fn h2_no_spelling_gets_through() {
        for name in [
            "Remote_User",
            "remote.user",
            "REMOTE-USER",
            "X_Forwarded_User",
            "X.Auth.User",
            "X_Portcullis.Assertion",
            "x_real_ip",
            "Content_Length",
            "Transfer.Encoding",
        ] {
            let twice = [(name, "a"), (name, "b"), ("accept", "*/*")];
            assert_eq!(left(&twice, Level::Guarded, &[]), ["accept"], "{name}");
        }
        assert_eq!(
            left(&[("x_remote_control", "x")], Level::Guarded, &[]),
            [""; 0]
        );
        assert_eq!(
            left(&[("my_header", "x")], Level::Guarded, &[]),
            ["my_header"]
        );
    }

    #[test]
    fn h4_connection_takes_out_what_it_names_but_not_what_we_judge_by() {
        let lines = [
            ("connection", "close, X-Mine, Cookie"),
            ("connection", "Origin, Sec-Fetch-Site"),
            ("connection", "Content-Type, Access-Control-Request-Method"),
            ("content-type", "text/plain"),
            ("access-control-request-method", "PUT"),
            ("close", "a word of the list, and no name"),
            ("x-mine", "1"),
            ("cookie", "a=b"),
            ("origin", "https://a"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(
            left(&lines, Level::Guarded, &[]),
            [
                "access-control-request-method",
                "close",
                "content-type",
                "cookie",
                "origin",
                "sec-fetch-site"
            ]
        );
    }

    #[test]
    fn s7_hop_by_hop_headers_stay_here() {
        let lines = [
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("proxy-connection", "x"),
        ];
        for level in [Level::Guarded, Level::OpenHost, Level::OpenMode] {
            assert_eq!(left(&lines, level, &[]), [""; 0]);
        }
    }

    #[test]
    fn open_hosts_follow_nginx_proxy() {
        let lines = [
            ("remote-user", "x"),
            ("x-forwarded-for", "x"),
            ("proxy", "x"),
            ("x_y", "x"),
        ];
        assert_eq!(left(&lines, Level::OpenHost, &[]), ["x-forwarded-for"]);
        assert_eq!(
            left(&lines, Level::OpenMode, &[]),
            ["remote-user", "x-forwarded-for"]
        );
    }

    #[test]
    fn a_tenant_may_be_given_a_header_back_but_never_ours() {
        let lines = [("x-user-id", "7"), ("x-portcullis-assertion", "x")];
        let keep = ["x-user-id", "x-portcullis-assertion"];
        assert_eq!(left(&lines, Level::Guarded, &keep), ["x-user-id"]);
        // And no other.
        let lines = [("x-user-id", "7"), ("x-user-email", "a@b.example")];
        assert_eq!(left(&lines, Level::Guarded, &["x-user-id"]), ["x-user-id"]);
    }
}
