//! Our own credentials, taken out of a request so that no tenant ever sees them.

use http::{HeaderMap, HeaderValue, header};

use crate::intake::{Credentials, Repeated};

/// The session cookie's name.
pub const COOKIE: &str = "__Host-portcullis";
/// What our other cookies' names begin with.
pub const OTHERS: &str = "__Host-portcullis-";
/// The subprotocol that we select.
pub const SUBPROTOCOL: &str = "portcullis";
/// The subprotocol that carries a token.
pub const SUBPROTOCOL_TOKEN: &str = "portcullis.token.";

/// Takes all of them out. `is_ours` tells whether an `Authorization` value carries one of ours.
pub(super) fn take(headers: &mut HeaderMap, is_ours: fn(&str) -> bool) -> Credentials {
    let mut found = Credentials::default();
    take_cookies(headers, &mut found);
    take_bearer(headers, is_ours, &mut found);
    take_subprotocol(headers, &mut found);
    found
}

/// HTTP/2 may send a cookie a line; towards HTTP/1 they are one (RFC 9113, section 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

fn take_cookies(headers: &mut HeaderMap, found: &mut Credentials) {
    let Some(line) = headers.get(header::COOKIE) else {
        return;
    };
    let (mut kept, mut first, mut ours) = (Vec::new(), true, false);
    let mut rest = Some(line.as_bytes());
    while let Some(crumbs) = rest {
        let (crumb, others) = cut(crumbs, b';');
        rest = others;
        if is_cookie_of_ours(crumb, found) {
            ours = true;
        } else if first {
            first = false;
            kept.extend_from_slice(crumb.trim_ascii_start());
        } else {
            kept.push(b';');
            kept.extend_from_slice(crumb);
        }
    }
    if !ours {
        return;
    }
    match HeaderValue::from_bytes(&kept) {
        Ok(value) if !value.is_empty() => drop(headers.insert(header::COOKIE, value)),
        _ => drop(headers.remove(header::COOKIE)),
    }
}

/// What stands before the first `at`, and what after it.
fn cut(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, bytes).and_then(|it| bytes.split_at_checked(it)) {
        Some((before, after)) => (before, after.get(1..)),
        None => (bytes, None),
    }
}

/// Takes note of a cookie of ours; what is not UTF-8 is noted as empty, and good for nothing.
fn is_cookie_of_ours(crumb: &[u8], found: &mut Credentials) -> bool {
    let (name, value) = cut(crumb, b'=');
    let name = name.trim_ascii();
    let value = value.unwrap_or_default().trim_ascii();
    let value = || std::str::from_utf8(value).unwrap_or_default().to_owned();
    if name == COOKIE.as_bytes() {
        found.cookie = Some(match found.cookie {
            None => Ok(value()),
            Some(_) => Err(Repeated),
        });
        return true;
    }
    match name.strip_prefix(OTHERS.as_bytes()) {
        Some(name) => {
            let name = String::from_utf8_lossy(name).into_owned();
            found.others.push((name, value()));
            true
        }
        None => false,
    }
}

fn take_bearer(headers: &mut HeaderMap, is_ours: fn(&str) -> bool, found: &mut Credentials) {
    // (Other bytes behind one of ours do not make it somebody else's.)
    let ours = |it: &HeaderValue| is_ours(&String::from_utf8_lossy(it.as_bytes()));
    if !headers.get_all(header::AUTHORIZATION).iter().any(ours) {
        return;
    }
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    found.bearer = Some(match (lines.next(), lines.next()) {
        (Some(only), None) => {
            let text = only.to_str().unwrap_or_default();
            let token = text.split_once(' ').map_or("", |(_, token)| token);
            token.trim().to_owned()
        }
        // More than one: none of them is good.
        _ => String::new(),
    });
    headers.remove(header::AUTHORIZATION);
}

fn take_subprotocol(headers: &mut HeaderMap, found: &mut Credentials) {
    let name = header::SEC_WEBSOCKET_PROTOCOL;
    if !headers.contains_key(&name) {
        return;
    }
    // Subprotocols are tokens (RFC 6455, section 4.1): a line of other bytes offers none, and does
    // not go on, for one of ours may stand in it.
    let is_odd = |it: &HeaderValue| it.to_str().is_err();
    let odd = headers.get_all(&name).iter().any(is_odd);
    let ours = |it: &str| it == SUBPROTOCOL || it.starts_with(SUBPROTOCOL_TOKEN);
    let offers: Vec<String> = headers
        .get_all(&name)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .map(|it| it.trim().to_owned())
        .filter(|it| !it.is_empty())
        .collect();
    if !odd && !offers.iter().any(|it| ours(it)) {
        return;
    }
    for token in offers
        .iter()
        .filter_map(|it| it.strip_prefix(SUBPROTOCOL_TOKEN))
    {
        // More than one: none of them is good.
        found.subprotocol = Some(match found.subprotocol {
            None => token.to_owned(),
            Some(_) => String::new(),
        });
    }
    let kept: Vec<&str> = offers
        .iter()
        .map(String::as_str)
        .filter(|it| !ours(it))
        .collect();
    match HeaderValue::from_str(&kept.join(", ")) {
        Ok(value) if !value.is_empty() => drop(headers.insert(name, value)),
        _ => drop(headers.remove(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(value: &str) -> bool {
        value.starts_with("Bearer ours")
    }

    fn taken(lines: &[(&str, &str)]) -> (HeaderMap, Credentials) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        join_cookies(&mut headers);
        let found = take(&mut headers, ours);
        (headers, found)
    }

    #[test]
    fn c2_our_cookies_are_taken_out_and_the_rest_stays_byte_for_byte() {
        for (line, rest) in [
            ("__Host-portcullis=T", None),
            (
                "a=1; __Host-portcullis=T; b=\"x y\"",
                Some("a=1; b=\"x y\""),
            ),
            ("__Host-portcullis=T;a=1;b", Some("a=1;b")),
            ("a=1;  b=2;__Host-portcullis=T", Some("a=1;  b=2")),
            (
                "a=1; __Host-portcullis-login-0011aabb=L; __Host-portcullis=T",
                Some("a=1"),
            ),
        ] {
            let (headers, found) = taken(&[("cookie", line)]);
            assert_eq!(found.cookie, Some(Ok("T".to_owned())), "{line}");
            let left = headers.get("cookie").map(|it| it.to_str().unwrap());
            assert_eq!(left, rest, "{line}");
        }
    }

    #[test]
    fn what_only_looks_like_ours_passes_untouched() {
        let line = "__Host-portcullisX=1;;x=__Host-portcullis=2; __host-portcullis=3";
        let (headers, found) = taken(&[("cookie", line)]);
        assert_eq!(found.cookie, None);
        assert_eq!(headers["cookie"], line);
    }

    #[test]
    fn c1_a_cookie_that_came_twice_counts_for_nothing() {
        let twice = [
            ("cookie", "__Host-portcullis=A"),
            ("cookie", "x=1; __Host-portcullis=B"),
        ];
        let (headers, found) = taken(&twice);
        assert_eq!(found.cookie, Some(Err(Repeated)));
        assert_eq!(headers["cookie"], "x=1");
    }

    #[test]
    fn our_other_cookies_are_found_in_order() {
        let line = "__Host-portcullis-tenant=t; __Host-portcullis-login-00000001=a";
        let (headers, found) = taken(&[("cookie", line)]);
        let expected = [("tenant", "t"), ("login-00000001", "a")];
        assert_eq!(
            found.others,
            expected.map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
        assert!(headers.is_empty());
    }

    #[test]
    fn only_an_authorization_of_ours_is_taken() {
        let (headers, found) = taken(&[("authorization", "Bearer node-red")]);
        assert_eq!(found.bearer, None);
        assert_eq!(headers["authorization"], "Bearer node-red");
        let (headers, found) = taken(&[("authorization", "Bearer ours.x.y")]);
        assert_eq!(found.bearer.as_deref(), Some("ours.x.y"));
        assert!(headers.is_empty());
        let two = [
            ("authorization", "Basic x"),
            ("authorization", "Bearer ours.x.y"),
        ];
        let (headers, found) = taken(&two);
        assert_eq!(found.bearer.as_deref(), Some(""));
        assert!(headers.is_empty());
    }

    #[test]
    fn our_subprotocols_are_taken_out() {
        let line = [(
            "sec-websocket-protocol",
            "portcullis, portcullis.token.T, mqtt",
        )];
        let (headers, found) = taken(&line);
        assert_eq!(found.subprotocol.as_deref(), Some("T"));
        assert_eq!(headers["sec-websocket-protocol"], "mqtt");
        let ours_alone = [("sec-websocket-protocol", "portcullis, portcullis.token.T")];
        assert!(taken(&ours_alone).0.is_empty());
        let (headers, found) = taken(&[("sec-websocket-protocol", "portcullisx, v1")]);
        assert_eq!(found.subprotocol, None);
        assert_eq!(headers["sec-websocket-protocol"], "portcullisx, v1");
    }

    #[test]
    fn bytes_behind_a_bearer_of_ours_do_not_carry_it_past_us() {
        let (headers, found) = taken(&[("authorization", "Bearer ours.a.b é")]);
        assert!(headers.is_empty());
        assert_eq!(found.bearer.as_deref(), Some(""));
    }

    #[test]
    fn a_line_of_subprotocols_that_are_none_does_not_carry_a_token_past_us() {
        for odd in [
            "portcullis.token.T, é",
            "é, portcullis, portcullis.token.T",
            "é",
        ] {
            let line = ("sec-websocket-protocol", odd);
            let (headers, found) = taken(&[line]);
            assert!(headers.is_empty(), "{odd}");
            assert_eq!(found.subprotocol, None, "{odd}");
            let (headers, _) = taken(&[line, ("sec-websocket-protocol", "mqtt")]);
            assert_eq!(headers["sec-websocket-protocol"], "mqtt");
        }
    }
}
