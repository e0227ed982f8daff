//! The portal's pages as values; `web/templates` is how they look.

use askama::Template;

/// Something to put right in a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldError {
    /// The field's id; empty: the form as a whole.
    pub(super) field: &'static str,
    /// What to put right.
    pub(super) text: String,
}

impl FieldError {
    /// About one field.
    pub(super) fn new(field: &'static str, text: impl Into<String>) -> Self {
        Self {
            field,
            text: text.into(),
        }
    }
}

/// User name and password.
#[derive(Debug, Default, Template)]
#[template(path = "login.html")]
pub(super) struct Login<'a> {
    /// Where the form goes.
    pub(super) action: String,
    /// Where a passkey's answer goes.
    pub(super) passkey: String,
    /// Where one wants to go on to.
    pub(super) host: Option<&'a str>,
    /// Why one is asked, if it is not plain.
    pub(super) notice: Option<&'a str>,
    /// As typed before.
    pub(super) username: &'a str,
    /// Whether the browser is to begin with this name the next time.
    pub(super) remember: bool,
    /// Whether name or password were wrong (it is never told which).
    pub(super) wrong: bool,
    /// Above the errors.
    pub(super) errors_title: &'static str,
    /// What to put right.
    pub(super) errors: Vec<FieldError>,
}

/// The second step.
#[derive(Debug, Default, Template)]
#[template(path = "code.html")]
pub(super) struct Code<'a> {
    /// Where the form goes.
    pub(super) action: String,
    /// Where a key is taken instead; empty: there is none.
    pub(super) key: String,
    /// Where a recovery code is taken instead; empty: there is none.
    pub(super) recovery: String,
    /// Where to begin again.
    pub(super) restart: String,
    /// Whose code.
    pub(super) username: &'a str,
    /// Above the errors.
    pub(super) errors_title: &'static str,
    /// What to put right.
    pub(super) errors: Vec<FieldError>,
}

/// The second step, with a key.
#[derive(Debug, Default, Template)]
#[template(path = "key.html")]
pub(super) struct Key<'a> {
    /// Where the form goes.
    pub(super) action: String,
    /// Where a code is taken instead; empty: nowhere.
    pub(super) code: String,
    /// Where a recovery code is taken instead; empty: there is none.
    pub(super) recovery: String,
    /// Where to begin again.
    pub(super) restart: String,
    /// Whose key.
    pub(super) username: &'a str,
    /// Where one wants to go on to.
    pub(super) host: Option<&'a str>,
    /// Whether it must be a piece of hardware.
    pub(super) hardware: bool,
    /// Whether one is signed in already.
    pub(super) again: bool,
    /// Above the errors.
    pub(super) errors_title: &'static str,
    /// What to put right.
    pub(super) errors: Vec<FieldError>,
}

/// An authenticator app, from the account page.
#[derive(Debug, Default, Template)]
#[template(path = "account_app.html")]
pub(super) struct AccountApp<'a> {
    /// Which part this is.
    pub(super) here: &'static str,
    /// Whether there is one, which goes.
    pub(super) replaces: bool,
    /// The QR code as SVG, made by [`super::qr`].
    pub(super) qr: String,
    /// `otpauth://...`
    pub(super) uri: &'a str,
    /// The secret, four characters at a time.
    pub(super) groups: Vec<String>,
    /// What the form carries from step to step, sealed.
    pub(super) draft: &'a str,
    /// Above the errors.
    pub(super) errors_title: &'static str,
    /// What to put right.
    pub(super) errors: Vec<FieldError>,
}

/// One key or passkey.
#[derive(Debug, Clone, Default)]
pub(super) struct FactorLine {
    /// Names it in forms: its id, hexadecimal.
    pub(super) handle: String,
    /// What its owner calls it.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: &'static str,
    /// Since when.
    pub(super) since: String,
    /// When last.
    pub(super) last_used: String,
}

/// Second steps.
#[derive(Debug, Default, Template)]
#[template(path = "account_factors.html")]
pub(super) struct AccountFactors<'a> {
    /// Which part this is.
    pub(super) here: &'static str,
    /// What was just done.
    pub(super) notice: Option<&'a str>,
    /// Whether there is an authenticator app.
    pub(super) totp: bool,
    /// Whether there is but one, which stays.
    pub(super) last: bool,
    /// Keys and passkeys.
    pub(super) keys: Vec<FactorLine>,
    /// Above the errors.
    pub(super) errors_title: &'static str,
    /// What to put right.
    pub(super) errors: Vec<FieldError>,
}

/// On the way from a form to a tenant: browsers do not let a form's answer redirect there.
#[derive(Debug, Template)]
#[template(path = "onward.html")]
pub(super) struct Onward<'a> {
    /// The tenant's callback.
    pub(super) href: &'a str,
    /// The tenant's host.
    pub(super) host: &'a str,
}

/// Asks before going on, where the browser does not say that a person wants to.
#[derive(Debug, Template)]
#[template(path = "continue.html")]
pub(super) struct Continue<'a> {
    /// Where the form goes.
    pub(super) action: String,
    /// The tenant's host.
    pub(super) host: &'a str,
    /// Who is signed in.
    pub(super) username: &'a str,
}

/// Set-up: a password.
#[derive(Debug, Default, Template)]
#[template(path = "setup_password.html")]
pub(super) struct SetupPassword<'a> {
    /// Where the form goes.
    pub(super) action: String,
    /// For whom.
    pub(super) username: &'a str,
    /// The shortest that is taken.
    pub(super) password_min: usize,
    /// Whether TOTP follows.
    pub(super) two_steps: bool,
    /// Above the errors.
    pub(super) errors_title: &'static str,
    /// What to put right.
    pub(super) errors: Vec<FieldError>,
}

impl SetupPassword<'_> {
    fn has(&self, field: &str) -> bool {
        self.errors.iter().any(|it| it.field == field)
    }
}

/// Set-up: an authenticator.
#[derive(Debug, Default, Template)]
#[template(path = "setup_totp.html")]
pub(super) struct SetupTotp<'a> {
    /// Where the form goes.
    pub(super) action: String,
    /// The QR code as SVG, made by [`super::qr`].
    pub(super) qr: String,
    /// `otpauth://...`
    pub(super) uri: &'a str,
    /// The secret, four characters at a time.
    pub(super) groups: Vec<String>,
    /// What the form carries from step to step, sealed.
    pub(super) draft: &'a str,
    /// Above the errors.
    pub(super) errors_title: &'static str,
    /// What to put right.
    pub(super) errors: Vec<FieldError>,
}

/// Set-up: finished.
#[derive(Debug, Template)]
#[template(path = "setup_done.html")]
pub(super) struct SetupDone<'a> {
    /// For whom.
    pub(super) username: &'a str,
    /// Whether TOTP was set up too.
    pub(super) two_steps: bool,
}

/// One line of the list of sessions.
#[derive(Debug, Clone, Default)]
pub(super) struct SessionLine {
    /// Names it in the form: the hexadecimal digest, which grants nothing.
    pub(super) handle: String,
    /// The browser and system.
    pub(super) agent: String,
    /// Where from.
    pub(super) address: String,
    /// Since when.
    pub(super) since: String,
    /// When last.
    pub(super) last_used: String,
    /// Hosts it was granted to.
    pub(super) hosts: String,
    /// Whether it is this very one.
    pub(super) this: bool,
}

/// A part of the account page.
#[derive(Debug)]
pub(super) struct Part {
    /// Where it is.
    pub(super) path: &'static str,
    /// What it is called.
    pub(super) text: &'static str,
}

/// All parts, as the navigation has them.
pub(super) const PARTS: &[Part] = &[
    Part {
        path: "/account",
        text: "Overview",
    },
    Part {
        path: "/account/factors",
        text: "Second steps",
    },
    Part {
        path: "/account/password",
        text: "Password",
    },
    Part {
        path: "/account/profile",
        text: "Name and e-mail",
    },
    Part {
        path: "/account/recovery",
        text: "Recovery codes",
    },
    Part {
        path: "/account/activity",
        text: "Activity",
    },
];

/// A recovery code in place of the second step.
#[derive(Debug, Default, Template)]
#[template(path = "recovery_login.html")]
pub(super) struct RecoveryLogin<'a> {
    /// Where the form goes.
    pub(super) action: String,
    /// Where to begin again.
    pub(super) restart: String,
    /// Whose code.
    pub(super) username: &'a str,
    /// Above the errors.
    pub(super) errors_title: &'static str,
    /// What to put right.
    pub(super) errors: Vec<FieldError>,
}

/// What happened to an account since its owner was last here.
#[derive(Debug, Default, Template)]
#[template(path = "told.html")]
pub(super) struct Told<'a> {
    /// Where the form goes.
    pub(super) action: String,
    /// Where one wants to go on to.
    pub(super) host: Option<&'a str>,
    /// What happened.
    pub(super) notices: Vec<String>,
}

/// Recovery codes.
#[derive(Debug, Default, Template)]
#[template(path = "account_recovery.html")]
pub(super) struct AccountRecovery {
    /// Which part this is.
    pub(super) here: &'static str,
    /// How many are left.
    pub(super) left: u32,
    /// A new set, shown once; empty: none was made just now.
    pub(super) codes: Vec<String>,
}

/// Your password, please.
#[derive(Debug, Default, Template)]
#[template(path = "again.html")]
pub(super) struct Again<'a> {
    /// Whose.
    pub(super) username: &'a str,
    /// Above the errors.
    pub(super) errors_title: &'static str,
    /// What to put right.
    pub(super) errors: Vec<FieldError>,
}

/// A new password.
#[derive(Debug, Default, Template)]
#[template(path = "account_password.html")]
pub(super) struct AccountPassword<'a> {
    /// Which part this is.
    pub(super) here: &'static str,
    /// What was just done.
    pub(super) notice: Option<&'a str>,
    /// Whose.
    pub(super) username: &'a str,
    /// The shortest that is taken.
    pub(super) password_min: usize,
    /// Above the errors.
    pub(super) errors_title: &'static str,
    /// What to put right.
    pub(super) errors: Vec<FieldError>,
}

impl AccountPassword<'_> {
    fn has(&self, field: &str) -> bool {
        self.errors.iter().any(|it| it.field == field)
    }
}

/// Full name and e-mail address.
#[derive(Debug, Default, Template)]
#[template(path = "account_profile.html")]
pub(super) struct AccountProfile<'a> {
    /// Which part this is.
    pub(super) here: &'static str,
    /// What was just done.
    pub(super) notice: Option<&'a str>,
    /// User name.
    pub(super) username: &'a str,
    /// Full name.
    pub(super) display_name: &'a str,
    /// E-mail.
    pub(super) email: &'a str,
    /// Above the errors.
    pub(super) errors_title: &'static str,
    /// What to put right.
    pub(super) errors: Vec<FieldError>,
}

impl AccountProfile<'_> {
    fn has(&self, field: &str) -> bool {
        self.errors.iter().any(|it| it.field == field)
    }
}

/// One line of what happened.
#[derive(Debug, Clone, Default)]
pub(super) struct ActivityLine {
    /// What.
    pub(super) what: String,
    /// When.
    pub(super) when: String,
    /// From where, and by what browser.
    pub(super) from: String,
}

/// What happened lately.
#[derive(Debug, Default, Template)]
#[template(path = "account_activity.html")]
pub(super) struct AccountActivity {
    /// Which part this is.
    pub(super) here: &'static str,
    /// The newest first.
    pub(super) events: Vec<ActivityLine>,
}

/// The account page.
#[derive(Debug, Default, Template)]
#[template(path = "account.html")]
pub(super) struct Account<'a> {
    /// Which part this is.
    pub(super) here: &'static str,
    /// `Hello, Alice`.
    pub(super) greeting: String,
    /// What was just done.
    pub(super) notice: Option<&'a str>,
    /// User name.
    pub(super) username: &'a str,
    /// E-mail; may be empty.
    pub(super) email: &'a str,
    /// Groups, joined; may be empty.
    pub(super) groups: String,
    /// Factors, joined.
    pub(super) factors: String,
    /// The login's hard end.
    pub(super) until: String,
    /// All live sessions, this one first.
    pub(super) sessions: Vec<SessionLine>,
}

/// Asks before signing out.
#[derive(Debug, Template)]
#[template(path = "logout.html")]
pub(super) struct Logout<'a> {
    /// Who is signed in.
    pub(super) username: &'a str,
}

/// Anything short: a title, a sentence, perhaps a button.
#[derive(Debug, Default, Template)]
#[template(path = "note.html")]
pub(super) struct Note<'a> {
    /// The title.
    pub(super) title: &'a str,
    /// How the gate hangs: `down`, `half`, `up`.
    pub(super) gate: &'static str,
    /// What happened.
    pub(super) happened: &'a str,
    /// Where to go on.
    pub(super) link: NoteLink<'a>,
    /// Where a form's button leads; its text and address.
    pub(super) post: NoteLink<'a>,
}

/// A link or a button of a note; an empty text: none.
#[derive(Debug, Default)]
pub(super) struct NoteLink<'a> {
    /// Where to.
    pub(super) href: &'a str,
    /// What it says.
    pub(super) text: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "\"><script>alert(1)</script>";

    #[test]
    fn l12_names_hosts_and_agents_are_escaped() {
        let error = || vec![FieldError::new("password", EVIL)];
        let pages = [
            Login {
                host: Some(EVIL),
                notice: Some(EVIL),
                username: EVIL,
                action: EVIL.to_owned(),
                errors: error(),
                ..Login::default()
            }
            .render(),
            Code {
                username: EVIL,
                action: EVIL.to_owned(),
                errors: error(),
                ..Code::default()
            }
            .render(),
            Key {
                username: EVIL,
                host: Some(EVIL),
                action: EVIL.to_owned(),
                errors: error(),
                ..Key::default()
            }
            .render(),
            AccountApp {
                uri: EVIL,
                draft: EVIL,
                groups: vec![EVIL.to_owned()],
                errors: error(),
                ..AccountApp::default()
            }
            .render(),
            AccountFactors {
                keys: vec![FactorLine {
                    name: EVIL.to_owned(),
                    ..FactorLine::default()
                }],
                errors: error(),
                ..AccountFactors::default()
            }
            .render(),
            Onward {
                href: EVIL,
                host: EVIL,
            }
            .render(),
            SetupPassword {
                username: EVIL,
                errors: error(),
                ..SetupPassword::default()
            }
            .render(),
            SetupTotp {
                uri: EVIL,
                draft: EVIL,
                groups: vec![EVIL.to_owned()],
                ..SetupTotp::default()
            }
            .render(),
            Account {
                greeting: EVIL.to_owned(),
                username: EVIL,
                email: EVIL,
                sessions: vec![SessionLine {
                    agent: EVIL.to_owned(),
                    hosts: EVIL.to_owned(),
                    handle: EVIL.to_owned(),
                    ..SessionLine::default()
                }],
                ..Account::default()
            }
            .render(),
        ];
        for page in pages.into_iter().chain(own_account()) {
            let page = page.unwrap();
            assert!(!page.contains("<script>"), "{page}");
        }
    }

    /// What people change about themselves.
    fn own_account() -> Vec<askama::Result<String>> {
        let error = || vec![FieldError::new("password", EVIL)];
        vec![
            RecoveryLogin {
                action: EVIL.to_owned(),
                username: EVIL,
                errors: error(),
                ..RecoveryLogin::default()
            }
            .render(),
            Told {
                host: Some(EVIL),
                notices: vec![EVIL.to_owned()],
                ..Told::default()
            }
            .render(),
            AccountRecovery {
                codes: vec![EVIL.to_owned()],
                ..AccountRecovery::default()
            }
            .render(),
            Again {
                username: EVIL,
                errors: error(),
                ..Again::default()
            }
            .render(),
            AccountPassword {
                username: EVIL,
                errors: error(),
                ..AccountPassword::default()
            }
            .render(),
            AccountProfile {
                username: EVIL,
                display_name: EVIL,
                email: EVIL,
                errors: error(),
                ..AccountProfile::default()
            }
            .render(),
            AccountActivity {
                events: vec![ActivityLine {
                    what: EVIL.to_owned(),
                    when: EVIL.to_owned(),
                    from: EVIL.to_owned(),
                }],
                ..AccountActivity::default()
            }
            .render(),
        ]
    }
}
