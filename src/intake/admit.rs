//! Admission: what comes in is well formed, or goes no further.

use http::{HeaderMap, Method, Request, Uri, Version, header, request::Parts, uri::PathAndQuery};
use http_body::Body as _;
use ipnet::IpNet;

use crate::{
    body::Body,
    intake::{
        Arrival, Credentials, Inbound, Malformed, client, credentials, handshake, host, path,
    },
    name::HostName,
    random,
};

/// What admission has to know; the same for all requests under one configuration.
#[derive(Debug, Clone)]
pub struct IntakeFacts {
    /// Whose `X-Forwarded-*` count.
    pub trusted_proxies: Vec<IpNet>,
    /// Largest body, in bytes; 0: any.
    pub body: u64,
    /// Largest single header line, in bytes; cookies may take more.
    pub header: usize,
    /// Most header lines.
    pub headers: usize,
    /// Whether credentials of ours exist at all: they are taken out on every host of a guarded
    /// gateway, and left alone in open mode.
    pub guarded: bool,
    /// Whether an `Authorization` value carries a token of ours: `token::is_ours`.
    pub is_ours: fn(&str) -> bool,
}

/// All cookies together, in bytes.
const COOKIES: usize = 64 << 10;
/// The longest method that is served, in bytes.
const LONGEST_METHOD: usize = 20;

/// Lets a request in, or says what is wrong with its form.
pub fn admit(
    raw: Request<Body>,
    arrival: &Arrival,
    facts: &IntakeFacts,
) -> Result<Box<Inbound>, Malformed> {
    let (mut head, body) = raw.into_parts();
    let length = content_length(&head.headers)?;
    let has_body = !body.is_end_stream() && length != Some(0);
    let http2 = head.version == Version::HTTP_2;
    if http2 {
        check_size(&head.headers, facts)?;
    }
    // The `:method` of a WebSocket over HTTP/2 is CONNECT.
    let websocket = handshake::is_handshake(&head, has_body && !http2)?;
    check_method(&head.method, websocket)?;
    let (host, port) = find_host(&head)?;
    check_server_name(arrival, &host)?;
    if facts.body > 0 && length.is_some_and(|it| it > facts.body) {
        return Err(Malformed::BodyTooLarge);
    }
    let target = find_target(&head.uri)?;
    let path = path::decide(head.uri.path())?;
    let upgrade = websocket.then(|| {
        let on = head.extensions.remove::<hyper::upgrade::OnUpgrade>();
        head.extensions.clear();
        on
    });
    let mut headers = head.headers;
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    credentials::join_cookies(&mut headers);
    let credentials = if facts.guarded {
        credentials::take(&mut headers, facts.is_ours)
    } else {
        Credentials::default()
    };
    let (client, forwarded) = client::find(arrival.peer, &headers, &facts.trusted_proxies);
    let told = forwarded.as_ref().and_then(|it| it.https);
    let secure = told.unwrap_or_else(|| arrival.tls.is_some());
    let standard = if secure { 443 } else { 80 };
    Ok(Box::new(Inbound {
        id: random::id(),
        arrival: arrival.clone(),
        client,
        https: secure,
        host,
        port: port.filter(|it| *it != standard),
        // To whoever decides and to the upstream every handshake is a GET.
        method: if websocket { Method::GET } else { head.method },
        target,
        path,
        headers,
        forwarded,
        credentials,
        websocket,
        http2,
        body,
        upgrade: upgrade.flatten(),
    }))
}

/// The bounds of a head over HTTP/2, where a frame's are all that was looked at. (On HTTP/1 the
/// wire saw to it already.) A browser may send every cookie in a line of its own.
fn check_size(headers: &HeaderMap, facts: &IntakeFacts) -> Result<(), Malformed> {
    let (mut lines, mut cookies) = (0, 0);
    for (name, value) in headers {
        let size = name.as_str().len() + value.len();
        if name == header::COOKIE {
            cookies += size;
        } else if size > facts.header {
            return Err(Malformed::TooLarge);
        } else {
            lines += 1;
        }
    }
    if lines > facts.headers || cookies > COOKIES {
        return Err(Malformed::TooLarge);
    }
    Ok(())
}

/// One `Content-Length`, in digits. (On HTTP/1 the wire saw to it already.)
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    let digits = line.to_str().map_err(|_| Malformed::Framing)?;
    if lines.next().is_some() || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return Err(Malformed::Framing);
    }
    digits.parse().map(Some).map_err(|_| Malformed::Framing)
}

fn check_method(method: &Method, websocket: bool) -> Result<(), Malformed> {
    let name = method.as_str();
    let refused = matches!(name, "CONNECT" | "TRACE" | "TRACK" | "PRI");
    if websocket || (!refused && name.len() <= LONGEST_METHOD) {
        Ok(())
    } else {
        Err(Malformed::Method)
    }
}

/// The host asked for. Where the target has an authority too (absolute form, HTTP/2), both must
/// say the same.
fn find_host(head: &Parts) -> Result<(HostName, Option<u16>), Malformed> {
    let mut lines = head.headers.get_all(header::HOST).iter();
    let line = match (lines.next(), lines.next()) {
        (Some(line), None) => {
            let text = line.to_str().map_err(|_| Malformed::Host)?;
            Some(host::parse(text)?)
        }
        (None, _) => None,
        (Some(_), Some(_)) => return Err(Malformed::Host),
    };
    let Some(authority) = head.uri.authority() else {
        return line.ok_or(Malformed::Host);
    };
    let target = host::parse(authority.as_str())?;
    match line {
        Some(line) if line != target => Err(Malformed::Authority),
        // HTTP/1 must send `Host` whatever the target is (RFC 9112, section 3.2).
        None if head.version != Version::HTTP_2 => Err(Malformed::Host),
        Some(_) | None => Ok(target),
    }
}

/// A TLS connection is for the name it was made for; one without a name is for any.
fn check_server_name(arrival: &Arrival, host: &HostName) -> Result<(), Malformed> {
    match &arrival.tls {
        Some(Some(name)) if name != host => Err(Malformed::Misdirected),
        Some(_) | None => Ok(()),
    }
}

/// Path and query as they came.
fn find_target(uri: &Uri) -> Result<PathAndQuery, Malformed> {
    let honest_scheme = uri
        .scheme_str()
        .is_none_or(|it| it == "http" || it == "https");
    match uri.path_and_query() {
        Some(target) if honest_scheme && target.as_str().starts_with('/') => Ok(target.clone()),
        _ => Err(Malformed::Target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::path::Decided;

    fn facts() -> IntakeFacts {
        IntakeFacts {
            trusted_proxies: Vec::new(),
            body: 1000,
            header: 1000,
            headers: 10,
            guarded: true,
            is_ours: |it| it.starts_with("Bearer ours"),
        }
    }

    fn arrival(name: Option<&str>) -> Arrival {
        Arrival {
            peer: ([9, 9, 9, 9], 999).into(),
            local: ([10, 0, 0, 1], 443).into(),
            tls: Some(name.map(|it| HostName::parse(it).unwrap())),
        }
    }

    fn ask(line: &str, fields: &[(&str, &str)]) -> Request<Body> {
        let (method, target) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Body::Empty).unwrap()
    }

    fn verdict(line: &str, fields: &[(&str, &str)]) -> Result<Box<Inbound>, Malformed> {
        admit(ask(line, fields), &arrival(None), &facts())
    }

    fn refusal(line: &str, fields: &[(&str, &str)]) -> Malformed {
        verdict(line, fields).unwrap_err()
    }

    #[test]
    fn a_limit_is_what_may_still_be_and_0_is_none() {
        let post = |length| ask("POST /x", &[HOST, ("content-length", length)]);
        assert!(admit(post("1000"), &arrival(None), &facts()).is_ok());
        assert!(admit(post("1001"), &arrival(None), &facts()).is_err());
        let any = IntakeFacts { body: 0, ..facts() };
        assert!(admit(post("1000000000"), &arrival(None), &any).is_ok());
        // Over HTTP/2, where nobody has counted before: lines by themselves, and cookies together.
        let two = |name: &'static str, size: usize, lines: usize| {
            let value = "c".repeat(size - name.len());
            let mut all = vec![HOST];
            all.extend(std::iter::repeat_n((name, value.as_str()), lines));
            let mut request = ask("GET https://a.example.net/x", &all);
            *request.version_mut() = Version::HTTP_2;
            admit(request, &arrival(None), &facts()).map(|_| ())
        };
        for (name, most, lines) in [("cookie", COOKIES, 1), ("cookie", COOKIES / 4, 4)] {
            assert_eq!(two(name, most, lines), Ok(()));
            assert_eq!(two(name, most + 1, lines), Err(Malformed::TooLarge));
        }
        assert_eq!(two("x-one", 1000, 9), Ok(()));
        assert_eq!(two("x-one", 1001, 1), Err(Malformed::TooLarge));
        assert_eq!(two("x-one", 1000, 10), Err(Malformed::TooLarge));
    }

    #[test]
    fn what_goes_on_is_stripped_and_what_is_ours_is_known() {
        for (target, ours) in [
            ("/.portcullis/login", true),
            ("/.portcullis", false),
            ("/app/.portcullis/login", false),
        ] {
            let line = format!("GET {target}");
            let fields = [HOST, ("remote-user", "admin"), ("x-mine", "1")];
            let mut inbound = verdict(&line, &fields).unwrap();
            assert_eq!(inbound.is_ours(), ours, "{target}");
            inbound.strip(crate::intake::strip::Level::Guarded, &[]);
            assert!(!inbound.headers.contains_key("remote-user"));
            assert!(inbound.headers.contains_key("x-mine"));
        }
    }

    const HOST: (&str, &str) = ("host", "a.example.net");

    #[test]
    fn a_request_is_let_in_as_it_came() {
        let inbound = verdict("GET /a%2Fb?x=%zz", &[("host", "A.example.net.:8443")]).unwrap();
        assert_eq!(inbound.target, "/a%2Fb?x=%zz");
        assert_eq!(inbound.path, Decided::Ambiguous);
        assert_eq!(
            (inbound.host.as_str(), inbound.port),
            ("a.example.net", Some(8443))
        );
        assert_eq!(
            (inbound.https, inbound.websocket, inbound.http2),
            (true, false, false)
        );
        assert_eq!(inbound.client.to_string(), "9.9.9.9");
        assert!(inbound.headers.is_empty());
        assert_eq!(inbound.id.len(), 22);
    }

    #[test]
    fn p4_the_target_and_host_must_agree() {
        assert!(verdict("GET http://a.example.net/", &[HOST]).is_ok());
        assert_eq!(
            refusal("GET http://b.example.net/", &[HOST]),
            Malformed::Authority
        );
        assert_eq!(
            refusal("GET http://a.example.net:81/", &[HOST]),
            Malformed::Authority
        );
        assert_eq!(
            refusal("GET http://u@a.example.net/", &[HOST]),
            Malformed::Host
        );
        assert_eq!(refusal("GET http://a.example.net/", &[]), Malformed::Host);
        assert_eq!(
            refusal("GET ftp://a.example.net/", &[HOST]),
            Malformed::Target
        );
        assert_eq!(refusal("GET /%zz", &[HOST]), Malformed::Target);
        assert_eq!(refusal("OPTIONS *", &[HOST]), Malformed::Target);
    }

    #[test]
    fn p5_there_is_one_host_and_it_is_one() {
        assert_eq!(refusal("GET /", &[]), Malformed::Host);
        for host in [
            "",
            "a@b",
            "a b",
            "b\u{fc}cher.example",
            "a.example.net:80@evil",
        ] {
            assert_eq!(
                refusal("GET /", &[("host", host)]),
                Malformed::Host,
                "{host}"
            );
        }
        assert_eq!(refusal("GET /", &[HOST, HOST]), Malformed::Host);
    }

    #[test]
    fn p6_a_connection_is_for_the_name_it_was_made_for() {
        let on = |name| admit(ask("GET /", &[HOST]), &arrival(name), &facts());
        assert!(on(Some("a.example.net")).is_ok());
        assert!(on(None).is_ok());
        assert_eq!(
            on(Some("b.example.net")).unwrap_err(),
            Malformed::Misdirected
        );
        let plain = Arrival {
            tls: None,
            ..arrival(None)
        };
        assert!(
            !admit(ask("GET /", &[HOST]), &plain, &facts())
                .unwrap()
                .https
        );
    }

    #[test]
    fn p8_methods_that_are_not_served_are_refused() {
        for method in [
            "TRACE",
            "TRACK",
            "PRI",
            "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM",
        ] {
            assert_eq!(refusal(&format!("{method} /"), &[HOST]), Malformed::Method);
        }
        let connect = [HOST];
        assert_eq!(
            refusal("CONNECT a.example.net:443", &connect),
            Malformed::Method
        );
        for method in ["PROPFIND", "MKCOL", "DELETE", "M-SEARCH"] {
            assert!(verdict(&format!("{method} /"), &[HOST]).is_ok());
        }
    }

    #[test]
    fn a_body_known_to_be_too_large_is_refused_at_once() {
        assert!(verdict("POST /", &[HOST, ("content-length", "1000")]).is_ok());
        let large = [HOST, ("content-length", "1001")];
        assert_eq!(refusal("POST /", &large), Malformed::BodyTooLarge);
        let twice = [HOST, ("content-length", "1"), ("content-length", "1")];
        assert_eq!(refusal("POST /", &twice), Malformed::Framing);
    }

    const WS: [(&str, &str); 5] = [
        HOST,
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    /// A handshake with one field other than it should be; an empty value leaves it out.
    fn shaken(name: &'static str, value: &'static str) -> Result<bool, Malformed> {
        let mut fields: Vec<(&str, &str)> = WS.to_vec();
        fields.retain(|it| it.0 != name);
        if !value.is_empty() {
            fields.push((name, value));
        }
        verdict("GET /ws", &fields).map(|it| it.websocket)
    }

    #[test]
    fn w18b_a_handshake_is_one_however_connection_is_written() {
        assert_eq!(shaken("x", "y"), Ok(true));
        assert_eq!(shaken("connection", "keep-alive, UPGRADE"), Ok(true));
        let mut lines = WS.to_vec();
        lines.insert(0, ("connection", "keep-alive"));
        assert!(verdict("GET /", &lines).unwrap().websocket);
    }

    #[test]
    fn s5_s6_a_handshake_that_is_none_is_refused() {
        for (name, value) in [
            ("sec-websocket-version", "7"),
            ("sec-websocket-version", ""),
            ("sec-websocket-key", ""),
            ("sec-websocket-key", "c2hvcnQ="),
            ("sec-websocket-key", "not base64"),
        ] {
            assert_eq!(
                shaken(name, value),
                Err(Malformed::Handshake),
                "{name}: {value}"
            );
        }
        assert_eq!(refusal("POST /ws", &WS), Malformed::Handshake);
        let mut request = ask("GET /ws", &WS);
        *request.body_mut() = Body::full("0123456789");
        let with_body = admit(request, &arrival(None), &facts());
        assert_eq!(with_body.unwrap_err(), Malformed::Handshake);
    }

    #[test]
    fn s7_other_upgrades_are_none() {
        assert_eq!(shaken("upgrade", "h2c"), Ok(false));
        assert_eq!(shaken("upgrade", "foo"), Ok(false));
        assert_eq!(shaken("connection", "close"), Ok(false));
    }

    #[test]
    fn h12_heads_over_http_2_have_bounds_and_cookies_wider_ones() {
        let sized = |name: &str, length: usize, times: usize| {
            let mut request = ask("GET https://a.example.net/", &[]);
            *request.version_mut() = Version::HTTP_2;
            for _ in 0..times {
                request.headers_mut().append(
                    header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    "a".repeat(length).parse().unwrap(),
                );
            }
            admit(request, &arrival(None), &facts()).err()
        };
        assert_eq!(sized("x", 999, 10), None);
        assert_eq!(sized("x", 1000, 1), Some(Malformed::TooLarge));
        assert_eq!(sized("x", 1, 11), Some(Malformed::TooLarge));
        assert_eq!(sized("cookie", 1000, 60), None);
        assert_eq!(sized("cookie", 1000, 66), Some(Malformed::TooLarge));
    }

    #[test]
    fn s9_over_http_2_authority_and_host_agree() {
        let h2 = |fields: &[(&str, &str)]| {
            let mut request = ask("GET https://a.example.net/x", fields);
            *request.version_mut() = Version::HTTP_2;
            admit(request, &arrival(Some("a.example.net")), &facts())
        };
        assert!(h2(&[]).unwrap().http2);
        assert!(h2(&[HOST]).is_ok());
        assert_eq!(
            h2(&[("host", "b.example.net")]).unwrap_err(),
            Malformed::Authority
        );
        let inbound = h2(&[("cookie", "a=1"), ("cookie", "b=2")]).unwrap();
        assert_eq!(inbound.headers["cookie"], "a=1; b=2");
    }

    #[test]
    fn a_websocket_over_http_2_is_a_get_to_all_who_follow() {
        let mut request = ask(
            "CONNECT https://a.example.net/x",
            &[("sec-websocket-version", "13")],
        );
        *request.version_mut() = Version::HTTP_2;
        let protocol = hyper::ext::Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
        let inbound = admit(request, &arrival(None), &facts()).unwrap();
        assert!(inbound.websocket && inbound.http2);
        assert_eq!(
            (inbound.method, inbound.target.as_str()),
            (Method::GET, "/x")
        );
    }

    #[test]
    fn s6_a_handshake_over_http_2_that_is_none_is_refused() {
        for (line, version, protocol, why) in [
            ("CONNECT", "13", "connect-udp", Malformed::Method),
            ("CONNECT", "7", "websocket", Malformed::Handshake),
            ("GET", "13", "websocket", Malformed::Handshake),
        ] {
            let line = format!("{line} https://a.example.net/x");
            let mut request = ask(&line, &[("sec-websocket-version", version)]);
            *request.version_mut() = Version::HTTP_2;
            let protocol = hyper::ext::Protocol::from_static(protocol);
            request.extensions_mut().insert(protocol);
            let found = admit(request, &arrival(None), &facts());
            assert_eq!(found.unwrap_err(), why, "{line}");
        }
    }

    #[test]
    fn open_mode_takes_no_credentials_out() {
        let facts = IntakeFacts {
            guarded: false,
            ..facts()
        };
        let request = ask("GET /", &[HOST, ("cookie", "__Host-portcullis=x")]);
        let inbound = admit(request, &arrival(None), &facts).unwrap();
        assert_eq!(inbound.headers["cookie"], "__Host-portcullis=x");
        assert_eq!(inbound.credentials.cookie, None);
    }
}
