//! What an operator does to accounts, for the command line: on a store that the caller holds.

use std::net::SocketAddr;

use super::{hashing, notice, password, password::WeakPassword, totp, totp::NewTotp};
use crate::{
    clock::Timestamp,
    config::{Config, LoginRules},
    name::{GroupName, UserId, UserName},
    random,
    secret::{self, SealingKey, Secret},
    store::{CredentialKind, LinkRecord, Store, StoreError, UserChange, UserRecord, together},
    telemetry::audit::{Actor, Event, What},
};

/// Longest e-mail address or full name, in bytes.
const LONGEST: usize = 256;

/// Why text is no e-mail address or full name: both end up in headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("e-mail and full name have at most {LONGEST} bytes and no control characters")]
pub struct NotPlain;

/// What is known of a person, apart from how they sign in.
#[derive(Debug, Clone, Default)]
pub struct Particulars {
    /// E-mail; may be empty.
    pub email: String,
    /// The name in full; may be empty.
    pub display_name: String,
    /// Groups.
    pub groups: Vec<GroupName>,
}

impl Particulars {
    /// Refuses what could not go into a header.
    pub fn check(&self) -> Result<(), NotPlain> {
        let plain = |it: &str| it.len() <= LONGEST && !it.chars().any(char::is_control);
        if plain(&self.email) && plain(&self.display_name) {
            Ok(())
        } else {
            Err(NotPlain)
        }
    }
}

/// The user of that name as somebody typed it; no name, no user.
pub fn find(store: &mut dyn Store, typed: &str) -> Result<Option<UserRecord>, StoreError> {
    match UserName::parse(typed) {
        Ok(name) => store.user_by_name(&name),
        Err(_) => Ok(None),
    }
}

/// Adds a user who cannot sign in yet. [`StoreError::Conflict`]: the name is taken.
pub fn add(
    store: &mut dyn Store,
    name: &UserName,
    particulars: Particulars,
    now: Timestamp,
) -> Result<UserRecord, StoreError> {
    add_with(store, name, particulars, None, now)
}

/// Adds a user with a password. A weak one adds nobody.
pub fn add_with_password(
    store: &mut dyn Store,
    rules: &LoginRules,
    name: &UserName,
    particulars: Particulars,
    password: &Secret,
    now: Timestamp,
) -> Result<Result<UserRecord, WeakPassword>, StoreError> {
    if let Err(weak) = judge_password(rules, password, name) {
        return Ok(Err(weak));
    }
    let hash = hashing::hash_here(rules, password)?;
    add_with(store, name, particulars, Some(hash), now).map(Ok)
}

fn judge_password(
    rules: &LoginRules,
    password: &Secret,
    name: &UserName,
) -> Result<(), WeakPassword> {
    password::judge(password, name, rules.password_min)?;
    password::judge_leaked(password, rules.breached_passwords.as_deref())
}

fn add_with(
    store: &mut dyn Store,
    name: &UserName,
    particulars: Particulars,
    password_hash: Option<String>,
    now: Timestamp,
) -> Result<UserRecord, StoreError> {
    let user = UserRecord {
        id: UserId::fresh(),
        name: name.clone(),
        email: particulars.email,
        display_name: particulars.display_name,
        groups: particulars.groups,
        disabled: false,
        password_hash,
        totp_sealed: None,
        totp_last_step: 0,
        keys: 0,
        created: now,
    };
    together(store, "add_user", |store| {
        store.add_user(&user)?;
        store.append_audit(&told(What::UserAdded, &user, now))
    })?;
    Ok(user)
}

/// An event about a user, by whoever has the command line.
fn told(what: What, user: &UserRecord, now: Timestamp) -> Event {
    Event::new(what, now, Actor::operator()).about(&user.id, &user.name)
}

/// Makes `changes`, ends every session, and writes down `what`. How many sessions.
fn change(
    store: &mut dyn Store,
    user: &UserId,
    changes: &[UserChange],
    (what, reason): (What, &str),
    now: Timestamp,
) -> Result<usize, StoreError> {
    together(store, "change_credentials", |store| {
        let user = store.user(user)?.ok_or(StoreError::NotFound)?;
        let count = store.change_credentials(&user.id, changes, reason, now)?;
        store.append_audit(&told(what, &user, now).with_count("sessions", count as u64))?;
        Ok(count)
    })
}

/// A one-time link's secret, to put behind `https://<portal>/setup/`. Earlier ones of the user
/// stop to work. `enrol_totp`: the person enrols TOTP on the way, in place of any they had.
pub fn invite(
    store: &mut dyn Store,
    rules: &LoginRules,
    user: &UserId,
    enrol_totp: bool,
    now: Timestamp,
) -> Result<Secret, StoreError> {
    let link = Secret::new(random::ticket());
    let record = LinkRecord {
        user: user.clone(),
        expires: now.plus(rules.invite),
        enrol_totp,
    };
    together(store, "put_link", |store| {
        store.put_link(&secret::digest(link.reveal()), &record)?;
        let user = store.user(user)?.ok_or(StoreError::NotFound)?;
        store.append_audit(&told(What::LinkMade, &user, now))
    })?;
    Ok(link)
}

/// `https://<portal>[:port]`, before `/setup/<link>`. `None`: there is no portal.
pub fn portal_origin(config: &Config) -> Option<String> {
    let host = config.portal.host.as_ref()?;
    let port = config.listen.https.first().map(SocketAddr::port);
    Some(match port {
        None | Some(443) => format!("https://{host}"),
        Some(port) => format!("https://{host}:{port}"),
    })
}

/// Changes e-mail, full name, groups. Whose groups change is signed out: what they had open
/// was decided on the old ones. How many sessions ended.
pub fn set(
    store: &mut dyn Store,
    user: &UserRecord,
    particulars: Particulars,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let moved = particulars.groups != user.groups;
    let profile = UserChange::Profile {
        email: particulars.email,
        display_name: particulars.display_name,
        groups: particulars.groups,
    };
    if moved {
        let told = (What::ProfileChanged, "credentials");
        return change(store, &user.id, &[profile], told, now);
    }
    together(store, "change_user", |store| {
        store.change_user(&user.id, &profile)?;
        store.append_audit(&told(What::ProfileChanged, user, now))
    })?;
    Ok(0)
}

/// Sets a password, ends every session. How many.
pub fn set_password(
    store: &mut dyn Store,
    rules: &LoginRules,
    user: &UserRecord,
    password: &Secret,
    now: Timestamp,
) -> Result<Result<usize, WeakPassword>, StoreError> {
    if let Err(weak) = judge_password(rules, password, &user.name) {
        return Ok(Err(weak));
    }
    let hash = hashing::hash_here(rules, password)?;
    let password = UserChange::Password(Some(hash));
    let told = (What::PasswordChanged, "credentials");
    together(store, "set_password", |store| {
        store.put_notice(&user.id, notice::PASSWORD_SET, now)?;
        change(store, &user.id, &[password], told, now).map(Ok)
    })
}

/// Bars a user, ends every session. How many.
pub fn disable(store: &mut dyn Store, user: &UserId, now: Timestamp) -> Result<usize, StoreError> {
    let told = (What::UserDisabled, "disabled");
    change(store, user, &[UserChange::Disabled(true)], told, now)
}

/// Lets a user in again.
pub fn enable(store: &mut dyn Store, user: &UserRecord, now: Timestamp) -> Result<(), StoreError> {
    together(store, "change_user", |store| {
        store.change_user(&user.id, &UserChange::Disabled(false))?;
        store.append_audit(&told(What::UserEnabled, user, now))
    })
}

/// Removes a user, ends every session.
pub fn remove(store: &mut dyn Store, user: &UserRecord, now: Timestamp) -> Result<(), StoreError> {
    together(store, "remove_user", |store| {
        store.remove_user(&user.id, now)?;
        store.append_audit(&told(What::UserRemoved, user, now))
    })
}

/// Gives a user a new TOTP secret, in place of any they had; ends every session.
pub fn enrol_totp(
    store: &mut dyn Store,
    key: &SealingKey,
    issuer: &str,
    user: &UserRecord,
    now: Timestamp,
) -> Result<NewTotp, StoreError> {
    let new = totp::fresh(issuer, &user.name);
    let sealed = totp::seal(key, &user.id, &new.secret);
    let totp = UserChange::Totp(Some(sealed), 0);
    let told = (What::FactorAdded, "credentials");
    change(store, &user.id, &[totp], told, now)?;
    Ok(new)
}

/// That is no U2F registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a U2F key: a handle of at most 1023 bytes and an uncompressed point of P-256 are needed"
)]
pub struct NotAKey;

/// Takes in a key that was registered for U2F with the portal's origin as its `appid`.
/// [`StoreError::Conflict`]: it is registered already.
pub fn import_u2f(
    store: &mut dyn Store,
    key: &SealingKey,
    user: &UserRecord,
    name: &str,
    (handle, point): (&[u8], &[u8]),
    now: Timestamp,
) -> Result<Result<(), NotAKey>, StoreError> {
    let Some(new) = super::relying::New::u2f(handle, point) else {
        return Ok(Err(NotAKey));
    };
    let kind = CredentialKind::U2f;
    let mut record = new.record(&user.id, kind, &super::keys::named(name, kind), now);
    record.sealed = super::keys::seal(key, &record, &new.plain()?);
    together(store, "import_u2f", |store| {
        store.add_credential(&record)?;
        let event = told(What::FactorAdded, user, now)
            .with("kind", kind.as_str())
            .with("name", &record.name);
        store.append_audit(&event)
    })
    .map(Ok)
}

/// Takes every second factor away, the recovery codes too, ends every session, and has the
/// user told at the next sign-in. How many sessions.
pub fn reset_factors(
    store: &mut dyn Store,
    user: &UserId,
    now: Timestamp,
) -> Result<usize, StoreError> {
    together(store, "reset_factors", |store| {
        store.put_recovery_codes(user, &[])?;
        store.put_notice(user, notice::FACTORS_RESET, now)?;
        let told = (What::FactorsReset, "credentials");
        let none = [UserChange::Totp(None, 0), UserChange::NoKeys];
        change(store, user, &none, told, now)
    })
}
