//! Security keys and passkeys: `WebAuthn`, and U2F keys that were registered elsewhere.
//!
//! A ceremony has two halves. The first makes a challenge and keeps its state in the store, under
//! the challenge's digest, bound to a purpose and to whoever asked; the second takes it out, once,
//! and looks at the answer. `relying.rs` wraps the library, which is stateless: what it leaves to
//! its caller (single use, counters, whose credential it is, frames of others) is done here.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    attempts::{self, Failed},
    relying::{Answer, Refused, RelyingParty},
};
use crate::{
    clock::Clock,
    name::{HostName, UserId},
    secret::{self, SealingKey},
    session::Ended,
    store::{
        CeremonyRecord, CredentialKind, CredentialRecord, Digest, Removed, Store, StoreError,
        StoreHandle, UserRecord, together,
    },
    telemetry::audit::{Actor, Event, What},
};

/// How many keys and passkeys somebody may have.
const MOST: u32 = 20;

/// Longest name of one, in characters.
const LONGEST_NAME: usize = 40;

const REGISTER: &str = "register";
const SECOND: &str = "second";
const PASSKEY: &str = "passkey";

/// What the gateway asks about keys.
#[derive(Debug)]
pub struct Keys {
    store: StoreHandle,
    key: SealingKey,
    clock: Clock,
    relying: RelyingParty,
}

/// Whether a key is a piece of hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// Bound to one device: it counts for `hardware-key`.
    Hardware,
    /// It may be copied from device to device.
    Synced,
}

/// What an answer to a challenge turned out to be.
#[derive(Debug)]
pub enum KeyCheck {
    /// Right.
    Right(UserRecord, Strength),
    /// The challenge is over: too old, answered before, or another's.
    Over,
    /// That key is nobody's here, or not this user's.
    NotRegistered,
    /// The key did not check that it is its owner, where that is needed.
    NotVerified,
    /// Its counter went back: there may be a copy.
    Cloned {
        /// What its owner calls it.
        name: String,
    },
    /// It proves nothing.
    Wrong,
}

/// What came of a registration.
#[derive(Debug, PartialEq, Eq)]
pub enum Registration {
    /// It is registered; so many other sessions have ended.
    Done(usize),
    /// The challenge is over: too old, answered before, or another's.
    Over,
    /// That key is registered already, here or with somebody else.
    Taken,
    /// There are too many.
    TooMany,
    /// The key did not check that it is its owner, which a passkey must.
    NotVerified,
    /// It proves nothing.
    Wrong,
}

/// Which keys a second factor may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Any.
    Any,
    /// Pieces of hardware only.
    Hardware,
}

impl Allowed {
    /// Whether a key is among them.
    pub fn takes(self, it: &CredentialRecord) -> bool {
        self == Self::Any || !it.backup_eligible
    }
}

impl Keys {
    /// For the portal at `host`, as people see it at one of `origins`, the first being the one
    /// that U2F keys were registered for. Without a portal nobody asks.
    pub fn new(
        store: StoreHandle,
        key: SealingKey,
        clock: Clock,
        host: Option<&HostName>,
        origins: &[String],
    ) -> Self {
        Self {
            store,
            key,
            clock,
            relying: RelyingParty::new(host, origins),
        }
    }

    /// Those of a user, the oldest first.
    pub async fn of(&self, user: &UserId) -> Result<Vec<CredentialRecord>, StoreError> {
        let user = user.clone();
        self.store.call(move |store| store.credentials(&user)).await
    }

    /// A challenge to register a key, for the browser. `None`: there are too many already.
    pub async fn begin_registration(
        &self,
        user: &UserRecord,
        kind: CredentialKind,
        session: &Digest,
    ) -> Result<Option<Value>, StoreError> {
        if user.keys >= MOST {
            return Ok(None);
        }
        let there = self.of(&user.id).await?;
        let (options, state) = self.relying.ask_to_register(user, kind, &there)?;
        let binding = binding(kind.as_str(), session);
        self.keep(REGISTER, binding, Some(&user.id), &options, &state)
            .await?;
        Ok(Some(options))
    }

    /// Registers what the browser answered. Every session of the user but `session` ends.
    pub async fn finish_registration(
        &self,
        user: &UserRecord,
        kind: CredentialKind,
        name: &str,
        answer: &str,
        session: &Digest,
        from: &Actor,
    ) -> Result<Registration, StoreError> {
        let Some(answer) = Answer::read(answer) else {
            return Ok(Registration::Wrong);
        };
        let bound = binding(kind.as_str(), session);
        let Some((taken, state)) = self.take(&answer, REGISTER, bound).await? else {
            return Ok(Registration::Over);
        };
        if taken.user.as_ref() != Some(&user.id) {
            return Ok(Registration::Over);
        }
        let credential = match self.relying.register(&answer, &state) {
            Ok(credential) => credential,
            Err(Refused::NotVerified) => return Ok(Registration::NotVerified),
            Err(why) => {
                tracing::warn!(user = %user.name, %why, "a key was not registered");
                return Ok(Registration::Wrong);
            }
        };
        let now = self.clock.now();
        let mut record = credential.record(&user.id, kind, &named(name, kind), now);
        record.sealed = self.seal(&record, &credential.plain()?);
        let (event, keep) = (told(What::FactorAdded, user, from, now, &record), *session);
        let id = user.id.clone();
        self.store
            .call(move |store| {
                let added = together(store, "add_factor", |store| {
                    if store
                        .user(&id)?
                        .is_none_or(|it| it.disabled || it.keys >= MOST)
                    {
                        return Ok(Registration::TooMany);
                    }
                    store.add_credential(&record)?;
                    let why = Ended::Credentials.as_str();
                    let ended = store.end_user_sessions(&id, why, Some(&keep), now)?;
                    store.append_audit(&event.with_count("sessions", ended as u64))?;
                    Ok(Registration::Done(ended))
                });
                match added {
                    Err(StoreError::Conflict) => Ok(Registration::Taken),
                    other => other,
                }
            })
            .await
    }

    /// A challenge for the second factor of this user, after their password. `None`: they have
    /// no such key. `bound` is the half-done login.
    pub async fn begin_second(
        &self,
        user: &UserId,
        allowed: Allowed,
        bound: &Digest,
    ) -> Result<Option<Value>, StoreError> {
        let mut there = self.of(user).await?;
        there.retain(|it| allowed.takes(it));
        if there.is_empty() {
            return Ok(None);
        }
        let known: Vec<_> = there.iter().filter_map(|it| self.open(it)).collect();
        let old = there.iter().any(|it| it.kind == CredentialKind::U2f);
        let (options, state) = self.relying.ask_for_one_of(known, old)?;
        self.keep(SECOND, *bound, Some(user), &options, &state)
            .await?;
        Ok(Some(options))
    }

    /// Looks at the answer.
    pub async fn finish_second(
        &self,
        user: &UserId,
        allowed: Allowed,
        answer: &str,
        bound: &Digest,
        from: &Actor,
    ) -> Result<KeyCheck, StoreError> {
        let checked = self.finish(SECOND, answer, *bound, allowed, from).await?;
        if matches!(&checked, KeyCheck::Right(found, _) if found.id != *user) {
            return Ok(KeyCheck::NotRegistered);
        }
        Ok(checked)
    }

    /// A challenge to whoever has a passkey. `device` is the browser's.
    pub async fn begin_passkey(&self, device: &Digest) -> Result<Value, StoreError> {
        let (options, state) = self.relying.ask_for_a_passkey()?;
        self.keep(PASSKEY, *device, None, &options, &state).await?;
        Ok(options)
    }

    /// Looks at the answer, which says who it is, and proves it with both factors.
    pub async fn finish_passkey(
        &self,
        answer: &str,
        device: &Digest,
        from: &Actor,
    ) -> Result<KeyCheck, StoreError> {
        self.finish(PASSKEY, answer, *device, Allowed::Any, from)
            .await
    }

    async fn finish(
        &self,
        purpose: &'static str,
        answer: &str,
        bound: Digest,
        allowed: Allowed,
        from: &Actor,
    ) -> Result<KeyCheck, StoreError> {
        let Some(answer) = Answer::read(answer) else {
            return Ok(KeyCheck::Wrong);
        };
        let Some((ceremony, state)) = self.take(&answer, purpose, bound).await? else {
            return Ok(KeyCheck::Over);
        };
        let id = answer.credential_id().to_vec();
        let found = self
            .store
            .call(move |store| {
                let Some(record) = store.credential(&id)? else {
                    return Ok(None);
                };
                let user = store.user(&record.user)?.filter(|it| !it.disabled);
                Ok(user.map(|user| (record, user)))
            })
            .await?;
        let Some((record, user)) = found.filter(|(it, _)| allowed.takes(it)) else {
            return Ok(KeyCheck::NotRegistered);
        };
        // Whose it is stands in our own record; what the key says of it must agree.
        let asked = ceremony.user.as_ref().is_none_or(|it| *it == user.id);
        let said = answer.user_handle();
        let agrees = said.is_none_or(|it| it == user.id.as_str().as_bytes());
        let passkey = purpose == PASSKEY;
        if !asked || !agrees || (passkey && (said.is_none() || record.kind == CredentialKind::U2f))
        {
            return Ok(KeyCheck::NotRegistered);
        }
        let Some(known) = self.open(&record) else {
            return Ok(KeyCheck::NotRegistered);
        };
        let u2f = record.kind == CredentialKind::U2f;
        let verdict = self.relying.check(&answer, &state, known, passkey, u2f);
        self.judge(verdict, record, user, from).await
    }

    /// Notes what was proved, or tells of what was not.
    async fn judge(
        &self,
        verdict: Result<super::relying::Proof, Refused>,
        record: CredentialRecord,
        user: UserRecord,
        from: &Actor,
    ) -> Result<KeyCheck, StoreError> {
        let (now, from) = (self.clock.now(), from.clone());
        let strength = if record.backup_eligible {
            Strength::Synced
        } else {
            Strength::Hardware
        };
        self.store
            .call(move |store| {
                let proof = match verdict {
                    Ok(proof) => proof,
                    Err(Refused::Cloned) => return cloned(store, record, &user, &from, now),
                    Err(Refused::NotVerified) => return Ok(KeyCheck::NotVerified),
                    Err(Refused::Wrong(why)) => {
                        tracing::warn!(user = %user.name, why, "a key proved nothing");
                        let failed = Failed {
                            user: Some(&user),
                            factor: "key",
                            last: false,
                        };
                        attempts::tell(store, &failed, &from, now)?;
                        return Ok(KeyCheck::Wrong);
                    }
                };
                // Two answers at once with one counter: the second finds the first one's.
                if store.touch_credential(&record.id, proof.counter, proof.backed_up, now)? {
                    Ok(KeyCheck::Right(user, strength))
                } else {
                    cloned(store, record, &user, &from, now)
                }
            })
            .await
    }

    /// Renames one. `false`: the user has none such.
    pub async fn rename(
        &self,
        user: &UserRecord,
        id: &[u8],
        name: &str,
        from: &Actor,
    ) -> Result<bool, StoreError> {
        let (user, id, from, now) = (user.clone(), id.to_vec(), from.clone(), self.clock.now());
        let name = name.to_owned();
        self.store
            .call(move |store| {
                together(store, "rename_factor", |store| {
                    let Some(mut record) = store.credential(&id)? else {
                        return Ok(false);
                    };
                    record.name = named(&name, record.kind);
                    let done = store.rename_credential(&user.id, &id, &record.name)?;
                    if done {
                        let event = told(What::FactorRenamed, &user, &from, now, &record);
                        store.append_audit(&event)?;
                    }
                    Ok(done)
                })
            })
            .await
    }

    /// Takes one away, never the last second factor. Every session but `keep` ends.
    pub async fn remove(
        &self,
        user: &UserRecord,
        id: &[u8],
        keep: Digest,
        from: &Actor,
    ) -> Result<Removed, StoreError> {
        let (user, id, from, now) = (user.clone(), id.to_vec(), from.clone(), self.clock.now());
        self.store
            .call(move |store| {
                together(store, "remove_factor", |store| {
                    let Some(record) = store.credential(&id)? else {
                        return Ok(Removed::NotThere);
                    };
                    let removed = store.remove_credential(&user.id, &id)?;
                    if removed == Removed::Done {
                        let event = told(What::FactorRemoved, &user, &from, now, &record);
                        gone(store, &user.id, &keep, event, now)?;
                    }
                    Ok(removed)
                })
            })
            .await
    }

    /// Takes the authenticator app away, never the last second factor. Every session but `keep`
    /// ends.
    pub async fn remove_totp(
        &self,
        user: &UserRecord,
        keep: Digest,
        from: &Actor,
    ) -> Result<Removed, StoreError> {
        let (user, from, now) = (user.clone(), from.clone(), self.clock.now());
        self.store
            .call(move |store| {
                together(store, "remove_factor", |store| {
                    let removed = store.remove_totp(&user.id)?;
                    if removed == Removed::Done {
                        let event = Event::new(What::FactorRemoved, now, from)
                            .about(&user.id, &user.name)
                            .with("kind", "totp");
                        gone(store, &user.id, &keep, event, now)?;
                    }
                    Ok(removed)
                })
            })
            .await
    }

    /// Keeps a ceremony under its challenge.
    async fn keep(
        &self,
        purpose: &str,
        binding: Digest,
        user: Option<&UserId>,
        options: &Value,
        state: &[u8],
    ) -> Result<(), StoreError> {
        let challenge = super::relying::challenge_of(options);
        let id = secret::digest(challenge);
        let record = CeremonyRecord {
            purpose: purpose.to_owned(),
            binding,
            user: user.cloned(),
            sealed: self.key.seal("ceremony", &id, state),
            expires: self.clock.now().plus(super::relying::PATIENCE),
        };
        self.store
            .call(move |store| store.put_ceremony(&id, &record))
            .await
    }

    /// Takes out the ceremony that an answer is to: once, whatever comes of it.
    async fn take(
        &self,
        answer: &Answer,
        purpose: &'static str,
        binding: Digest,
    ) -> Result<Option<(CeremonyRecord, Vec<u8>)>, StoreError> {
        let (id, now) = (secret::digest(answer.challenge()), self.clock.now());
        let taken = self
            .store
            .call(move |store| store.take_ceremony(&id, purpose, &binding, now))
            .await?;
        Ok(taken.and_then(|it| {
            let state = self.key.open("ceremony", &id, &it.sealed).ok()?.to_vec();
            Some((it, state))
        }))
    }

    fn seal(&self, record: &CredentialRecord, plain: &[u8]) -> Vec<u8> {
        seal(&self.key, record, plain)
    }

    /// The library's credential, with what has changed since. `None`, with a line in the log:
    /// it was not sealed for this user.
    fn open(&self, record: &CredentialRecord) -> Option<super::relying::Known> {
        let opened = self
            .key
            .open("credential", &context(record), &record.sealed)
            .ok()
            .and_then(|plain| super::relying::Known::read(&plain, record));
        if opened.is_none() {
            tracing::error!(user = %record.user, "a stored key does not open");
        }
        opened
    }
}

/// Seals a credential for its user and under its own id.
pub(super) fn seal(key: &SealingKey, record: &CredentialRecord, plain: &[u8]) -> Vec<u8> {
    key.seal("credential", &context(record), plain)
}

fn context(record: &CredentialRecord) -> Vec<u8> {
    let mut context = record.user.as_str().as_bytes().to_vec();
    context.push(0);
    context.extend_from_slice(&record.id);
    context
}

fn binding(kind: &str, session: &Digest) -> Digest {
    // A challenge for a key is none for a passkey.
    let session = URL_SAFE_NO_PAD.encode(session);
    secret::digest(&format!("{kind} {session}"))
}

fn cloned(
    store: &mut dyn Store,
    record: CredentialRecord,
    user: &UserRecord,
    from: &Actor,
    now: crate::clock::Timestamp,
) -> Result<KeyCheck, StoreError> {
    tracing::warn!(user = %user.name, key = record.name, "a key's counter went back: there may be a copy");
    let event = told(What::FactorRefused, user, from, now, &record).with("why", "counter");
    store.append_audit(&event)?;
    Ok(KeyCheck::Cloned { name: record.name })
}

/// A factor is gone: so is every session but `keep`.
fn gone(
    store: &mut dyn Store,
    user: &UserId,
    keep: &Digest,
    event: Event,
    now: crate::clock::Timestamp,
) -> Result<(), StoreError> {
    let why = Ended::Credentials.as_str();
    let ended = store.end_user_sessions(user, why, Some(keep), now)?;
    store.append_audit(&event.with_count("sessions", ended as u64))
}

fn told(
    what: What,
    user: &UserRecord,
    from: &Actor,
    now: crate::clock::Timestamp,
    record: &CredentialRecord,
) -> Event {
    Event::new(what, now, from.clone())
        .about(&user.id, &user.name)
        .with("kind", record.kind.as_str())
        .with("name", &record.name)
}

/// A name as it may stand on a page and in a log; its kind's where there is none.
pub(super) fn named(typed: &str, kind: CredentialKind) -> String {
    let clean: String = typed
        .chars()
        .filter(|it| !it.is_control())
        .take(LONGEST_NAME)
        .collect();
    match (clean.trim(), kind) {
        ("", CredentialKind::Passkey) => "Passkey".to_owned(),
        ("", CredentialKind::Key | CredentialKind::U2f) => "Security key".to_owned(),
        (name, _) => name.to_owned(),
    }
}
