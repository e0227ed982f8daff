//! Single values as text: durations, sizes, addresses, names. Each says in one sentence what
//! would have been right.

mod place;

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use base64::{
    Engine as _,
    engine::{
        DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD,
    },
};

pub(super) use place::{address, docker_host, domain, host, network, origin, store_path, upstream};

use super::nearest;
use crate::{name::UserName, secret::Secret};

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
            let _ = write!(out, "{count}{unit}");
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
