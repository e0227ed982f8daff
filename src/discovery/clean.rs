//! Whether nginx-proxy's settings hold what such settings hold, and nothing more. In nginx-proxy
//! they end up in nginx's configuration, unquoted; a container that tries that is not served.

/// The longest value, in bytes.
const LONGEST: usize = 4 << 10;

/// nginx-proxy's labels.
pub(super) const NGINX_PROXY: &str = "com.github.nginx-proxy.nginx-proxy.";

/// nginx-proxy's labels that are true or false.
const BOOLEANS: [&str; 4] = [
    "http2.enable",
    "http3.enable",
    "trust-default-cert",
    "debug-endpoint",
];

/// What is wrong with a setting, if anything is.
pub(super) fn fault(name: &str, value: &str) -> Option<&'static str> {
    if value.len() > LONGEST {
        return Some("longer than 4 KiB");
    }
    if value.chars().any(char::is_control) {
        return Some("control characters");
    }
    let label = name.strip_prefix(NGINX_PROXY);
    if name == "HSTS" {
        return (!is_hsts(value)).then_some("not a Strict-Transport-Security value");
    }
    // Its only values end in a semicolon; it is compared with them, never copied.
    let may_end = label == Some("loadbalance");
    if value.contains(['{', '}']) || (!may_end && value.contains(';')) {
        return Some("one of ; { }");
    }
    if label.is_some_and(|it| BOOLEANS.contains(&it)) && !is_boolean(value) {
        return Some("neither true nor false");
    }
    None
}

fn is_hsts(value: &str) -> bool {
    value.is_empty()
        || value == "off"
        || value.split(';').map(str::trim).all(|directive| {
            let age = directive
                .strip_prefix("max-age=")
                .map(|it| it.trim_matches('"'));
            match age {
                Some(age) => !age.is_empty() && age.bytes().all(|b| b.is_ascii_digit()),
                None => {
                    directive.is_empty()
                        || directive.eq_ignore_ascii_case("includeSubDomains")
                        || directive.eq_ignore_ascii_case("preload")
                }
            }
        })
}

/// As Go reads them.
fn is_boolean(value: &str) -> bool {
    matches!(
        value,
        "1" | "t" | "T" | "TRUE" | "true" | "True" | "0" | "f" | "F" | "FALSE" | "false" | "False"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_settings_are_clean() {
        let http2 = format!("{NGINX_PROXY}http2.enable");
        let balance = format!("{NGINX_PROXY}loadbalance");
        for (name, value) in [
            (
                "VIRTUAL_HOST",
                "a.example.com, *.b.example.com,~^x[0-9]+\\.net$",
            ),
            ("VIRTUAL_PATH", "~* ^/(api|v1)/"),
            ("HSTS", "max-age=31536000; includeSubDomains; preload"),
            ("HSTS", "off"),
            (http2.as_str(), "False"),
            (balance.as_str(), "least_conn;"),
        ] {
            assert_eq!(fault(name, value), None, "{name}={value}");
        }
    }

    #[test]
    fn nginx_is_not_to_be_configured_from_a_container() {
        let http2 = format!("{NGINX_PROXY}http2.enable");
        let balance = format!("{NGINX_PROXY}loadbalance");
        let long = "x".repeat(10_000);
        for (name, value) in [
            ("HSTS", "x\";} server {listen 81;"),
            ("VIRTUAL_HOST", "a.example.com\nb.example.com"),
            ("VIRTUAL_HOST", "a.example.com; return 200"),
            ("VIRTUAL_PATH", "/} location / {"),
            ("SERVER_TOKENS", "on; include /etc/shadow"),
            (http2.as_str(), "maybe"),
            (balance.as_str(), "least_conn; } server {"),
            ("portcullis.policy", long.as_str()),
        ] {
            assert!(fault(name, value).is_some(), "{name}={value}");
        }
    }
}
