//! The keys: sealed in the store, one ring per kind. The newest signs; older ones verify until
//! they retire. A `kid` is random and only ever compared with the ones in the ring.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, crypto,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Kind, TokenError, form::Compact};
use crate::{
    clock::Timestamp,
    random,
    secret::SealingKey,
    store::{KeyRecord, Store, StoreError},
};

/// The purpose under which keys are sealed in the store; the context is the `kid`.
const PURPOSE: &str = "key";

/// What goes in front of an Ed25519 seed to make it PKCS#8 (RFC 8410, section 7).
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The algorithm of a kind, as its header names it.
pub(super) fn alg(kind: Kind) -> &'static str {
    match kind {
        Kind::Session | Kind::Access => "HS256",
        Kind::Assertion => "EdDSA",
    }
}

fn algorithm(kind: Kind) -> Algorithm {
    match kind {
        Kind::Session | Kind::Access => Algorithm::HS256,
        Kind::Assertion => Algorithm::EdDSA,
    }
}

/// One key, ready to use.
pub(super) struct Key {
    /// `kid`.
    pub(super) id: Arc<str>,
    /// The header of every token that it signs, base64url.
    header: String,
    sign: EncodingKey,
    verify: DecodingKey,
    retires: Option<Timestamp>,
}

/// The keys of one kind, the one that signs first.
pub(super) struct Ring {
    algorithm: Algorithm,
    newest: Key,
    older: Vec<Key>,
}

/// All keys in use.
pub(super) struct Rings {
    /// For session tokens.
    pub(super) session: Ring,
    /// For assertions.
    pub(super) assertion: Ring,
    /// The public half of `assertion`.
    pub(super) jwks: Arc<str>,
}

impl Ring {
    /// The key that signs now.
    pub(super) fn signing(&self) -> &Key {
        &self.newest
    }

    /// Signs `claims`, under this ring's header.
    ///
    /// # Panics
    /// Never: the claims are plain structs, and the key signed once when it was loaded.
    #[expect(
        clippy::expect_used,
        reason = "plain structs serialise, and a loaded key has signed before"
    )]
    pub(super) fn sign(&self, claims: &impl Serialize) -> String {
        let key = &self.newest;
        let claims = serde_json::to_vec(claims).expect("claims are plain structs");
        let mut token = String::with_capacity(key.header.len() + claims.len() * 4 / 3 + 96);
        token.push_str(&key.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = crypto::sign(token.as_bytes(), &key.sign, self.algorithm)
            .expect("the key signed when it was loaded");
        token.push('.');
        token.push_str(&signature);
        token
    }

    /// Checks a signature with the key of that name.
    pub(super) fn verify(
        &self,
        kid: &str,
        token: &Compact<'_>,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        let key = self.find(kid, now).ok_or(TokenError::Key)?;
        match crypto::verify(
            token.signature,
            token.signed.as_bytes(),
            &key.verify,
            self.algorithm,
        ) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(TokenError::Signature),
        }
    }

    /// Whether a key of that name still verifies.
    pub(super) fn has(&self, kid: &str, now: Timestamp) -> bool {
        self.find(kid, now).is_some()
    }

    fn find(&self, kid: &str, now: Timestamp) -> Option<&Key> {
        std::iter::once(&self.newest)
            .chain(&self.older)
            .find(|it| &*it.id == kid && it.retires.is_none_or(|at| now < at))
    }
}

/// Reads the keys; makes and stores what is missing.
pub(super) fn load(
    store: &mut dyn Store,
    sealing: &SealingKey,
    now: Timestamp,
) -> Result<Rings, StoreError> {
    let session = ring(store, sealing, Kind::Session, now)?;
    let assertion = ring(store, sealing, Kind::Assertion, now)?;
    let jwks = jwks(&assertion)?;
    Ok(Rings {
        session,
        assertion,
        jwks,
    })
}

fn ring(
    store: &mut dyn Store,
    sealing: &SealingKey,
    kind: Kind,
    now: Timestamp,
) -> Result<Ring, StoreError> {
    let mut records = records(store, kind, now)?;
    if records.is_empty() {
        store.add_key(&make(sealing, kind, now))?;
        // Read again: another process may have made one too, and both must verify.
        records = self::records(store, kind, now)?;
    }
    let mut keys = records.into_iter().map(|it| Key::open(&it, kind, sealing));
    let newest = keys
        .next()
        .unwrap_or_else(|| Err(unusable("a new signing key was not kept")))?;
    Ok(Ring {
        algorithm: algorithm(kind),
        newest,
        older: keys.collect::<Result<_, _>>()?,
    })
}

/// The records of a kind that still verify, the newest first.
fn records(
    store: &mut dyn Store,
    kind: Kind,
    now: Timestamp,
) -> Result<Vec<KeyRecord>, StoreError> {
    let mut records = store.keys()?;
    records.retain(|it| it.kind == kind.as_str() && it.retires.is_none_or(|at| now < at));
    records.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
    Ok(records)
}

/// A new key of that kind, sealed for the store. The newest of a kind signs.
pub(super) fn make(sealing: &SealingKey, kind: Kind, now: Timestamp) -> KeyRecord {
    let id = random::id();
    let plain = Zeroizing::new(random::bytes::<32>());
    KeyRecord {
        sealed: sealing.seal(PURPOSE, id.as_bytes(), &*plain),
        id,
        kind: kind.as_str().to_owned(),
        created: now,
        retires: None,
    }
}

impl Key {
    fn open(record: &KeyRecord, kind: Kind, sealing: &SealingKey) -> Result<Self, StoreError> {
        let plain = sealing
            .open(PURPOSE, record.id.as_bytes(), &record.sealed)
            .map_err(|_| unusable("a signing key does not open with this sealing key"))?;
        let (sign, verify) = match kind {
            Kind::Session | Kind::Access => (
                EncodingKey::from_secret(&plain),
                DecodingKey::from_secret(&plain),
            ),
            Kind::Assertion => {
                let der = Zeroizing::new([&ED25519_PKCS8[..], &plain].concat());
                let sign = EncodingKey::from_ed_der(&der);
                let verify = Jwk::from_encoding_key(&sign, Algorithm::EdDSA)
                    .and_then(|it| DecodingKey::from_jwk(&it))
                    .map_err(|_| unusable("an assertion key is damaged"))?;
                (sign, verify)
            }
        };
        crypto::sign(b"", &sign, algorithm(kind))
            .map_err(|_| unusable("a signing key is damaged"))?;
        let header = serde_json::json!({
            "typ": kind.typ(), "alg": alg(kind), "kid": record.id,
        });
        Ok(Self {
            id: record.id.as_str().into(),
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
            sign,
            verify,
            retires: record.retires,
        })
    }
}

/// The ring was just read, so every key of it still verifies.
fn jwks(ring: &Ring) -> Result<Arc<str>, StoreError> {
    let keys = std::iter::once(&ring.newest)
        .chain(&ring.older)
        .map(|key| {
            let mut jwk = Jwk::from_encoding_key(&key.sign, ring.algorithm)
                .map_err(|_| unusable("an assertion key is damaged"))?;
            jwk.common.key_id = Some(key.id.as_ref().to_owned());
            jwk.common.public_key_use = Some(PublicKeyUse::Signature);
            Ok(jwk)
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    serde_json::to_string(&JwkSet { keys })
        .map(Into::into)
        .map_err(|_| unusable("the assertion keys cannot be written"))
}

fn unusable(why: &str) -> StoreError {
    StoreError::Unusable(why.to_owned())
}
