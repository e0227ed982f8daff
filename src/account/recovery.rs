//! Recovery codes: ten one-time codes for who has lost the second factor.
//!
//! A code has 80 random bits. Of each only SHA-256, with the user's id, is kept: nobody finds a
//! code of so many bits by trying, however fast the hash, and so it need not be a slow one; a
//! slow one would only make a flood of guesses dearer for us. Guesses over HTTP are counted per
//! user, as with TOTP.

use super::{
    Accounts,
    attempts::{self, Admitted, Failed},
};
use crate::{
    name::UserId,
    random,
    secret::{self, Secret},
    store::{Digest, StoreError, together},
    telemetry::audit::{Actor, Event, What},
};

/// How many codes there are in a set.
pub const CODES: usize = 10;

/// What people are told at their next sign-in; how it stands in the store.
pub mod notice {
    /// A recovery code was used.
    pub const RECOVERY_USED: &str = "recovery_used";
    /// An operator took every second factor away.
    pub const FACTORS_RESET: &str = "factors_reset";
    /// An operator set a new password.
    pub const PASSWORD_SET: &str = "password_set";
    /// After the right password, so many codes were wrong that no more were looked at.
    pub const CODES_WRONG: &str = "codes_wrong";
    /// Codes come a step early or late, each time.
    pub const CLOCK_OFF: &str = "clock_off";
}

/// Letters and digits that nobody takes for one another: Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Letters of a code.
const LENGTH: usize = 16;

/// What a recovery code turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryCheck {
    /// The user's, and used up now.
    Right {
        /// How many are left.
        left: u32,
    },
    /// Not the user's, or used before.
    Wrong,
    /// Too many wrong ones; this one was not looked at.
    TooOften {
        /// Try again after.
        retry_after: std::time::Duration,
    },
}

/// A new code, `xxxx-xxxx-xxxx-xxxx`.
fn fresh() -> Secret {
    let letters = random::bytes::<LENGTH>().map(|byte| {
        let at = usize::from(byte % 32);
        char::from(ALPHABET.get(at).copied().unwrap_or(b'0'))
    });
    let groups: Vec<String> = letters.chunks(4).map(|it| it.iter().collect()).collect();
    Secret::new(groups.join("-"))
}

/// A code as somebody typed it, in its one form: any case, any spaces and dashes, and the
/// letters that look like digits.
fn plain(typed: &str) -> Option<String> {
    let mut letters = String::with_capacity(LENGTH);
    for letter in typed.chars().filter(|it| !it.is_whitespace() && *it != '-') {
        let letter = match letter.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        };
        if letters.len() == LENGTH || !ALPHABET.iter().any(|it| char::from(*it) == letter) {
            return None;
        }
        letters.push(letter);
    }
    (letters.len() == LENGTH).then_some(letters)
}

/// How a code is stored.
fn digest(user: &UserId, letters: &str) -> Digest {
    secret::digest(&format!("recovery {user} {letters}"))
}

impl Accounts {
    /// Makes ten new codes; all earlier ones are worth nothing from now on. They are shown once.
    pub async fn new_recovery_codes(
        &self,
        user: &UserId,
        from: &Actor,
    ) -> Result<Vec<Secret>, StoreError> {
        let codes: Vec<Secret> = (0..CODES).map(|_| fresh()).collect();
        let digests: Vec<Digest> = codes
            .iter()
            .filter_map(|it| plain(it.reveal()))
            .map(|it| digest(user, &it))
            .collect();
        let (id, now, actor) = (user.clone(), self.clock.now(), from.clone());
        self.store
            .call(move |store| {
                together(store, "new_recovery_codes", |store| {
                    let user = store.user(&id)?.ok_or(StoreError::NotFound)?;
                    store.put_recovery_codes(&id, &digests)?;
                    let event = Event::new(What::RecoveryCodesMade, now, actor)
                        .about(&user.id, &user.name)
                        .with_count("left", digests.len() as u64);
                    store.append_audit(&event)
                })
            })
            .await?;
        Ok(codes)
    }

    /// How many codes a user has left.
    pub async fn recovery_codes_left(&self, user: &UserId) -> Result<u32, StoreError> {
        let id = user.clone();
        self.store
            .call(move |store| store.recovery_codes_left(&id))
            .await
    }

    /// Looks at a code that the user typed, after their password. Right once, and never again;
    /// the event and the notice are written with it.
    pub async fn check_recovery(
        &self,
        user: &UserId,
        code: &Secret,
        from: &Actor,
    ) -> Result<RecoveryCheck, StoreError> {
        let (id, now, actor) = (user.clone(), self.clock.now(), from.clone());
        let digest = plain(code.reveal()).map(|it| digest(user, &it));
        let rules = self.rules.clone();
        self.store
            .call(move |store| {
                let Some(user) = store.user(&id)?.filter(|it| !it.disabled) else {
                    return Ok(RecoveryCheck::Wrong);
                };
                let key = attempts::recovery_key(&id);
                let most = attempts::second_factor_most(&rules);
                let last = match attempts::admit(store, &key, most, rules.lock, now)? {
                    Admitted::Yes { last } => last,
                    Admitted::NotBefore(retry_after) => {
                        return Ok(RecoveryCheck::TooOften { retry_after });
                    }
                };
                let left = together(store, "use_recovery_code", |store| {
                    let left = match &digest {
                        Some(digest) => store.take_recovery_code(&id, digest)?,
                        None => None,
                    };
                    if let Some(left) = left {
                        store.put_notice(&id, notice::RECOVERY_USED, now)?;
                        store.clear_failures(&key)?;
                        let event = Event::new(What::RecoveryCodeUsed, now, actor.clone())
                            .about(&user.id, &user.name)
                            .with_count("left", left);
                        store.append_audit(&event)?;
                    }
                    Ok(left)
                })?;
                let Some(left) = left else {
                    let failed = Failed {
                        user: Some(&user),
                        factor: "recovery",
                        last,
                    };
                    attempts::tell(store, &failed, &actor, now)?;
                    return Ok(RecoveryCheck::Wrong);
                };
                Ok(RecoveryCheck::Right { left })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_eighty_bits_and_is_read_as_people_type_it() {
        let (one, two) = (fresh(), fresh());
        assert_ne!(one, two);
        let text = one.reveal();
        assert_eq!(text.len(), LENGTH + 3);
        let letters = plain(text).unwrap();
        assert_eq!(plain(&text.to_uppercase()), Some(letters.clone()));
        assert_eq!(
            plain(&format!("  {} ", text.replace('-', " "))),
            Some(letters)
        );
        assert_eq!(plain("OIL0-oil0-oil0-oil0"), plain("0110-0110-0110-0110"));
        for nonsense in [
            "",
            "0110-0110-0110-011",
            "u110-0110-0110-0110",
            "01100110011001100",
        ] {
            assert_eq!(plain(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_same_code_of_two_people_is_stored_in_two_ways() {
        assert_ne!(digest(&"a".into(), "x"), digest(&"b".into(), "x"));
    }
}
