//! TOTP (RFC 6238) as every authenticator app knows it: SHA-1, six digits, 30 s, and one step
//! of patience either way.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use totp_rs::{Algorithm, Builder};

use super::Accounts;
use crate::{
    clock::Timestamp,
    name::{UserId, UserName},
    random,
    secret::{SealingKey, Secret},
    store::StoreError,
};

/// Seconds in a step.
const STEP: i64 = 30;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A TOTP secret that nobody has yet.
#[derive(Clone)]
pub struct NewTotp {
    /// 160 bits in base32, for who types it in.
    pub secret: Secret,
    /// `otpauth://totp/...`, for a QR code. Holds the secret.
    pub uri: String,
}

impl fmt::Debug for NewTotp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewTotp([redacted])")
    }
}

impl Accounts {
    /// A new secret for this user. Nothing is stored.
    pub fn new_totp(&self, name: &UserName) -> NewTotp {
        fresh(&self.issuer, name)
    }
}

/// A new secret, shown as `issuer`'s.
pub(super) fn fresh(issuer: &str, name: &UserName) -> NewTotp {
    let secret = totp_rs::Secret::from(random::bytes::<20>());
    describe(issuer, name, Secret::new(secret.to_base32()))
}

/// A secret that was made before, shown as `issuer`'s.
pub(super) fn describe(issuer: &str, name: &UserName, secret: Secret) -> NewTotp {
    // A colon would be read as the end of the issuer.
    let issuer = issuer.replace(':', " ");
    let issuer = utf8_percent_encode(&issuer, UNRESERVED);
    let name = utf8_percent_encode(name.as_str(), UNRESERVED);
    let uri = format!(
        "otpauth://totp/{issuer}:{name}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period={STEP}",
        secret.reveal()
    );
    NewTotp { secret, uri }
}

/// The step whose code this is, if it is one of now, just before or just after.
pub(super) fn step_of(secret: &Secret, code: &str, now: Timestamp) -> Option<i64> {
    let code: String = code
        .chars()
        .filter(|it| !it.is_whitespace() && *it != '-')
        .take(7)
        .collect();
    let secret = totp_rs::Secret::try_from_base32(secret.reveal()).ok()?;
    let totp = Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_skew(1)
        .with_step_duration(STEP.unsigned_abs())
        .with_secret(secret)
        .build_noncompliant();
    let step = totp.check(&code, u64::try_from(now.secs()).ok()?)?;
    i64::try_from(step).ok()
}

/// How many steps a code came early (more than 0) or late.
pub(super) fn drift(step: i64, now: Timestamp) -> i64 {
    step - now.secs().div_euclid(STEP)
}

/// Seals a secret for its user.
pub(super) fn seal(key: &SealingKey, user: &UserId, secret: &Secret) -> Vec<u8> {
    key.seal("totp", user.as_str().as_bytes(), secret.reveal().as_bytes())
}

/// Opens what [`seal`] made.
pub(super) fn open(key: &SealingKey, user: &UserId, sealed: &[u8]) -> Result<Secret, StoreError> {
    let unreadable = || StoreError::Unusable(format!("the TOTP secret of {user} does not open"));
    let plain = key
        .open("totp", user.as_str().as_bytes(), sealed)
        .map_err(|_| unreadable())?;
    std::str::from_utf8(&plain)
        .map(Secret::new)
        .map_err(|_| unreadable())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The code that an app would show.
    pub(crate) fn code(secret: &Secret, now: Timestamp) -> String {
        Builder::new()
            .with_secret(totp_rs::Secret::try_from_base32(secret.reveal()).unwrap())
            .build_noncompliant()
            .generate(now.secs().unsigned_abs())
            .to_string()
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // Appendix B, SHA-1, cut to six digits.
        let secret = Secret::new("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        for (at, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (20_000_000_000, "353130"),
        ] {
            let now = Timestamp::from_secs(at);
            assert_eq!(step_of(&secret, expected, now), Some(at / 30), "{at}");
            assert_eq!(code(&secret, now), expected);
        }
    }

    #[test]
    fn one_step_of_patience_and_no_more() {
        let secret = fresh("x", &UserName::parse("a").unwrap()).secret;
        let now = Timestamp::from_secs(3_000_000);
        for (off, found) in [
            (-60, false),
            (-30, true),
            (0, true),
            (30, true),
            (60, false),
        ] {
            let then = Timestamp::from_secs(3_000_000 + off);
            assert_eq!(
                step_of(&secret, &code(&secret, then), now).is_some(),
                found,
                "{off}"
            );
        }
        let spaced = code(&secret, now);
        let spaced = format!(" {} {}", &spaced[..3], &spaced[3..]);
        assert!(step_of(&secret, &spaced, now).is_some());
        for nonsense in ["", "12345", "+12345", "1234567", "12345a", "１２３４５６"] {
            assert_eq!(step_of(&secret, nonsense, now), None, "{nonsense}");
        }
    }

    #[test]
    fn the_uri_is_what_apps_read() {
        let name = UserName::parse("alice@example.net").unwrap();
        let new = fresh("Acme: gate", &name);
        assert_eq!(new.secret.reveal().len(), 32);
        assert_eq!(
            new.uri,
            format!(
                "otpauth://totp/Acme%20%20gate:alice%40example.net?secret={}\
                 &issuer=Acme%20%20gate&algorithm=SHA1&digits=6&period=30",
                new.secret.reveal()
            )
        );
        assert!(!format!("{new:?}").contains(new.secret.reveal()));
    }
}
