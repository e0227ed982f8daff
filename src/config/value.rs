//! Single values as text: durations, sizes, addresses, names. Each says in one sentence what
//! would have been right.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use base64::{
    Engine as _,
    engine::{
        DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD,
    },
};
use ipnet::IpNet;

use super::nearest;
use crate::{
    name::{HostName, UserName},
    secret::Secret,
};

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// `90s`, `1h30m`, `250ms`, `30d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("{text:?} is not a duration; write it as \"30m\", \"12h\", \"1h30m\" or \"250ms\"")
    };
    let mut rest = text;
    let mut total = 0u64;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits).ok_or_else(wrong)?;
        let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, after) = after.split_at_checked(letters).ok_or_else(wrong)?;
        let (_, millis) = UNITS.iter().find(|it| it.0 == unit).ok_or_else(wrong)?;
        if *millis >= last_unit {
            return Err(wrong());
        }
        last_unit = *millis;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number
            .checked_mul(*millis)
            .and_then(|it| total.checked_add(it))
            .ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Ok(Duration::from_millis(total))
}

/// A duration as the file writes it.
pub(super) fn show_duration(of: Duration) -> String {
    let mut millis = u64::try_from(of.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, length) in UNITS.iter().rev() {
        let count = millis / length;
        millis %= length;
        if count > 0 {
            out.push_str(&format!("{count}{unit}"));
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// `1MiB`, `100MB`, `4096`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{text:?} is not a size; write it as bytes (4096) or \"64KiB\", \"1MiB\", \"100MB\""
        )
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

/// `127.0.0.1:443`, `[::]:443`.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not an address with a port; write it as \"127.0.0.1:8443\" or \"[::]:443\""
        )
    })
}

/// `10.0.0.0/8`, or one address. Always the network itself, whatever host bits were written.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    text.parse::<IpNet>().map(|it| it.trunc()).map_err(|_| {
        format!("{text:?} is not a network; write it as \"10.0.0.0/8\", \"2001:db8::/32\" or one address")
    })
}

/// A host name without a port.
pub(super) fn host(text: &str) -> Result<HostName, String> {
    HostName::parse(text).map_err(|_| {
        format!(
            "{text:?} is not a host name; write it as \"auth.example.com\", without scheme or port"
        )
    })
}

/// A host name that is no IP address.
pub(super) fn domain(text: &str) -> Result<HostName, String> {
    let host = host(text)?;
    if host.as_str().parse::<IpAddr>().is_ok() {
        return Err(format!(
            "{text:?} is an IP address; a domain name is wanted"
        ));
    }
    Ok(host)
}

/// A user's or a group's name.
pub(super) fn name(text: &str) -> Result<UserName, String> {
    UserName::parse(text).map_err(|it| format!("{text:?}: {it}"))
}

/// A path on this machine.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("a path cannot be empty".to_owned());
    }
    Ok(text.into())
}

/// `http://address[:port]`: only what can never lead elsewhere tomorrow.
pub(super) fn upstream(text: &str) -> Result<SocketAddr, String> {
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
pub(super) fn origin(text: &str) -> Result<String, String> {
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

/// A method's name, in upper case.
pub(super) fn method(text: &str) -> Result<String, String> {
    let good = (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|it| it.is_ascii_alphabetic() || it == b'-');
    if good {
        Ok(text.to_ascii_uppercase())
    } else {
        Err(format!("{text:?} is not a method; write it as \"GET\""))
    }
}

/// A Socket.IO namespace that our guard lets through.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let segment_is_good = |it: &str| {
        !it.is_empty()
            && it != "."
            && it != ".."
            && it
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_~.-".contains(&b))
    };
    let good = text == "/"
        || text
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(segment_is_good));
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a namespace; write it as \"/\" or \"/uibuilder\""
        ))
    }
}

/// The sealing key: 32 bytes in base64, kept as base64url without padding. Never quoted.
pub(super) fn sealing_key(text: &str) -> Result<Secret, String> {
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let url_safe = GeneralPurpose::new(&base64::alphabet::URL_SAFE, lenient);
    let bytes = url_safe
        .decode(text.trim().replace('+', "-").replace('/', "_"))
        .map(zeroize::Zeroizing::new)
        .ok()
        .filter(|it| it.len() == 32)
        .ok_or(
            "not a sealing key; it is 32 random bytes in base64 (head -c 32 /dev/urandom | base64)",
        )?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(&*bytes)))
}

/// `sqlite:PATH`.
pub(super) fn store_path(text: &str) -> Result<PathBuf, String> {
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
pub(super) fn docker_host(text: &str) -> Result<String, String> {
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

const FILTERS: [&str; 13] = [
    "ancestor",
    "before",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "volume",
];

/// `label=portcullis`, as `docker ps --filter` takes it.
pub(super) fn docker_filter(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(_, value)| !value.is_empty())
        .ok_or_else(|| {
            format!("{text:?} is not a filter; write it as \"label=com.example.expose\" or \"network=proxy\"")
        })?;
    if !FILTERS.contains(&key) {
        let hint = nearest::hint(key, FILTERS);
        return Err(format!("Docker knows no filter {key:?}; {hint}"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Text that is there and has no control characters.
pub(super) fn word(text: &str) -> Result<String, String> {
    let good = (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
    if good {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 255 bytes of text without control characters".to_owned())
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// `info`, `info,portcullis::discovery=debug`. A misspelt level would otherwise be taken for
/// the name of a part, and silence everything.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    for part in text.split(',') {
        let (target, level) = part.split_once('=').unwrap_or(("portcullis", part));
        let names_a_part = !target.is_empty()
            && target
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || b"_:-".contains(&it));
        if !names_a_part {
            return Err(format!(
                "{part:?} does not name a part; write it as \"portcullis=debug\""
            ));
        }
        if !LEVELS.contains(&level) {
            let hint = nearest::hint(level, LEVELS);
            return Err(format!("{level:?} is not a level; {hint}"));
        }
    }
    Ok(text.to_owned())
}

/// Headers that the gateway sets itself: one from a client must never stand in their place.
const OURS: [&str; 18] = [
    "remote-user",
    "remote-email",
    "remote-name",
    "remote-groups",
    "x-forwarded-user",
    "x-forwarded-groups",
    "x-user-role",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "authorization",
    "cookie",
    "host",
    "content-length",
];

/// Headers of one connection, which nobody passes on.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A stripped header that a tenant is given back, in lower case.
pub(super) fn kept_header(text: &str) -> Result<String, String> {
    let name = http::HeaderName::try_from(text)
        .map_err(|_| format!("{text:?} is not a header name"))?
        .as_str()
        .to_owned();
    let alike = name.replace(['_', '.'], "-");
    if OURS.contains(&alike.as_str()) || alike.starts_with("x-portcullis-") {
        return Err(format!(
            "{text:?} is the gateway's own to set; a client's cannot be given to a tenant"
        ));
    }
    if HOP_BY_HOP.contains(&alike.as_str()) {
        return Err(format!(
            "{text:?} belongs to one connection and is never passed on"
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn durations_are_written_with_units_in_falling_order() {
        for (text, millis) in [
            ("90s", 90_000),
            ("30m", 1_800_000),
            ("12h", 43_200_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("0s", 0),
            ("1d1ms", 86_400_001),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(millis));
            assert_eq!(
                duration(&show_duration(Duration::from_millis(millis))).unwrap(),
                Duration::from_millis(millis)
            );
        }
        for bad in [
            "",
            "30",
            "m",
            "30 m",
            "-1s",
            "1m1h",
            "1m1m",
            "1.5h",
            "1M",
            "٣s",
            "1s ",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1MiB", 1 << 20),
            ("100MB", 100_000_000),
            ("64 KiB", 65_536),
        ] {
            assert_eq!(size(text).unwrap(), bytes);
        }
        for bad in ["", "MiB", "1m", "-1", "1.5MiB", "99999999999GiB", "1MiBs"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }

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
    fn a_sealing_key_is_never_quoted() {
        let standard = STANDARD.encode([0xfb; 32]);
        assert_eq!(
            sealing_key(&standard).unwrap().reveal(),
            URL_SAFE_NO_PAD.encode([0xfb; 32])
        );
        let said = sealing_key("hunter2").unwrap_err();
        assert!(!said.contains("hunter2"));
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

    #[test]
    fn a_misspelt_log_level_is_not_taken_for_a_part() {
        for good in ["info", "warn,portcullis=debug", "portcullis::docker=trace"] {
            assert!(log_level(good).is_ok(), "{good:?}");
        }
        assert_eq!(
            log_level("inof").unwrap_err(),
            "\"inof\" is not a level; did you mean \"info\"?"
        );
        for bad in ["", "info,", "=debug", "a b=debug", "portcullis=loud"] {
            assert!(log_level(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn h5_no_header_that_says_who_somebody_is_can_be_given_back() {
        assert_eq!(kept_header("CF-Connecting-IP").unwrap(), "cf-connecting-ip");
        for bad in [
            "Remote-User",
            "remote_user",
            "Remote.User",
            "X-Portcullis-Assertion",
            "x_portcullis_x",
            "X-Forwarded-User",
            "Cookie",
            "Connection",
            "Upgrade",
            "a b",
            "",
        ] {
            assert!(kept_header(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_docker_engine_is_on_a_unix_socket() {
        assert!(docker_host("unix:///var/run/docker.sock").is_ok());
        for bad in [
            "tcp://127.0.0.1:2375",
            "/var/run/docker.sock",
            "unix://",
            "unix:///",
            "",
        ] {
            assert!(docker_host(bad).is_err(), "{bad:?}");
        }
        assert!(docker_filter("label=a=b").is_ok());
        for bad in ["label", "label=", "lable=a", "=a"] {
            assert!(docker_filter(bad).is_err(), "{bad:?}");
        }
    }
}
