//! A value that prints as `[redacted]`, compares in constant time, is wiped on drop; sealing
//! of secrets at rest and of what a browser carries for us.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, hkdf, hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::random;

/// Text that must never be printed: a password, a token, a one-time link.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes `text` into care.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        equal(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl Eq for Secret {}

/// Compares without telling by its time where two values differ. (Their lengths are no secret.)
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// The form in which an identifier that grants something is stored: its SHA-256.
pub fn digest(of: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, of.as_bytes()).as_ref());
    out
}

/// The key that seals secrets at rest (TOTP seeds, signing keys) and the small notes that a
/// browser or a client carries for us (sign-in attempts, Engine.IO ids).
///
/// Every use names its purpose; what was sealed for one purpose does not open for another.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey([redacted])")
    }
}

/// What was given to [`SealingKey::open`] was not sealed by this key for this purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not sealed by this gateway for this purpose")]
pub struct NotOurs;

impl SealingKey {
    /// A new key.
    pub fn generate() -> Self {
        Self(Zeroizing::new(random::bytes()))
    }

    /// The key that these 32 bytes are.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key's bytes, to write it to its file.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals `plain` for `purpose` (AES-256-GCM, a random nonce in front). `context` must be
    /// the same to open it: whose secret this is, for which row.
    ///
    /// # Panics
    /// Never for what fits in memory.
    #[expect(
        clippy::expect_used,
        reason = "AES-GCM cannot refuse to seal a small value"
    )]
    pub fn seal(&self, purpose: &str, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut sealed = plain.to_vec();
        self.aead(purpose)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut sealed,
            )
            .expect("a small value can be sealed");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what [`SealingKey::seal`] made for the same purpose and context.
    pub fn open(
        &self,
        purpose: &str,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, NotOurs> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(NotOurs)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NotOurs)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .aead(purpose)
            .open_in_place(nonce, Aad::from(context), &mut body)
            .map_err(|_| NotOurs)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    /// [`SealingKey::seal`], as base64url for a cookie or a query.
    pub fn seal_text(&self, purpose: &str, context: &[u8], plain: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.seal(purpose, context, plain))
    }

    /// [`SealingKey::open`] for the text that [`SealingKey::seal_text`] made.
    pub fn open_text(
        &self,
        purpose: &str,
        context: &[u8],
        sealed: &str,
    ) -> Result<Zeroizing<Vec<u8>>, NotOurs> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| NotOurs)?;
        self.open(purpose, context, &bytes)
    }

    /// A key for message authentication, for `purpose` alone. Make it once and keep it.
    pub fn mac_key(&self, purpose: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &*self.derive(purpose))
    }

    fn aead(&self, purpose: &str) -> LessSafeKey {
        #[expect(clippy::expect_used, reason = "32 bytes are always a key of AES-256")]
        let key =
            UnboundKey::new(&AES_256_GCM, &*self.derive(purpose)).expect("the key has 32 bytes");
        LessSafeKey::new(key)
    }

    #[expect(clippy::expect_used, reason = "HKDF can always give one block")]
    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let info = [b"portcullis/", purpose.as_bytes()];
        let mut out = Zeroizing::new([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
            .extract(&*self.0)
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut *out))
            .expect("32 bytes is one block of HKDF-SHA256");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[redacted]");
        assert_eq!(
            format!("{:?}", SealingKey::generate()),
            "SealingKey([redacted])"
        );
    }

    #[test]
    fn what_is_sealed_opens_only_for_its_purpose_and_context() {
        let key = SealingKey::generate();
        let sealed = key.seal_text("totp", b"alice", b"seed");
        assert_eq!(
            key.open_text("totp", b"alice", &sealed).unwrap().as_slice(),
            b"seed"
        );
        assert_eq!(key.open_text("totp", b"bob", &sealed), Err(NotOurs));
        assert_eq!(key.open_text("jwt", b"alice", &sealed), Err(NotOurs));
        assert_eq!(
            SealingKey::generate().open_text("totp", b"alice", &sealed),
            Err(NotOurs)
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let key = SealingKey::generate();
        let sealed = key.seal("x", b"", b"value");
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open("x", b"", &bent), Err(NotOurs), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(key.open("x", b"", &sealed[..length]), Err(NotOurs));
        }
    }
}
