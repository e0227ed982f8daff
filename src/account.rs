//! Users, groups, passwords, TOTP, keys and passkeys, invitations.
//!
//! Passwords are hashed with argon2id on a few threads of their own, behind a short queue: a
//! flood of logins is answered [`PasswordCheck::Busy`] and stops nobody else. Whoever asks
//! learns neither from the answer nor from its time whether a name exists; the caller makes
//! every failed login last at least `LoginRules::floor`.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::{Clock, Timestamp},
    config::{Config, LoginRules},
    name::UserId,
    secret::{SealingKey, Secret},
    store::{Store, StoreError, StoreHandle, UserRecord, together},
    telemetry::audit::Actor,
};

mod app;
mod attempts;
pub mod bans;
mod change;
mod hashing;
pub mod keys;
pub mod password;
mod recovery;
mod relying;
mod setup;
mod totp;
pub mod upkeep;

pub use app::AppConnected;
pub use change::{PasswordChange, ProfileChange};
pub use keys::{Allowed, KeyCheck, Keys, Registration, Strength};
pub use password::WeakPassword;
pub use recovery::{CODES, RecoveryCheck, notice};
pub use setup::{SetupDone, SetupDraft, SetupRefused};
pub use totp::NewTotp;

use attempts::{Admitted, Failed};
use hashing::{Hashers, Verdict};

/// What a password turned out to be.
#[derive(Debug)]
pub enum PasswordCheck {
    /// The user's own.
    Right(UserRecord),
    /// Not the user's, or there is no such user, or they are disabled.
    Wrong,
    /// Too many wrong ones from there; this one was not looked at.
    TooOften {
        /// Try again after.
        retry_after: Duration,
    },
    /// Too many people sign in at once; this one was not looked at.
    Busy {
        /// Try again after.
        retry_after: Duration,
    },
}

/// What a TOTP code turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotpCheck {
    /// The user's, and never used before.
    Right,
    /// Not the user's.
    Wrong,
    /// The user's, and used before: worth nothing.
    Used,
    /// Too many wrong ones; this one was not looked at.
    TooOften {
        /// Try again after.
        retry_after: Duration,
    },
    /// The user has no TOTP.
    NotEnrolled,
}

/// How long to tell people to wait while passwords queue up.
const BUSY: Duration = Duration::from_secs(2);

/// What the gateway asks about accounts.
#[derive(Debug)]
pub struct Accounts {
    store: StoreHandle,
    key: SealingKey,
    clock: Clock,
    rules: LoginRules,
    issuer: String,
    hashers: Hashers,
}

/// What an authenticator app shows as whose code this is: the root domain.
pub fn issuer(config: &Config) -> String {
    config
        .root_domain
        .as_ref()
        .map_or_else(|| "Portcullis".to_owned(), ToString::to_string)
}

impl Accounts {
    /// Starts the hashing threads. `issuer` is what authenticator apps show ([`issuer`]).
    pub fn new(
        store: StoreHandle,
        key: SealingKey,
        clock: Clock,
        rules: LoginRules,
        issuer: String,
    ) -> Arc<Self> {
        Arc::new(Self {
            hashers: Hashers::start(&rules),
            store,
            key,
            clock,
            rules,
            issuer,
        })
    }

    /// The least time that a failed login is to take, from the request's arrival to its answer.
    pub fn floor(&self) -> Duration {
        self.rules.floor
    }

    /// Looks at a password that `from` typed for `name`, which may be nobody's.
    ///
    /// Failures count per name and address prefix (/24 or /48), whether the name exists or not;
    /// and per prefix alone, for who tries every name once.
    /// Who comes with a device on which `known_device` has signed in before counts apart: no
    /// stranger next door can lock them out.
    pub async fn check_password(
        &self,
        name: &str,
        password: &Secret,
        from: &Actor,
        known_device: Option<&UserId>,
    ) -> Result<PasswordCheck, StoreError> {
        // The place in the queue comes first: what is not looked at is not counted.
        let Some(slot) = self.hashers.reserve(from.address) else {
            return Ok(PasswordCheck::Busy { retry_after: BUSY });
        };
        let now = self.clock.now();
        let rules = self.rules.clone();
        let typed = name.trim().to_owned();
        let known = known_device.cloned();
        let address = from.address;
        let (user, key, admitted) = self
            .store
            .call(move |store| {
                let user = upkeep::find(store, &typed)?;
                let known = known.filter(|known| user.as_ref().is_some_and(|it| it.id == *known));
                let most = attempts::neighbours_most(&rules);
                if known.is_none()
                    && let Some(wait) = attempts::neighbours_wait(store, address, most, now)?
                {
                    return Ok((user, String::new(), Admitted::NotBefore(wait)));
                }
                let key = known.map_or_else(
                    || attempts::password_key(&typed, address),
                    |user| attempts::device_key(&user),
                );
                let admitted = attempts::admit(store, &key, rules.max_failures, rules.lock, now)?;
                Ok((user, key, admitted))
            })
            .await?;
        let last = match admitted {
            Admitted::Yes { last } => last,
            Admitted::NotBefore(retry_after) => {
                return Ok(PasswordCheck::TooOften { retry_after });
            }
        };
        let hash = user.as_ref().and_then(|it| it.password_hash.clone());
        let verdict = slot.verify(password.clone(), hash.clone()).await?;
        let right = |it: &UserRecord| !it.disabled && verdict != Verdict::Wrong;
        let user = match user {
            Some(user) if right(&user) => user,
            other => {
                self.tell_failure(other, "password", last, from).await?;
                return Ok(PasswordCheck::Wrong);
            }
        };
        self.store
            .call(move |store| {
                store.clear_failures(&key)?;
                let mut user = user;
                if let (Verdict::Outdated(new), Some(old)) = (verdict, hash) {
                    store.rehash(&user.id, &old, &new)?;
                    // What rests on this hash (a half-done login) goes on with the new one.
                    user.password_hash = Some(new);
                }
                Ok(PasswordCheck::Right(user))
            })
            .await
    }

    async fn tell_failure(
        &self,
        user: Option<UserRecord>,
        factor: &'static str,
        last: bool,
        from: &Actor,
    ) -> Result<(), StoreError> {
        let (actor, now) = (from.clone(), self.clock.now());
        self.store
            .call(move |store| {
                let (neighbours, ends) = attempts::neighbours_key(actor.address, now);
                let rest = i64::try_from(now.until(ends).as_secs()).unwrap_or(i64::MAX);
                store.count_failure(&neighbours, now, rest.saturating_add(1))?;
                let failed = Failed {
                    user: user.as_ref(),
                    factor,
                    last,
                };
                attempts::tell(store, &failed, &actor, now)
            })
            .await
    }

    /// Looks at a code that the user typed, after their password. Right once, and never again.
    /// Failures count per user, wherever they come from.
    pub async fn check_totp(
        &self,
        user: &UserId,
        code: &str,
        from: &Actor,
    ) -> Result<TotpCheck, StoreError> {
        let now = self.clock.now();
        let id = user.clone();
        let code = Secret::new(code);
        let from = from.clone();
        let key = self.key.clone();
        let rules = self.rules.clone();
        // One visit to the store's thread: nothing comes between the count and the code.
        self.store
            .call(move |store| {
                let Some(user) = store.user(&id)? else {
                    return Ok(TotpCheck::Wrong);
                };
                let Some(sealed) = user.totp_sealed.clone().filter(|_| !user.disabled) else {
                    return Ok(TotpCheck::NotEnrolled);
                };
                let attempts = attempts::totp_key(&id);
                let most = attempts::second_factor_most(&rules);
                let last = match attempts::admit(store, &attempts, most, rules.lock, now)? {
                    Admitted::Yes { last } => last,
                    Admitted::NotBefore(retry_after) => {
                        return Ok(TotpCheck::TooOften { retry_after });
                    }
                };
                let failed = Failed {
                    user: Some(&user),
                    factor: "totp",
                    last,
                };
                let secret = totp::open(&key, &id, &sealed)?;
                let Some(step) = totp::step_of(&secret, code.reveal(), now) else {
                    attempts::tell(store, &failed, &from, now)?;
                    return Ok(TotpCheck::Wrong);
                };
                if !store.take_totp_step(&id, step)? {
                    attempts::tell(store, &failed, &from, now)?;
                    return Ok(TotpCheck::Used);
                }
                store.clear_failures(&attempts)?;
                watch_drift(store, &id, totp::drift(step, now), now)?;
                Ok(TotpCheck::Right)
            })
            .await
    }
}

/// Codes that came the same way off so often in a row are no accident.
const DRIFTS: u32 = 3;

/// Tells a user whose codes come a step early or late each time that a clock is off.
fn watch_drift(
    store: &mut dyn Store,
    user: &UserId,
    way: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    const MONTH: i64 = 30 * 86_400;
    together(store, "watch_drift", |store| {
        for other in [-1, 1].into_iter().filter(|it| *it != way) {
            let key = attempts::drift_key(user, other);
            if store.failures(&key, now, MONTH)?.0 > 0 {
                store.clear_failures(&key)?;
            }
        }
        if way == 0 {
            return Ok(());
        }
        let key = attempts::drift_key(user, way);
        if store.count_failure(&key, now, MONTH)? == DRIFTS {
            store.put_notice(user, notice::CLOCK_OFF, now)?;
            store.clear_failures(&key)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests;
