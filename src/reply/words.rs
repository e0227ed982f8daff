//! What a refusal says: what happened, and what to do.

use super::{Asker, Refusal, page::Button};
use crate::{config::Policy, intake::Malformed, socket::quota::Full};

/// The words of one refusal.
pub(super) struct Words {
    pub(super) title: &'static str,
    /// How the gate hangs: `down`, `half`, `up`.
    pub(super) gate: &'static str,
    pub(super) happened: String,
    pub(super) next: Vec<String>,
    pub(super) button: Option<Button>,
}

const ASK: &str = "If it keeps happening, tell the people who run this server, and give them the reference below.";

/// One sentence, for the JSON answer.
pub(super) fn message(refusal: &Refusal) -> &'static str {
    sentences(refusal).1
}

/// The words for a person.
pub(super) fn of(refusal: &Refusal, asker: &Asker) -> Words {
    let (title, happened) = sentences(refusal);
    let mut next: Vec<String> = advice(refusal, asker)
        .iter()
        .map(|it| (*it).to_owned())
        .collect();
    if let Refusal::TooOften { .. } = refusal {
        next.insert(0, format!("Wait {}, then try again.", wait(refusal)));
    }
    Words {
        title,
        gate: if matches!(refusal, Refusal::Starting { .. }) {
            "half"
        } else {
            "down"
        },
        happened: happened.to_owned(),
        next,
        button: button(refusal, asker),
    }
}

/// Title and what happened.
fn sentences(refusal: &Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::Malformed(malformed) => malformed_sentences(*malformed),
        Refusal::NotSignedIn { .. } => (
            "Please sign in",
            "You are not signed in here, or no longer.",
        ),
        Refusal::NotEnough { .. } => (
            "One more step",
            "This page asks for a stronger or fresher sign-in than you have just now.",
        ),
        Refusal::Forbidden => (
            "Nothing here for you",
            "This site does not exist, or your account may not open it.",
        ),
        Refusal::CrossSite => (
            "Stopped at the gate",
            "This request was started by another site, so it was not carried out.",
        ),
        Refusal::NotFound => ("No such page", "There is nothing at this address."),
        Refusal::Method { .. } => (
            "Not served here",
            "This address does not take that kind of request.",
        ),
        Refusal::MediaType => (
            "Wrong format",
            "What was sent is in a format that is not read here.",
        ),
        Refusal::Unreadable => (
            "That did not arrive whole",
            "What was sent could not be read.",
        ),
        Refusal::TooOften { .. } => (
            "Too many tries",
            "There were too many tries in a short time, so this is closed for a moment.",
        ),
        Refusal::TooManySockets { whose, .. } => (
            "Too many windows",
            match whose {
                Full::Login => {
                    "You have as many live connections to this site open as there may be."
                }
                Full::Tenant => "This site has as many live connections open as there may be.",
            },
        ),
        Refusal::LinkGone => (
            "This link no longer works",
            "Set-up links work once, and only for a limited time.",
        ),
        Refusal::SignInLost { .. } => (
            "That attempt has expired",
            "It took longer than ten minutes, or was begun in another browser.",
        ),
        Refusal::CookieTrouble { .. } => (
            "Your browser lost the cookie",
            "You signed in, but your browser did not keep the cookie that proves it.",
        ),
        Refusal::Unreachable => (
            "The app does not answer",
            "You are through the gate, but the app behind it cannot be reached.",
        ),
        Refusal::TimedOut => (
            "The app took too long",
            "You are through the gate, but the app behind it did not answer in time.",
        ),
        Refusal::Stopped => ("The app is stopped", "Somebody has switched this app off."),
        Refusal::Starting { .. } => (
            "The app is starting",
            "It will be ready in a moment. This page looks again by itself.",
        ),
        Refusal::Busy { .. } => (
            "A queue at the gate",
            "Many people are signing in at this moment.",
        ),
        Refusal::StoreAway { .. } => (
            "Back in a moment",
            "The gateway cannot reach its records just now, so nobody can sign in. You have done nothing wrong.",
        ),
    }
}

fn malformed_sentences(malformed: Malformed) -> (&'static str, &'static str) {
    match malformed {
        Malformed::Misdirected => (
            "Wrong door",
            "Your browser reused a connection that was made for another site.",
        ),
        Malformed::Method => (
            "Not served here",
            "This kind of request is not served here.",
        ),
        Malformed::TooLarge => (
            "Too many cookies",
            "Your browser sent more cookies or headers than fit through the gate.",
        ),
        Malformed::BodyTooLarge => (
            "Too large",
            "What you sent is larger than this server lets through.",
        ),
        Malformed::Host | Malformed::Authority => (
            "Which site?",
            "The request did not say clearly which site it is for.",
        ),
        Malformed::Target | Malformed::Ambiguous => (
            "That address is unclear",
            "The address could be read in two ways, so it was not passed on.",
        ),
        Malformed::Framing | Malformed::Handshake | Malformed::EngineIo => (
            "That did not arrive whole",
            "The request was malformed, so it was not passed on.",
        ),
    }
}

fn advice(refusal: &Refusal, asker: &Asker) -> &'static [&'static str] {
    match refusal {
        Refusal::Malformed(malformed) => match malformed {
            Malformed::Misdirected => &["Load the page again.", ASK],
            Malformed::TooLarge if asker.at_portal => &[
                "We have asked your browser to delete the cookies of this site. Load the page again and sign in.",
                ASK,
            ],
            Malformed::TooLarge => &["Clear the cookies of this site, then sign in again.", ASK],
            Malformed::BodyTooLarge => &[
                "Try a smaller file.",
                "The people who run this server can raise the limit.",
            ],
            Malformed::Host
            | Malformed::Authority
            | Malformed::Target
            | Malformed::Ambiguous
            | Malformed::Framing
            | Malformed::Method
            | Malformed::Handshake
            | Malformed::EngineIo => &["Check the address, or go back and try again.", ASK],
        },
        Refusal::NotSignedIn { .. } => &[
            "Sign in, and you come back to this page.",
            "What you had typed was not sent. Copy it before you go on.",
        ],
        Refusal::NotEnough {
            login_url: Some(_), ..
        } => &["Sign in once more, and you come back to this page."],
        Refusal::NotEnough {
            policy: Policy::HardwareKey,
            ..
        } => &[
            "This app can be opened with a security key only, and your account has none that counts: \
             a passkey that is copied between devices does not.",
            "Add one at your account page, under Second steps.",
        ],
        Refusal::NotEnough { .. } => &[
            "Your account has no authenticator app yet.",
            "Ask the people who run this server for a new set-up link: it takes two minutes.",
        ],
        Refusal::Forbidden => &[
            "Check the address for a slip.",
            "To be let in, ask the people who run this server.",
            "Do you have another account? Sign out, then sign in with that one.",
        ],
        Refusal::CrossSite => &[
            "If you wanted this, open the site itself and do it there.",
            "If you did not, there is nothing to do: nothing happened.",
        ],
        Refusal::NotFound => &["Check the address, or begin at your account page."],
        Refusal::Method { .. } | Refusal::MediaType | Refusal::Unreadable => {
            &["Go back and try again.", ASK]
        }
        Refusal::TooOften { .. } => &["Trying sooner does not help."],
        Refusal::TooManySockets { .. } => {
            &["Close other windows of this site, then try again.", ASK]
        }
        Refusal::LinkGone => &[
            "Have you used it already? Then sign in.",
            "Otherwise ask the people who run this server for a new link.",
        ],
        Refusal::SignInLost { .. } => &["Begin again. It takes a moment."],
        Refusal::CookieTrouble { .. } => &[
            "Allow cookies for this site, then try again.",
            "Is it a private window, or does an add-on delete cookies? Try without.",
        ],
        Refusal::Unreachable | Refusal::TimedOut => {
            &["Wait a minute and load the page again.", ASK]
        }
        Refusal::Stopped => &["Ask the people who run this server to start it."],
        Refusal::Starting { .. } => {
            &["If this takes longer than two minutes, tell the people who run this server."]
        }
        Refusal::Busy { .. } => {
            &["Go back in a few seconds and try again. Your password was not looked at."]
        }
        Refusal::StoreAway { .. } => &[
            "This page looks again by itself.",
            "Apps that you have open go on working for some minutes.",
        ],
    }
}

fn button(refusal: &Refusal, asker: &Asker) -> Option<Button> {
    let link = |href: String, text| {
        Some(Button {
            href,
            text,
            post: false,
        })
    };
    let at_portal = |path: &str| format!("{}{path}", asker.portal);
    let has_portal = asker.at_portal || !asker.portal.is_empty();
    match refusal {
        Refusal::NotSignedIn { login_url, .. } | Refusal::NotEnough { login_url, .. } => {
            login_url.clone().and_then(|it| link(it, "Sign in"))
        }
        Refusal::Malformed(Malformed::TooLarge) if has_portal && !asker.at_portal => {
            link(at_portal("/clear-cookies"), "Clear the cookies")
        }
        Refusal::Forbidden | Refusal::NotFound if has_portal => {
            link(at_portal("/account"), "Your account")
        }
        Refusal::LinkGone => link(at_portal("/login"), "Sign in"),
        Refusal::SignInLost { again } | Refusal::CookieTrouble { again } => {
            link(again.clone(), "Begin again")
        }
        Refusal::Malformed(_)
        | Refusal::Forbidden
        | Refusal::NotFound
        | Refusal::CrossSite
        | Refusal::Method { .. }
        | Refusal::MediaType
        | Refusal::Unreadable
        | Refusal::TooOften { .. }
        | Refusal::TooManySockets { .. }
        | Refusal::Unreachable
        | Refusal::TimedOut
        | Refusal::Stopped
        | Refusal::Starting { .. }
        | Refusal::Busy { .. }
        | Refusal::StoreAway { .. } => None,
    }
}

fn wait(refusal: &Refusal) -> String {
    match refusal.retry_secs().unwrap_or(1) {
        1 => "a second".to_owned(),
        secs @ 2..=90 => format!("{secs} seconds"),
        secs => format!("{} minutes", secs.div_ceil(60)),
    }
}
