//! Where things are: addresses, networks, hosts, upstreams, origins, the store, Docker.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;

use super::path;
use crate::name::HostName;

/// `127.0.0.1:443`, `[::]:443`.
pub(in crate::config) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not an address with a port; write it as \"127.0.0.1:8443\" or \"[::]:443\""
        )
    })
}

/// `10.0.0.0/8`, or one address. Always the network itself, whatever host bits were written.
pub(in crate::config) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    text.parse::<IpNet>().map(|it| it.trunc()).map_err(|_| {
        format!("{text:?} is not a network; write it as \"10.0.0.0/8\", \"2001:db8::/32\" or one address")
    })
}

/// A host name without a port.
pub(in crate::config) fn host(text: &str) -> Result<HostName, String> {
    HostName::parse(text).map_err(|_| {
        format!(
            "{text:?} is not a host name; write it as \"auth.example.com\", without scheme or port"
        )
    })
}

/// A host name that is no IP address.
pub(in crate::config) fn domain(text: &str) -> Result<HostName, String> {
    let host = host(text)?;
    if host.as_str().parse::<IpAddr>().is_ok() {
        return Err(format!(
            "{text:?} is an IP address; a domain name is wanted"
        ));
    }
    Ok(host)
}

/// `http://address[:port]`: only what can never lead elsewhere tomorrow.
pub(in crate::config) fn upstream(text: &str) -> Result<SocketAddr, String> {
    const RIGHT: &str = "write it as \"http://127.0.0.1:1880\"";
    if text.starts_with("https://") {
        return Err(format!(
            "{text:?}: TLS to an upstream is not built yet; {RIGHT}"
        ));
    }
    let rest = text
        .strip_prefix("http://")
        .ok_or_else(|| format!("{text:?} is not an upstream; {RIGHT}"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) {
        return Err(format!(
            "{text:?}: an upstream has an address and a port and nothing else; {RIGHT}"
        ));
    }
    if let Ok(address) = rest.parse::<SocketAddr>() {
        return port_given(address, text);
    }
    let bare = rest
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .unwrap_or(rest);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, 80));
    }
    let (host, port) = rest.split_once(':').unwrap_or((rest, "80"));
    if !host.eq_ignore_ascii_case("localhost") {
        return Err(format!(
            "{text:?}: an upstream is an IP address or localhost, so that no name server decides where requests go; {RIGHT}"
        ));
    }
    let port: u16 = port
        .parse()
        .map_err(|_| format!("{text:?} has no such port; {RIGHT}"))?;
    port_given(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), text)
}

fn port_given(address: SocketAddr, text: &str) -> Result<SocketAddr, String> {
    if address.port() == 0 {
        return Err(format!("{text:?}: port 0 reaches nobody"));
    }
    Ok(address)
}

/// `https://host[:port]`, as a browser writes an `Origin`.
pub(in crate::config) fn origin(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "{text:?} is not an origin; write it as \"https://app.example.com\", without a path"
        )
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let standard = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return Err(wrong()),
    };
    let (name, port) = match rest.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => {
            (name, port.parse::<u16>().map_err(|_| wrong())?)
        }
        _ => (rest, standard),
    };
    let name = HostName::parse(name).map_err(|_| wrong())?;
    let name = if name.as_str().contains(':') {
        format!("[{name}]")
    } else {
        name.to_string()
    };
    Ok(if port == standard {
        format!("{scheme}://{name}")
    } else {
        format!("{scheme}://{name}:{port}")
    })
}

/// `sqlite:PATH`.
pub(in crate::config) fn store_path(text: &str) -> Result<PathBuf, String> {
    let redis = ["redis:", "rediss:", "redis+sentinel:", "redis+cluster:"];
    if redis.iter().any(|it| text.starts_with(it)) {
        // The address may carry a password, so it is not repeated.
        return Err(
            "a store in Redis is not built yet; write \"sqlite:data/portcullis.db\"".to_owned(),
        );
    }
    let wrong = || "not a store; write it as \"sqlite:data/portcullis.db\"".to_owned();
    let rest = text.strip_prefix("sqlite:").ok_or_else(wrong)?;
    let rest = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return Err(wrong()),
        None => rest,
    };
    if rest.is_empty() || rest.ends_with('/') || rest.starts_with(':') {
        return Err(wrong());
    }
    path(rest)
}

/// `unix:///path`.
pub(in crate::config) fn docker_host(text: &str) -> Result<String, String> {
    const RIGHT: &str = "write it as \"unix:///var/run/docker.sock\"";
    if ["tcp:", "http:", "https:", "ssh:"]
        .iter()
        .any(|it| text.starts_with(it))
    {
        return Err(format!(
            "{text:?}: an engine that is not on a unix socket is not built yet; {RIGHT}"
        ));
    }
    let path = text.strip_prefix("unix://").unwrap_or_default();
    if path.len() > 1 && path.starts_with('/') && !path.contains('\0') {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a Docker engine; {RIGHT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_literal_address() {
        for (text, address) in [
            ("http://127.0.0.1:1880", "127.0.0.1:1880"),
            ("http://127.0.0.1:1880/", "127.0.0.1:1880"),
            ("http://10.0.0.1", "10.0.0.1:80"),
            ("http://[::1]:81", "[::1]:81"),
            ("http://[::1]", "[::1]:80"),
            ("http://localhost:99", "127.0.0.1:99"),
        ] {
            assert_eq!(upstream(text).unwrap().to_string(), address);
        }
        for bad in [
            "127.0.0.1:1880",
            "https://127.0.0.1",
            "http://node-red:1880",
            "http://localhost.evil.example:1880",
            "http://127.0.0.1:1880/app",
            "http://u@127.0.0.1:1880",
            "http://127.0.0.1:0",
            "http://127.0.0.1:99999",
            "http://",
            "http://127.1:80",
        ] {
            assert!(upstream(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_origin_is_kept_as_a_browser_writes_it() {
        for (text, kept) in [
            ("https://App.example.com", "https://app.example.com"),
            ("https://a.example.com:443", "https://a.example.com"),
            ("http://a.example.com:8080", "http://a.example.com:8080"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(origin(text).unwrap(), kept);
        }
        for bad in [
            "*",
            "null",
            "a.example.com",
            "https://a/",
            "ws://a",
            "https://*.a",
        ] {
            assert!(origin(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_redis_password_is_never_quoted() {
        assert!(
            !store_path("redis://:hunter2@h")
                .unwrap_err()
                .contains("hunter2")
        );
        assert!(
            !store_path("postgres://:hunter2@h")
                .unwrap_err()
                .contains("hunter2")
        );
        assert_eq!(
            store_path("sqlite:///var/p.db").unwrap(),
            PathBuf::from("/var/p.db")
        );
        assert_eq!(
            store_path("sqlite:data/p.db").unwrap(),
            PathBuf::from("data/p.db")
        );
        for bad in [
            "sqlite:",
            "sqlite::memory:",
            "sqlite://host/p.db",
            "data/p.db",
        ] {
            assert!(store_path(bad).is_err(), "{bad:?}");
        }
    }
}
