//! Proof for [`super`].

use http::{HeaderMap, Method};

use super::*;

fn person() -> Asker {
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("text/html"));
    Asker::from_head(&Method::GET, &headers).with_portal("https://auth.example.com")
}

fn script() -> Asker {
    Asker::from_head(&Method::GET, &HeaderMap::new())
}

/// Every refusal there is, with the status that the contract's table gives it.
pub(crate) fn all() -> Vec<(u16, Refusal)> {
    let secs = Duration::from_secs;
    let url = || Some("https://auth.example.com/login?state=x".to_owned());
    vec![
        (400, Malformed::Host.into()),
        (400, Malformed::Authority.into()),
        (400, Malformed::Target.into()),
        (400, Malformed::Ambiguous.into()),
        (400, Malformed::Framing.into()),
        (400, Malformed::Handshake.into()),
        (400, Malformed::EngineIo.into()),
        (405, Malformed::Method.into()),
        (413, Malformed::BodyTooLarge.into()),
        (421, Malformed::Misdirected.into()),
        (431, Malformed::TooLarge.into()),
        (
            401,
            Refusal::NotSignedIn {
                why: NotSignedIn::Missing,
                login_url: url(),
            },
        ),
        (
            401,
            Refusal::NotEnough {
                policy: Policy::TwoFactor,
                login_url: url(),
            },
        ),
        (403, Refusal::Forbidden),
        (403, Refusal::CrossSite),
        (404, Refusal::NotFound),
        (404, Refusal::LinkGone),
        (405, Refusal::Method { allow: "POST" }),
        (415, Refusal::MediaType),
        (400, Refusal::Unreadable),
        (
            400,
            Refusal::SignInLost {
                again: "/login".to_owned(),
            },
        ),
        (
            400,
            Refusal::CookieTrouble {
                again: "/".to_owned(),
            },
        ),
        (
            429,
            Refusal::TooOften {
                retry_after: secs(90),
            },
        ),
        (502, Refusal::Unreachable),
        (504, Refusal::TimedOut),
        (503, Refusal::Stopped),
        (
            503,
            Refusal::Starting {
                retry_after: secs(2),
            },
        ),
        (
            503,
            Refusal::Busy {
                retry_after: secs(2),
            },
        ),
        (
            503,
            Refusal::StoreAway {
                retry_after: secs(5),
            },
        ),
    ]
}

fn text(response: Response<Body>) -> String {
    match response.into_body() {
        Body::Full(Some(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        Body::Empty | Body::Full(None) | Body::Incoming(_) | Body::Stream(_) => String::new(),
    }
}

#[test]
fn every_refusal_has_the_status_of_the_table_in_both_voices() {
    for (status, refusal) in all() {
        for asker in [person(), script()] {
            let response = refuse(&refusal, &asker);
            assert_eq!(response.status().as_u16(), status, "{refusal:?}");
            let kind = response.headers()[header::CONTENT_TYPE]
                .to_str()
                .unwrap()
                .to_owned();
            let text = text(response);
            if asker.voice == Voice::Page {
                assert!(kind.starts_with("text/html"), "{refusal:?}");
                assert_eq!(text.matches("<h1>").count(), 1, "{refusal:?}");
                assert!(text.contains("<li>"), "says what to do: {refusal:?}");
                assert!(!text.contains("style=") && !text.contains("<script"));
            } else {
                assert_eq!(kind, "application/json");
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(value["error"], refusal.code());
                assert!(value["message"].as_str().unwrap().ends_with('.'));
                assert_eq!(value["retry_after"].as_u64(), refusal.retry_secs());
                assert_eq!(value["login_url"].as_str(), refusal.login_url());
            }
        }
    }
}

#[test]
fn c10_nobody_frames_us_or_holds_our_window() {
    for (_, refusal) in all() {
        for asker in [person(), script()] {
            let response = refuse(&refusal, &asker);
            let headers = response.headers();
            let policy = headers["content-security-policy"].to_str().unwrap();
            for part in [
                "default-src 'none'",
                "form-action 'self'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
            ] {
                assert!(policy.contains(part));
            }
            assert!(!policy.contains("unsafe"));
            assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
            assert_eq!(headers["x-content-type-options"], "nosniff");
        }
    }
}

#[test]
fn c13_no_refusal_is_kept_by_a_cache() {
    for (_, refusal) in all() {
        let response = refuse(&refusal, &person());
        assert_eq!(response.headers()["cache-control"], "private, no-store");
    }
}

#[test]
fn a_malformed_request_is_the_last_on_its_connection() {
    let response = refuse(&Malformed::Framing.into(), &script());
    assert_eq!(response.headers()["connection"], "close");
    let mut two = script();
    two.http2 = true;
    let response = refuse(&Malformed::Framing.into(), &two);
    assert!(!response.headers().contains_key("connection"));
}

#[test]
fn waiting_is_told_in_seconds_rounded_up() {
    let refusal = Refusal::TooOften {
        retry_after: Duration::from_millis(1500),
    };
    let response = refuse(&refusal, &script());
    assert_eq!(response.headers()["retry-after"], "2");
}

#[test]
fn c12_too_many_cookies_have_a_way_out() {
    let refusal: Refusal = Malformed::TooLarge.into();
    let page = text(refuse(&refusal, &person()));
    assert!(page.contains("https://auth.example.com/clear-cookies"));
    let mut portal = person();
    portal.at_portal = true;
    let response = refuse(&refusal, &portal);
    assert_eq!(response.headers()["clear-site-data"], "\"cookies\"");
}

#[test]
fn l12_what_a_visitor_sent_is_escaped() {
    let mut asker = person();
    asker.id = "<script>alert(1)</script>".to_owned();
    let refusal = Refusal::NotSignedIn {
        why: NotSignedIn::Missing,
        login_url: Some("https://x/\"><script>".to_owned()),
    };
    assert!(!text(refuse(&refusal, &asker)).contains("<script"));
}
