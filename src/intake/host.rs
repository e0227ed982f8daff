//! Host names in requests.

use crate::{intake::Malformed, name::HostName};

/// Reads an authority as `Host`, `:authority` or an absolute target have it: a host and perhaps
/// a port. Never a user.
pub fn parse(text: &str) -> Result<(HostName, Option<u16>), Malformed> {
    let (host, port) = split(text);
    let host = HostName::parse(host).map_err(|_| Malformed::Host)?;
    let port = match port {
        None => None,
        Some(port) if !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit()) => {
            let port: u16 = port.parse().map_err(|_| Malformed::Host)?;
            Some(port)
        }
        Some(_) => return Err(Malformed::Host),
    };
    Ok((host, port))
}

fn split(text: &str) -> (&str, Option<&str>) {
    if text.starts_with('[') {
        return match text.find(']') {
            Some(end) => {
                let (host, rest) = text.split_at(end + 1);
                match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => (text, None),
                }
            }
            None => (text, None),
        };
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => ("", None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_a_host_has_one_spelling_or_is_refused() {
        for (text, host, port) in [
            ("A.example.net.", "a.example.net", None),
            ("A.EXAMPLE.NET:443", "a.example.net", Some(443)),
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("[::1]", "::1", None),
            ("[::1]:8443", "::1", Some(8443)),
        ] {
            let (found, at) = parse(text).unwrap();
            assert_eq!((found.as_str(), at), (host, port), "{text}");
        }
        for text in [
            "",
            ":80",
            "a.example.net:80@evil",
            "user@a.example.net",
            "a.example.net:",
            "a.example.net:+80",
            "a.example.net:99999",
            "a.example.net, b.example.net",
            "a.example.net/",
            "::1",
            "2001:db8::1:443",
            "[::1",
            "[::1]x",
            "a b",
            " a",
            "a%2eb",
        ] {
            assert_eq!(parse(text), Err(Malformed::Host), "{text:?}");
        }
    }
}
