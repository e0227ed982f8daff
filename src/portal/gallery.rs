//! Every page once, with sample content: what the screenshots and the checks of contrast and
//! overflow are taken of.

use std::time::Duration;

use super::{qr, view};
use crate::{
    authn::NotSignedIn,
    config::Policy,
    intake::Malformed,
    reply::{
        Asker, Refusal,
        page::{refusal_html, render},
    },
};

/// Name and HTML of every page that there is.
pub fn gallery() -> Vec<(&'static str, String)> {
    let mut pages = first_step();
    pages.extend(signing_in());
    pages.extend(setting_up());
    pages.push(factors());
    pages.push(app());
    pages.extend(account());
    pages.extend(own_account());
    pages.extend(refusals());
    pages
}

/// The first step.
fn first_step() -> Vec<(&'static str, String)> {
    vec![
        (
            "login",
            render(&view::Login {
                action: "/login".to_owned(),
                host: Some("press-line-4.workshop.example.com"),
                ..Default::default()
            }),
        ),
        (
            "login-remembered",
            render(&view::Login {
                action: "/login".to_owned(),
                username: "alice",
                remember: true,
                ..Default::default()
            }),
        ),
        (
            "login-wrong",
            render(&view::Login {
                action: "/login".to_owned(),
                host: Some("r1.example.com"),
                username: "alice",
                wrong: true,
                errors_title: "That did not work",
                errors: vec![view::FieldError::new(
                    "username",
                    "The user name or the password is wrong.",
                )],
                ..Default::default()
            }),
        ),
    ]
}

fn signing_in() -> Vec<(&'static str, String)> {
    vec![
        (
            "key",
            render(&view::Key {
                action: "/login/key".to_owned(),
                code: "/login/code".to_owned(),
                recovery: "/login/recovery".to_owned(),
                restart: "/login".to_owned(),
                username: "alice",
                ..Default::default()
            }),
        ),
        (
            "key-hardware",
            render(&view::Key {
                action: "/login/key".to_owned(),
                restart: "/login".to_owned(),
                username: "alice",
                host: Some("press-line-4.workshop.example.com"),
                hardware: true,
                again: true,
                errors_title: "That did not work",
                errors: vec![view::FieldError::new(
                    "key",
                    "That key is not registered here for this. Use another one, or another way.",
                )],
                ..Default::default()
            }),
        ),
        (
            "code",
            render(&view::Code {
                action: "/login/code".to_owned(),
                key: "/login/key".to_owned(),
                recovery: "/login/recovery".to_owned(),
                restart: "/login".to_owned(),
                username: "alice",
                ..Default::default()
            }),
        ),
        (
            "code-wrong",
            render(&view::Code {
                action: "/login/code".to_owned(),
                key: String::new(),
                recovery: "/login/recovery".to_owned(),
                restart: "/login".to_owned(),
                username: "alice",
                errors_title: "That did not work",
                errors: vec![view::FieldError::new(
                    "code",
                    "That code is wrong or was used before. Wait for the next one.",
                )],
            }),
        ),
        (
            "onward",
            render(&view::Onward {
                href: "#stay",
                host: "r1.example.com",
            })
            .replace("http-equiv=\"refresh\"", "name=\"refresh\""),
        ),
        (
            "continue",
            render(&view::Continue {
                action: "/login/continue".to_owned(),
                host: "r1.example.com",
                username: "alice",
            }),
        ),
    ]
}

fn setting_up() -> Vec<(&'static str, String)> {
    let uri =
        "otpauth://totp/Portcullis:alice?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Portcullis";
    let totp = |errors| view::SetupTotp {
        action: "/setup/x".to_owned(),
        qr: qr::svg(uri),
        uri,
        groups: qr::groups("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"),
        draft: "sealed",
        errors_title: "That did not work",
        errors,
    };
    vec![
        (
            "setup-password",
            render(&view::SetupPassword {
                action: "/setup/x".to_owned(),
                username: "alice",
                password_min: 10,
                two_steps: true,
                ..Default::default()
            }),
        ),
        (
            "setup-password-wrong",
            render(&view::SetupPassword {
                action: "/setup/x".to_owned(),
                username: "alice",
                password_min: 10,
                two_steps: true,
                errors_title: "Please put this right",
                errors: vec![
                    view::FieldError::new(
                        "password",
                        "This password is too short: use 10 characters or more.",
                    ),
                    view::FieldError::new("again", "The two passwords are not the same."),
                ],
            }),
        ),
        ("setup-totp", render(&totp(Vec::new()))),
        (
            "setup-totp-wrong",
            render(&totp(vec![view::FieldError::new(
                "code",
                "That code does not fit. Check the clock of your phone and type the next one.",
            )])),
        ),
        (
            "setup-done",
            render(&view::SetupDone {
                username: "alice",
                two_steps: true,
            }),
        ),
    ]
}

fn app() -> (&'static str, String) {
    let uri = "otpauth://totp/example.com:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=example.com";
    let page = view::AccountApp {
        here: "/account/factors",
        replaces: true,
        qr: qr::svg(uri),
        uri,
        groups: qr::groups("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
        draft: "x",
        ..Default::default()
    };
    ("account-app", render(&page))
}

fn factors() -> (&'static str, String) {
    let keys = [
        ("Key ring", "Security key", "25 Nov 2026, 09:12 UTC"),
        ("Laptop", "Passkey, on all devices of its account", "never"),
    ]
    .map(|(name, kind, last_used)| view::FactorLine {
        handle: format!("{:02x}", name.len()),
        name: name.to_owned(),
        kind,
        since: "24 Nov 2026, 07:58 UTC".to_owned(),
        last_used: last_used.to_owned(),
    });
    let page = view::AccountFactors {
        here: "/account/factors",
        notice: Some("It is registered. Every other session of yours has ended."),
        totp: true,
        keys: keys.to_vec(),
        ..Default::default()
    };
    ("account-factors", render(&page))
}

fn account() -> Vec<(&'static str, String)> {
    let line = |agent: &str, address: &str, this| view::SessionLine {
        handle: "00".to_owned(),
        agent: agent.to_owned(),
        address: address.to_owned(),
        since: "24 Nov 2026, 07:58 UTC".to_owned(),
        last_used: "2 minutes ago".to_owned(),
        hosts: "r1.example.com, press-line-4.workshop.example.com".to_owned(),
        this,
    };
    vec![
        (
            "account",
            render(&view::Account {
                here: "/account",
                greeting: "Hello, Alice Example".to_owned(),
                notice: Some("That session is over, and everything that it had open is closed."),
                username: "alice",
                email: "alice@example.com",
                groups: "operators, night-shift".to_owned(),
                factors: "password, authenticator app".to_owned(),
                until: "24 Nov 2026, 19:58 UTC".to_owned(),
                sessions: vec![
                    line("Chromium on Linux", "192.0.2.17", true),
                    line("Safari on iPhone", "2001:db8:85a3::8a2e:370:7334", false),
                    line("Firefox on Windows", "198.51.100.4", false),
                ],
            }),
        ),
        ("logout", render(&view::Logout { username: "alice" })),
        ("logged-out", render(&super::account::signed_out())),
        ("signed-in-window", render(&super::in_page::signed_in())),
        ("clear-cookies", render(&super::account::clear_cookies())),
        ("cleared", render(&super::account::cookies_cleared())),
    ]
}

fn own_account() -> Vec<(&'static str, String)> {
    vec![
        (
            "account-password",
            render(&view::AccountPassword {
                here: "/account/password",
                username: "alice",
                password_min: 10,
                ..Default::default()
            }),
        ),
        (
            "account-password-wrong",
            render(&view::AccountPassword {
                here: "/account/password",
                username: "alice",
                password_min: 10,
                errors_title: "Please put this right",
                errors: vec![view::FieldError::new(
                    "old",
                    "That is not your password until now.",
                )],
                ..Default::default()
            }),
        ),
        (
            "account-profile",
            render(&view::AccountProfile {
                here: "/account/profile",
                notice: Some("Saved. Every app is told from now on."),
                username: "alice",
                display_name: "Alice Example",
                email: "alice@example.com",
                ..Default::default()
            }),
        ),
        ("account-activity", render(&activity())),
        (
            "account-recovery",
            render(&view::AccountRecovery {
                here: "/account/recovery",
                left: 7,
                ..Default::default()
            }),
        ),
        ("account-recovery-codes", render(&recovery_codes())),
        (
            "told",
            render(&view::Told {
                action: "/login/told".to_owned(),
                host: Some("r1.example.com"),
                notices: vec![
                    "A recovery code was used on 24 Nov 2026, 07:58 UTC. 6 are left. If your \
                     authenticator app is lost for good, ask the people who run this server for \
                     a new set-up link. If it was not you, change your password and make new \
                     recovery codes."
                        .to_owned(),
                ],
            }),
        ),
        (
            "recovery",
            render(&view::RecoveryLogin {
                action: "/login/recovery".to_owned(),
                restart: "/login".to_owned(),
                username: "alice",
                ..Default::default()
            }),
        ),
        (
            "recovery-wrong",
            render(&view::RecoveryLogin {
                action: "/login/recovery".to_owned(),
                restart: "/login".to_owned(),
                username: "alice",
                errors_title: "That did not work",
                errors: vec![view::FieldError::new(
                    "code",
                    "That code is wrong or was used before.",
                )],
            }),
        ),
        (
            "again",
            render(&view::Again {
                username: "alice",
                ..Default::default()
            }),
        ),
    ]
}

fn recovery_codes() -> view::AccountRecovery {
    let code = |it: u32| format!("{it:04}-k7pm-2w9x-q{it:03}");
    view::AccountRecovery {
        here: "/account/recovery",
        left: 10,
        codes: (1..=10).map(|it| code(it * 311)).collect(),
    }
}

fn activity() -> view::AccountActivity {
    let line = |what: &str, from: &str| view::ActivityLine {
        what: what.to_owned(),
        when: "24 Nov 2026, 07:58 UTC".to_owned(),
        from: from.to_owned(),
    };
    view::AccountActivity {
        here: "/account/activity",
        events: vec![
            line(
                "Signed in: password, authenticator app",
                "Chromium on Linux · 192.0.2.17",
            ),
            line(
                "Sign-in failed: wrong password, 4 times within the hour",
                "Safari on iPhone · 2001:db8:85a3::8a2e:370:7334",
            ),
            line("Second step reset", "by the people who run this server"),
            line("Account set up", "Firefox on Windows · 198.51.100.4"),
        ],
    }
}

fn refusals() -> Vec<(&'static str, String)> {
    let secs = Duration::from_secs;
    let url = || Some("https://auth.example.com/login".to_owned());
    let again = || "https://r1.example.com/".to_owned();
    let all: [(&str, Refusal); 17] = [
        ("400", Malformed::Ambiguous.into()),
        (
            "401",
            Refusal::NotSignedIn {
                why: NotSignedIn::Missing,
                login_url: url(),
            },
        ),
        (
            "401-level",
            Refusal::NotEnough {
                policy: Policy::TwoFactor,
                login_url: url(),
            },
        ),
        ("403", Refusal::Forbidden),
        ("403-cross-site", Refusal::CrossSite),
        ("404", Refusal::NotFound),
        ("404-link", Refusal::LinkGone),
        ("405", Refusal::Method { allow: "POST" }),
        ("413", Malformed::BodyTooLarge.into()),
        ("421", Malformed::Misdirected.into()),
        (
            "429",
            Refusal::TooOften {
                retry_after: secs(840),
            },
        ),
        ("431", Malformed::TooLarge.into()),
        ("502", Refusal::Unreachable),
        ("503-stopped", Refusal::Stopped),
        (
            "503-starting",
            Refusal::Starting {
                retry_after: secs(2),
            },
        ),
        (
            "503-store",
            Refusal::StoreAway {
                retry_after: secs(5),
            },
        ),
        ("cookie-trouble", Refusal::CookieTrouble { again: again() }),
    ];
    let lost = ("sign-in-lost", Refusal::SignInLost { again: again() });
    let mut asker = Asker::from_head(&http::Method::GET, &http::HeaderMap::new())
        .with_portal("https://auth.example.com");
    "Zt0mYhJb3m0w5o3Q1n2P7A".clone_into(&mut asker.id);
    all.into_iter()
        .chain([lost])
        .map(|(name, refusal)| (name, refusal_html(&refusal, &asker)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `tests/live/screens.mjs` finds them; set, the gallery is written there too.
    const FOLDER: &str = "tests/live/out/gallery";

    #[test]
    fn every_page_is_one_document_with_one_heading_and_no_script_or_inline_style() {
        let pages = gallery();
        assert!(pages.len() > 30);
        for (name, html) in &pages {
            assert!(html.starts_with("<!doctype html>"), "{name}");
            assert!(html.contains("<html lang=\"en\">"), "{name}");
            assert_eq!(html.matches("<h1>").count(), 1, "{name}");
            // One script of our own, which asks the browser for keys, and no other.
            let keys = format!(
                "<script type=\"module\" src=\"{}\"></script>",
                crate::reply::script::path()
            );
            let html = html.replacen(&keys, "", 1);
            for never in ["<script", " style=", "<style", " onclick", "javascript:"] {
                assert!(!html.contains(never), "{name} has {never}");
            }
            assert!(!html.contains("src=\""), "{name} loads something");
        }
        std::fs::create_dir_all(FOLDER).unwrap();
        for (name, html) in &pages {
            std::fs::write(format!("{FOLDER}/{name}.html"), html).unwrap();
        }
    }

    #[test]
    fn every_field_has_a_label_and_browsers_can_fill_it_in() {
        for (name, html) in gallery() {
            for (at, _) in html.match_indices("<input ") {
                let tag = html[at..].split('>').next().unwrap();
                if tag.contains("type=\"hidden\"") {
                    continue;
                }
                let id = tag.split(" id=\"").nth(1).unwrap();
                let id = id.split('"').next().unwrap();
                assert!(
                    html.contains(&format!("<label for=\"{id}\"")),
                    "{name} {id}"
                );
                assert!(tag.contains("autocomplete=\""), "{name} {id}");
            }
        }
    }

    #[test]
    fn an_error_is_announced_and_tied_to_its_field() {
        for (name, html) in gallery() {
            if name.ends_with("-wrong") {
                assert!(html.contains("role=\"alert\""), "{name}");
                assert!(html.contains("aria-invalid=\"true\""), "{name}");
                assert!(html.contains("aria-describedby="), "{name}");
                assert!(html.contains("<title>Error: "), "{name}");
            }
        }
    }
}
