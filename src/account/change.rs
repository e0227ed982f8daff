//! What people change about themselves: each change whole, with its audit event.

use std::time::Duration;

use super::{Accounts, BUSY, PasswordCheck, WeakPassword, upkeep::NotPlain, upkeep::Particulars};
use crate::{
    name::UserId,
    secret::Secret,
    session::Ended,
    store::{Digest, StoreError, UserChange, UserRecord, together},
    telemetry::audit::{Actor, Event, What},
};

/// What came of a new password.
#[derive(Debug)]
pub enum PasswordChange {
    /// It is set; so many other sessions have ended.
    Done(usize),
    /// The old one was wrong.
    WrongOld,
    /// The new one is too weak.
    Weak(WeakPassword),
    /// The new one is the old one.
    Same,
    /// Somebody else changed it at the same moment.
    Overtaken,
    /// Too many wrong ones; nothing was looked at.
    TooOften {
        /// Try again after.
        retry_after: Duration,
    },
    /// Too many people sign in at once; nothing was looked at.
    Busy {
        /// Try again after.
        retry_after: Duration,
    },
}

/// What came of a new name or address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileChange {
    /// It is as asked.
    Done,
    /// It could not go into a header.
    NotPlain(NotPlain),
    /// That is no e-mail address.
    NoAddress,
    /// It is the address of somebody else here.
    Taken,
}

impl Accounts {
    /// Sets a new password for a user who knows the old one. Every session but `keep` ends, in
    /// the same transaction. Of two at once, one wins.
    pub async fn change_password(
        &self,
        user: &UserRecord,
        old: &Secret,
        new: &Secret,
        keep: Digest,
        from: &Actor,
    ) -> Result<PasswordChange, StoreError> {
        // Whoever changes it is signed in: no stranger's failures stand in the way.
        let name = user.name.as_str();
        let checked = self.check_password(name, old, from, Some(&user.id)).await?;
        let user = match checked {
            PasswordCheck::Right(user) => user,
            PasswordCheck::Wrong => return Ok(PasswordChange::WrongOld),
            PasswordCheck::TooOften { retry_after } => {
                return Ok(PasswordChange::TooOften { retry_after });
            }
            PasswordCheck::Busy { retry_after } => {
                return Ok(PasswordChange::Busy { retry_after });
            }
        };
        if old == new {
            return Ok(PasswordChange::Same);
        }
        if let Err(weak) = self.judge_password(new, &user.name).await {
            return Ok(PasswordChange::Weak(weak));
        }
        let Some(slot) = self.hashers.reserve(from.address) else {
            return Ok(PasswordChange::Busy { retry_after: BUSY });
        };
        let hash = slot.hash(new.clone()).await?;
        let (now, actor) = (self.clock.now(), from.clone());
        self.store
            .call(move |store| {
                together(store, "change_password", |store| {
                    let stands = store.user(&user.id)?.filter(|it| !it.disabled);
                    if stands.is_none_or(|it| it.password_hash != user.password_hash) {
                        return Ok(PasswordChange::Overtaken);
                    }
                    store.change_user(&user.id, &UserChange::Password(Some(hash)))?;
                    let why = Ended::Credentials.as_str();
                    let ended = store.end_user_sessions(&user.id, why, Some(&keep), now)?;
                    let event = Event::new(What::PasswordChanged, now, actor)
                        .about(&user.id, &user.name)
                        .with_count("sessions", ended as u64);
                    store.append_audit(&event)?;
                    Ok(PasswordChange::Done(ended))
                })
            })
            .await
    }

    /// Sets a user's own full name and e-mail address. An address is one person's only: tenants
    /// are told it, and some know people by it.
    pub async fn change_profile(
        &self,
        user: &UserId,
        display_name: &str,
        email: &str,
        from: &Actor,
    ) -> Result<ProfileChange, StoreError> {
        let new = Particulars {
            email: email.trim().to_owned(),
            display_name: display_name.trim().to_owned(),
            groups: Vec::new(),
        };
        if let Err(not) = new.check() {
            return Ok(ProfileChange::NotPlain(not));
        }
        if !new.email.is_empty() && !looks_like_an_address(&new.email) {
            return Ok(ProfileChange::NoAddress);
        }
        let (id, now, actor) = (user.clone(), self.clock.now(), from.clone());
        self.store
            .call(move |store| {
                together(store, "change_profile", |store| {
                    let user = store.user(&id)?.ok_or(StoreError::NotFound)?;
                    let same = |it: &UserRecord| it.email.eq_ignore_ascii_case(&new.email);
                    if !new.email.is_empty()
                        && store.users()?.iter().any(|it| it.id != id && same(it))
                    {
                        return Ok(ProfileChange::Taken);
                    }
                    let event = Event::new(What::ProfileChanged, now, actor)
                        .about(&user.id, &user.name)
                        .with("email", &new.email)
                        .with("full_name", &new.display_name);
                    let change = UserChange::Profile {
                        email: new.email,
                        display_name: new.display_name,
                        groups: user.groups,
                    };
                    store.change_user(&id, &change)?;
                    store.append_audit(&event)?;
                    Ok(ProfileChange::Done)
                })
            })
            .await
    }
}

/// Something on both sides of one `@`, and no room in between.
fn looks_like_an_address(text: &str) -> bool {
    let parts = text.split_once('@');
    parts.is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'))
        && !text.chars().any(char::is_whitespace)
}
