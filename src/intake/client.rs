//! Where a request really comes from.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// What a trusted proxy in front of us says of a request, each only if it is well formed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Its `X-Forwarded-For`, all lines as one.
    pub chain: Option<String>,
    /// Its `X-Forwarded-Host`.
    pub host: Option<String>,
    /// Its `X-Forwarded-Proto`: `https`?
    pub https: Option<bool>,
    /// Its `X-Forwarded-Port`.
    pub port: Option<u16>,
}

/// The client's address and, from a trusted proxy, what it says. Anybody else's headers say
/// nothing.
pub fn find(
    peer: SocketAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> (IpAddr, Option<Forwarded>) {
    let peer = peer.ip().to_canonical();
    if !is_trusted(peer, trusted) {
        return (peer, None);
    }
    let chain = lines(headers, "x-forwarded-for");
    let mut client = peer;
    // From the right: each address was written by the one right of it. The first that is not
    // trusted is the client; what stands left of it is hearsay.
    for text in chain.as_deref().unwrap_or_default().rsplit(',') {
        let Some(address) = address(text.trim()) else {
            break;
        };
        client = address;
        if !is_trusted(client, trusted) {
            break;
        }
    }
    let one = |name: &str| lines(headers, name).filter(|it| !it.contains(','));
    let forwarded = Forwarded {
        host: one("x-forwarded-host").filter(|it| super::host::parse(it).is_ok()),
        https: one("x-forwarded-proto").and_then(|it| match it.as_str() {
            "https" | "wss" => Some(true),
            "http" | "ws" => Some(false),
            _ => None,
        }),
        port: one("x-forwarded-port").and_then(|it| it.parse().ok()),
        chain,
    };
    (client, Some(forwarded))
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|it| it.contains(&address))
}

fn lines(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// An address as proxies write it: plain, with a port, in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse::<IpAddr>().ok();
    let bracketed = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<IpAddr>().ok()
    };
    let with_port = || text.parse::<SocketAddr>().ok().map(|it| it.ip());
    plain
        .or_else(with_port)
        .or_else(bracketed)
        .map(|it| it.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, chain: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in chain {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|it| it.parse().unwrap()).collect();
        find(peer.parse().unwrap(), &headers, &trusted)
            .0
            .to_string()
    }

    #[test]
    fn h5_a_stranger_cannot_say_who_they_are() {
        assert_eq!(client("9.9.9.9:1", &["1.2.3.4"], &[]), "9.9.9.9");
        assert_eq!(
            client("9.9.9.9:1", &["1.2.3.4"], &["10.0.0.0/8"]),
            "9.9.9.9"
        );
        assert_eq!(client("[::ffff:9.9.9.9]:1", &[], &[]), "9.9.9.9");
    }

    #[test]
    fn a_chain_is_read_from_the_right() {
        let trusted = ["10.0.0.0/8"];
        for (chain, expected) in [
            (&["1.1.1.1"][..], "1.1.1.1"),
            (&["6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            (&["6.6.6.6", "1.1.1.1:5555"], "1.1.1.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["1.1.1.1, nonsense"], "10.0.0.1"),
            (&["[2001:db8::1]:443"], "2001:db8::1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1:1", chain, &trusted), expected, "{chain:?}");
        }
    }

    #[test]
    fn h7_h8_only_a_trusted_proxy_is_heard_and_only_if_it_makes_sense() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-host", "evil".parse().unwrap());
        headers.insert("x-forwarded-proto", "http".parse().unwrap());
        let peer = "10.0.0.1:1".parse().unwrap();
        assert_eq!(find(peer, &headers, &[]).1, None);
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let heard = find(peer, &headers, &trusted).1.unwrap();
        assert_eq!(
            (heard.host.as_deref(), heard.https),
            (Some("evil"), Some(false))
        );
        headers.insert("x-forwarded-host", "a@b".parse().unwrap());
        headers.insert("x-forwarded-proto", "gopher".parse().unwrap());
        let heard = find(peer, &headers, &trusted).1.unwrap();
        assert_eq!((heard.host, heard.https), (None, None));
        for (scheme, https) in [
            ("https", true),
            ("wss", true),
            ("http", false),
            ("ws", false),
        ] {
            headers.insert("x-forwarded-proto", scheme.parse().unwrap());
            let heard = find(peer, &headers, &trusted).1.unwrap();
            assert_eq!(heard.https, Some(https), "{scheme}");
        }
    }
}
