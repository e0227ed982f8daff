//! The `WebAuthn` library, wrapped in one file: its core says that its signatures may change, and
//! leaves much to its caller.
//!
//! The core and not the crate on top of it: only the core asks U2F keys by their `appid`, asks for
//! a discoverable key, and mixes keys of different promises in one challenge.

use std::time::Duration;

use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use url::Url;
use webauthn_rs_core::{
    WebauthnCore,
    error::WebauthnError,
    proto::{
        AttestationFormat, AuthenticationState, COSEAlgorithm, COSEEC2Key, COSEKey, COSEKeyType,
        Credential, ECDSACurve, ParsedAttestation, PublicKeyCredential,
        RegisterPublicKeyCredential, RegisteredExtensions, RegistrationState,
        RequestAuthenticationExtensions, UserVerificationPolicy,
    },
};

use crate::{
    clock::Timestamp,
    name::{HostName, UserId},
    store::{CredentialKind, CredentialRecord, StoreError, UserRecord},
};

/// How long a challenge waits for its answer.
pub(super) const PATIENCE: Duration = Duration::from_mins(5);

/// No credential id is longer (`WebAuthn`, 4.1).
const LONGEST_ID: usize = 1023;

/// Presence is enough: the person has typed their password.
const PRESENCE: UserVerificationPolicy = UserVerificationPolicy::Discouraged_DO_NOT_USE;

/// Who asks for proof: the portal's host and nothing above it.
#[derive(Debug)]
pub(super) struct RelyingParty {
    core: WebauthnCore,
    app_id: String,
}

/// Why an answer proves nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Nobody was verified.
    #[error("the user was not verified")]
    NotVerified,
    /// The signature is right, and its counter went back.
    #[error("the counter went back")]
    Cloned,
    /// Anything else.
    #[error("{0}")]
    Wrong(&'static str),
}

/// What a right answer says.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) counter: u32,
    pub(super) backed_up: bool,
}

/// A new credential, as the library has it.
pub(super) struct New(Credential);

/// A credential that was registered before.
pub(super) struct Known(Credential);

/// An answer from a browser.
pub(super) struct Answer {
    json: Value,
    id: Vec<u8>,
    user_handle: Option<Vec<u8>>,
    challenge: String,
}

impl Answer {
    /// Reads what has to be read before anything is believed. A frame of another site's may not
    /// ask: the library looks at that only when a key is registered.
    pub(super) fn read(text: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(text).ok()?;
        let bytes = |it: &Value| {
            URL_SAFE_NO_PAD
                .decode(it.as_str()?.trim_end_matches('='))
                .ok()
        };
        let response = json.get("response")?;
        let client: Value =
            serde_json::from_slice(&bytes(response.get("clientDataJSON")?)?).ok()?;
        let framed = client
            .get("crossOrigin")
            .is_some_and(|it| *it != json!(false))
            || client.get("topOrigin").is_some();
        if framed {
            tracing::warn!("a key was asked from within another site's page");
            return None;
        }
        let user_handle = response.get("userHandle").filter(|it| !it.is_null());
        Some(Self {
            id: bytes(json.get("rawId")?)?,
            user_handle: match user_handle {
                Some(it) => Some(bytes(it)?).filter(|it| !it.is_empty()),
                None => None,
            },
            challenge: client.get("challenge")?.as_str()?.to_owned(),
            json,
        })
    }

    /// The challenge that it answers, in base64url.
    pub(super) fn challenge(&self) -> &str {
        &self.challenge
    }

    /// Which key answers.
    pub(super) fn credential_id(&self) -> &[u8] {
        &self.id
    }

    /// Who the key says it is.
    pub(super) fn user_handle(&self) -> Option<&[u8]> {
        self.user_handle.as_deref()
    }
}

/// The challenge in what a browser is asked.
pub(super) fn challenge_of(options: &Value) -> &str {
    let challenge = options.pointer("/publicKey/challenge");
    challenge.and_then(Value::as_str).unwrap_or_default()
}

impl RelyingParty {
    pub(super) fn new(host: Option<&HostName>, origins: &[String]) -> Self {
        let host = host.map_or("invalid", HostName::as_str);
        let urls = origins.iter().filter_map(|it| Url::parse(it).ok());
        let (subdomains, any_port) = (Some(false), Some(false));
        Self {
            core: WebauthnCore::new_unsafe_experts_only(
                host,
                host,
                urls.collect(),
                PATIENCE,
                subdomains,
                any_port,
            ),
            app_id: origins.first().cloned().unwrap_or_default(),
        }
    }

    /// What to ask a browser to register, and the state of it.
    pub(super) fn ask_to_register(
        &self,
        user: &UserRecord,
        kind: CredentialKind,
        there: &[CredentialRecord],
    ) -> Result<(Value, Vec<u8>), StoreError> {
        let shown = if user.display_name.is_empty() {
            user.name.as_str()
        } else {
            &user.display_name
        };
        let policy = if kind == CredentialKind::Passkey {
            UserVerificationPolicy::Required
        } else {
            PRESENCE
        };
        let builder = self
            .core
            .new_challenge_register_builder(user.id.as_str().as_bytes(), user.name.as_str(), shown)
            .map_err(|it| failed(&it))?
            .user_verification_policy(policy)
            .exclude_credentials(Some(there.iter().map(|it| it.id.clone()).collect()));
        let (options, state) = self
            .core
            .generate_challenge_register(builder)
            .map_err(|it| failed(&it))?;
        let mut options = serde_json::to_value(&options).map_err(|it| broken(&it))?;
        if kind == CredentialKind::Passkey
            && let Some(wish) = options.pointer_mut("/publicKey/authenticatorSelection/residentKey")
        {
            *wish = json!("preferred");
        }
        let state = serde_json::to_vec(&state).map_err(|it| broken(&it))?;
        Ok((options, state))
    }

    /// Looks at a registration.
    pub(super) fn register(&self, answer: &Answer, state: &[u8]) -> Result<New, Refused> {
        let unreadable = |_| Refused::Wrong("unreadable");
        let state: RegistrationState = serde_json::from_slice(state).map_err(unreadable)?;
        let answer = RegisterPublicKeyCredential::deserialize_from(&answer.json)?;
        let new = self
            .core
            .register_credential(&answer, &state, None)
            .map_err(|it| refused(&it))?;
        if new.cred_id.is_empty() || new.cred_id.len() > LONGEST_ID {
            return Err(Refused::Wrong(
                "the credential id has no length that is allowed",
            ));
        }
        Ok(New(new))
    }

    /// What to ask a browser for: one of these keys. `old`: there are U2F keys among them.
    pub(super) fn ask_for_one_of(
        &self,
        known: Vec<Known>,
        old: bool,
    ) -> Result<(Value, Vec<u8>), StoreError> {
        let known = known.into_iter().map(|it| it.0).collect();
        let extensions = old.then(|| RequestAuthenticationExtensions {
            appid: Some(self.app_id.clone()),
            uvm: None,
            hmac_get_secret: None,
        });
        self.ask(known, PRESENCE, extensions)
    }

    /// What to ask a browser for: a passkey, whoever's.
    pub(super) fn ask_for_a_passkey(&self) -> Result<(Value, Vec<u8>), StoreError> {
        self.ask(Vec::new(), UserVerificationPolicy::Required, None)
    }

    fn ask(
        &self,
        known: Vec<Credential>,
        policy: UserVerificationPolicy,
        extensions: Option<RequestAuthenticationExtensions>,
    ) -> Result<(Value, Vec<u8>), StoreError> {
        let builder = self
            .core
            .new_challenge_authenticate_builder(known, Some(policy))
            .map_err(|it| failed(&it))?
            .extensions(extensions)
            .allow_backup_eligible_upgrade(false);
        let (options, mut state) = self
            .core
            .generate_challenge_authenticate(builder)
            .map_err(|it| failed(&it))?;
        // They are read afresh when the answer is there, with the counter that they have then.
        state.set_allowed_credentials(Vec::new());
        let options = serde_json::to_value(&options).map_err(|it| broken(&it))?;
        let state = serde_json::to_vec(&state).map_err(|it| broken(&it))?;
        Ok((options, state))
    }

    /// Looks at an answer. `verified`: the key must have checked that it is its owner. `u2f`: it
    /// may have signed for the `appid`.
    pub(super) fn check(
        &self,
        answer: &Answer,
        state: &[u8],
        known: Known,
        verified: bool,
        u2f: bool,
    ) -> Result<Proof, Refused> {
        let unreadable = |_| Refused::Wrong("unreadable");
        let state: AuthenticationState = serde_json::from_slice(state).map_err(unreadable)?;
        let answer = PublicKeyCredential::deserialize_from(&answer.json)?;
        if answer.extensions.appid == Some(true) && !u2f {
            return Err(Refused::Wrong("appid is for U2F keys only"));
        }
        let mut credential = known.0;
        // What is needed now counts, not what was asked when it was registered.
        credential.registration_policy = if verified {
            UserVerificationPolicy::Required
        } else {
            PRESENCE
        };
        let result = self
            .core
            .authenticate_single_credential(&answer, &state, &credential)
            .map_err(|it| refused(&it))?;
        if verified && !result.user_verified() {
            return Err(Refused::NotVerified);
        }
        Ok(Proof {
            counter: result.counter(),
            backed_up: result.backup_state(),
        })
    }
}

/// Reads one of the library's own types.
trait FromAnswer: serde::de::DeserializeOwned {
    fn deserialize_from(json: &Value) -> Result<Self, Refused> {
        serde_json::from_value(json.clone()).map_err(|_| Refused::Wrong("unreadable"))
    }
}

impl FromAnswer for RegisterPublicKeyCredential {}
impl FromAnswer for PublicKeyCredential {}

impl New {
    /// For the store, not sealed yet.
    pub(super) fn record(
        &self,
        user: &UserId,
        kind: CredentialKind,
        name: &str,
        now: Timestamp,
    ) -> CredentialRecord {
        CredentialRecord {
            id: self.0.cred_id.clone(),
            user: user.clone(),
            kind,
            name: name.to_owned(),
            sealed: Vec::new(),
            counter: self.0.counter,
            backup_eligible: self.0.backup_eligible,
            backed_up: self.0.backup_state,
            user_verified: self.0.user_verified,
            created: now,
            last_used: None,
        }
    }

    /// What is sealed.
    pub(super) fn plain(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(&self.0).map_err(|it| broken(&it))
    }

    /// A key registered for U2F: its handle, and its public key as an uncompressed point.
    pub(super) fn u2f(handle: &[u8], point: &[u8]) -> Option<Self> {
        let (&4, rest) = point.split_first()? else {
            return None;
        };
        if rest.len() != 64 || handle.is_empty() || handle.len() > LONGEST_ID {
            return None;
        }
        let (x, y) = rest.split_at(32);
        let key = COSEEC2Key {
            curve: ECDSACurve::SECP256R1,
            x: x.to_vec(),
            y: y.to_vec(),
        };
        let unparsed = UnparsedPublicKey::new(&ECDH_P256, point);
        let on_curve = ParsedPublicKey::try_from(&unparsed).is_ok();
        on_curve.then(|| {
            Self(Credential {
                cred_id: handle.to_vec(),
                cred: COSEKey {
                    type_: COSEAlgorithm::ES256,
                    key: COSEKeyType::EC_EC2(key),
                },
                counter: 0,
                transports: None,
                user_verified: false,
                backup_eligible: false,
                backup_state: false,
                registration_policy: PRESENCE,
                extensions: RegisteredExtensions::none(),
                attestation: ParsedAttestation::default(),
                attestation_format: AttestationFormat::None,
            })
        })
    }
}

impl Known {
    /// What was sealed, with what the store has seen since.
    pub(super) fn read(plain: &[u8], record: &CredentialRecord) -> Option<Self> {
        let mut credential: Credential = serde_json::from_slice(plain).ok()?;
        credential.counter = record.counter;
        credential.backup_state = record.backed_up;
        (credential.cred_id == record.id).then_some(Self(credential))
    }
}

/// The library could not make a challenge: nothing that a visitor did.
fn failed(error: &WebauthnError) -> StoreError {
    StoreError::Unusable(format!("a WebAuthn challenge: {error}"))
}

fn broken(error: &serde_json::Error) -> StoreError {
    StoreError::Unusable(format!("a WebAuthn state: {error}"))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library has some eighty errors; all but two are the same to us"
)]
fn refused(error: &WebauthnError) -> Refused {
    match error {
        WebauthnError::UserNotVerified => Refused::NotVerified,
        WebauthnError::CredentialPossibleCompromise => Refused::Cloned,
        WebauthnError::InvalidRPOrigin => Refused::Wrong("asked from another origin"),
        WebauthnError::InvalidRPIDHash => Refused::Wrong("made for another host"),
        WebauthnError::InvalidClientDataType => Refused::Wrong("an answer to something else"),
        WebauthnError::AuthenticationFailure => Refused::Wrong("the signature is wrong"),
        _ => Refused::Wrong("refused by the library"),
    }
}
