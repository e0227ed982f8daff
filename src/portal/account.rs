//! The account page, signing out, and clearing a browser's cookies.

use super::view::{Note, NoteLink};

/// After signing out.
pub(super) fn signed_out() -> Note<'static> {
    Note {
        title: "You are signed out",
        gate: "down",
        happened: "Everything that was open in this browser is closed too. You can close this tab.",
        link: NoteLink {
            href: "/login",
            text: "Sign in again",
        },
        ..Note::default()
    }
}

/// Before clearing cookies.
pub(super) fn clear_cookies() -> Note<'static> {
    Note {
        title: "Clear this browser's cookies?",
        gate: "down",
        happened: "An app has left so many cookies that nothing gets through any more. This deletes the \
                   cookies of this site and of all its apps in this browser. You will have to sign in again.",
        post: NoteLink {
            href: "/clear-cookies",
            text: "Clear the cookies",
        },
        ..Note::default()
    }
}

/// After clearing cookies.
pub(super) fn cookies_cleared() -> Note<'static> {
    Note {
        title: "The cookies are gone",
        gate: "down",
        happened: "Your browser starts afresh here. Sign in, and everything should work again.",
        link: NoteLink {
            href: "/login",
            text: "Sign in",
        },
        ..Note::default()
    }
}
