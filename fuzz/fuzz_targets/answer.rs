//! A tenant's answer: header lines `name: value`. Whatever it says, none of our cookies and none
//! of a sibling's is set, and nothing is said in the gateway's name.

#![no_main]

use http::{HeaderName, HeaderValue, Response};
use libfuzzer_sys::fuzz_target;
use portcullis::{
    forward::clean::{Rules, clean},
    intake::Level,
};
use portcullis_fuzz::host;

fuzz_target!(|bytes: &[u8]| {
    let mut head = Response::new(()).into_parts().0;
    for line in bytes.split(|it| *it == b'\n') {
        let Some(colon) = line.iter().position(|it| *it == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value[1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            head.headers.append(name, value);
        }
    }
    let rules = Rules::new(Level::Guarded, host("a.example.com"), true);
    clean(&mut head, &rules);
    for (name, value) in &head.headers {
        let own = ["clear-site-data", "alt-svc", "connection"];
        let is_own = own.contains(&name.as_str()) || name.as_str().starts_with("x-portcullis-");
        assert!(!is_own, "{name}");
        if name == "set-cookie" {
            cookie(&String::from_utf8_lossy(value.as_bytes()));
        }
    }
    let once = head.headers.clone();
    clean(&mut head, &rules);
    assert_eq!(once, head.headers, "cleaned twice is cleaner");
    assert_eq!(once.get_all("strict-transport-security").iter().count(), 1);
    assert!(once.contains_key("cross-origin-resource-policy"));
});

/// As browsers read it (RFC 6265bis, section 5.6).
fn cookie(line: &str) {
    let mut parts = line.split(';');
    let pair = parts.next().unwrap_or_default();
    let (name, value) = pair.split_once('=').unwrap_or(("", pair));
    let blank = [' ', '\t'];
    let name = name.trim_matches(blank).to_ascii_lowercase();
    let value = value.trim_matches(blank).to_ascii_lowercase();
    assert!(!name.starts_with("__host-portcullis"), "one of ours: {line}");
    assert!(
        !name.is_empty() || !value.starts_with("__host-portcullis"),
        "one of ours without a name: {line}"
    );
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if key.trim_matches(blank).eq_ignore_ascii_case("domain") {
            let domain = value.trim_matches(blank).to_ascii_lowercase();
            let domain = domain.strip_prefix('.').unwrap_or(&domain);
            assert!(domain.is_empty() || domain == "a.example.com", "a sibling's: {line}");
        }
    }
}
