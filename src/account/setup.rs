//! One-time links: a person chooses a password and enrols TOTP. Until the code is right nothing
//! is stored; what was chosen so far travels sealed with the person's form.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Accounts, BUSY, WeakPassword, password, totp};
use crate::{
    name::{UserId, UserName},
    secret::{self, Secret},
    store::{LinkRecord, StoreError, UserRecord, together},
    telemetry::audit::{Actor, Event, What},
};

/// A set-up that waits for its code.
#[derive(Clone)]
pub struct SetupDraft {
    /// For a hidden field of the form; opens only here and only with the same link.
    pub sealed: String,
    /// `otpauth://totp/...`, for a QR code. Empty where no code is needed.
    pub uri: String,
    /// The TOTP secret in base32, for who types it in. Empty where no code is needed.
    pub secret: Secret,
    /// Whether TOTP is enrolled. Where not (a new password, TOTP is kept) [`Accounts::finish_setup`]
    /// may be called at once, with any code.
    pub needs_code: bool,
}

impl fmt::Debug for SetupDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetupDraft([redacted])")
    }
}

/// Why a set-up did not begin.
#[derive(Debug)]
pub enum SetupRefused {
    /// The link does not work, or no longer.
    LinkGone,
    /// The password is too weak.
    Weak(WeakPassword),
    /// Too many passwords are hashed at once.
    Busy {
        /// Try again after.
        retry_after: std::time::Duration,
    },
}

/// How a set-up ended.
#[derive(Debug)]
pub enum SetupDone {
    /// The account is ready.
    Done(UserRecord),
    /// The code was not the app's; the same draft again.
    WrongCode(SetupDraft),
    /// The link (or the draft) does not work, or no longer.
    LinkGone,
}

/// What is sealed. Short names: it travels in a form.
#[derive(Serialize, Deserialize)]
struct Chosen {
    /// The user.
    u: UserId,
    /// The password's hash.
    h: String,
    /// The TOTP secret in base32, if it is enrolled.
    t: Option<String>,
}

impl Accounts {
    /// Whose link this is, while it works.
    pub async fn setup_user(
        &self,
        link: &str,
    ) -> Result<Option<(UserRecord, LinkRecord)>, StoreError> {
        let digest = secret::digest(link);
        let now = self.clock.now();
        self.store
            .call(move |store| {
                let Some(record) = store.link(&digest, now)? else {
                    return Ok(None);
                };
                let user = store.user(&record.user)?.filter(|it| !it.disabled);
                Ok(user.map(|user| (user, record)))
            })
            .await
    }

    /// Whether a password may be this user's. The list of leaked ones is asked on a thread that
    /// may wait for the disk.
    pub async fn judge_password(
        &self,
        password: &Secret,
        user: &UserName,
    ) -> Result<(), WeakPassword> {
        password::judge(password, user, self.rules.password_min)?;
        let Some(list) = self.rules.breached_passwords.clone() else {
            return Ok(());
        };
        let password = password.clone();
        let asked = move || password::judge_leaked(&password, Some(&list));
        tokio::task::spawn_blocking(asked).await.unwrap_or(Ok(()))
    }

    /// Takes a password for the link's user and gives a TOTP secret to enrol. Stores nothing.
    pub async fn begin_setup(
        &self,
        link: &str,
        password: &Secret,
        from: &Actor,
    ) -> Result<Result<SetupDraft, SetupRefused>, StoreError> {
        let Some((user, record)) = self.setup_user(link).await? else {
            return Ok(Err(SetupRefused::LinkGone));
        };
        if let Err(weak) = self.judge_password(password, &user.name).await {
            return Ok(Err(SetupRefused::Weak(weak)));
        }
        let Some(slot) = self.hashers.reserve(from.address) else {
            return Ok(Err(SetupRefused::Busy { retry_after: BUSY }));
        };
        let hash = slot.hash(password.clone()).await?;
        let chosen = Chosen {
            u: user.id,
            h: hash,
            t: record
                .enrol_totp
                .then(|| self.new_totp(&user.name).secret.reveal().to_owned()),
        };
        let plain = serde_json::to_vec(&chosen)
            .map(Zeroizing::new)
            .map_err(|it| StoreError::Unusable(format!("a set-up: {it}")))?;
        let sealed = self.key.seal("setup", &secret::digest(link), &plain);
        let sealed = URL_SAFE_NO_PAD.encode(sealed);
        Ok(Ok(self.draft(sealed, &user.name, chosen.t)))
    }

    fn draft(&self, sealed: String, name: &UserName, secret: Option<String>) -> SetupDraft {
        match secret.map(|it| totp::describe(&self.issuer, name, Secret::new(it))) {
            Some(new) => SetupDraft {
                sealed,
                uri: new.uri,
                secret: new.secret,
                needs_code: true,
            },
            None => SetupDraft {
                sealed,
                uri: String::new(),
                secret: Secret::new(""),
                needs_code: false,
            },
        }
    }

    /// Stores what was chosen, if the code shows that the app has the secret: password and TOTP
    /// in one step, the code used up, the link too, every session of the user ended.
    pub async fn finish_setup(
        &self,
        link: &str,
        sealed: &str,
        code: &str,
        from: &Actor,
    ) -> Result<SetupDone, StoreError> {
        let digest = secret::digest(link);
        let Some((user, _)) = self.setup_user(link).await? else {
            return Ok(SetupDone::LinkGone);
        };
        let chosen = self
            .key
            .open_text("setup", &digest, sealed)
            .ok()
            .and_then(|it| serde_json::from_slice::<Chosen>(&it).ok())
            .filter(|it| it.u == user.id);
        let Some(chosen) = chosen else {
            return Ok(SetupDone::LinkGone);
        };
        let now = self.clock.now();
        let totp = match &chosen.t {
            None => None,
            Some(text) => {
                let secret = Secret::new(text.as_str());
                let Some(step) = totp::step_of(&secret, code, now) else {
                    let draft = self.draft(sealed.to_owned(), &user.name, chosen.t);
                    return Ok(SetupDone::WrongCode(draft));
                };
                Some((totp::seal(&self.key, &user.id, &secret), step))
            }
        };
        let chose = match totp {
            Some(_) => "password totp",
            None => "password",
        };
        let event = Event::new(What::SetUp, now, from.clone())
            .about(&user.id, &user.name)
            .with("chosen", chose);
        let user = self
            .store
            .call(move |store| {
                let totp = totp.as_ref().map(|(sealed, step)| (&**sealed, *step));
                together(store, "finish_setup", |store| {
                    if !store.complete_setup(&digest, &chosen.h, totp, now)? {
                        return Ok(None);
                    }
                    store.append_audit(&event)?;
                    store.user(&chosen.u)
                })
            })
            .await?;
        Ok(user.map_or(SetupDone::LinkGone, SetupDone::Done))
    }
}
