//! An authenticator in software, which can be told to misbehave.

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::PORTAL;

#[expect(clippy::struct_excessive_bools, reason = "each is a way to misbehave")]
pub(super) struct SoftKey {
    pair: EcdsaKeyPair,
    pub(super) id: Vec<u8>,
    pub(super) counter: u32,
    /// Whether it checks that it is its owner.
    pub(super) verifies: bool,
    /// Whether it says that it may be copied.
    pub(super) synced: bool,
    /// What the browser says of where it is.
    pub(super) origin: String,
    /// What the key signs for.
    pub(super) rp: String,
    pub(super) cross_origin: bool,
    /// In place of `webauthn.get`.
    pub(super) kind: &'static str,
    pub(super) user_handle: Option<Vec<u8>>,
    pub(super) appid: bool,
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl SoftKey {
    pub(super) fn new(id: u8) -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            id: vec![id; 32],
            counter: 1,
            verifies: false,
            synced: false,
            origin: format!("https://{PORTAL}"),
            rp: PORTAL.to_owned(),
            cross_origin: false,
            kind: "webauthn.get",
            user_handle: None,
            appid: false,
        }
    }

    /// The public key as an uncompressed point.
    pub(super) fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let mut data = json!({
            "type": kind,
            "challenge": options["publicKey"]["challenge"],
            "origin": self.origin,
        });
        if self.cross_origin {
            data["crossOrigin"] = json!(true);
        }
        serde_json::to_vec(&data).unwrap()
    }

    fn authenticator_data(&self, attested: bool) -> Vec<u8> {
        let mut data = digest::digest(&digest::SHA256, self.rp.as_bytes())
            .as_ref()
            .to_vec();
        let flags = 1
            | if self.verifies { 4 } else { 0 }
            | if self.synced { 8 | 16 } else { 0 }
            | if attested { 64 } else { 0 };
        data.push(flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// What a browser sends for `navigator.credentials.create`.
    pub(super) fn register(&mut self, options: &Value) -> Value {
        let user = options["publicKey"]["user"]["id"].as_str().unwrap();
        self.user_handle = Some(URL_SAFE_NO_PAD.decode(user).unwrap());
        let mut data = self.authenticator_data(true);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        let (x, y) = self.point()[1..].split_at(32);
        data.extend([0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32]);
        data.extend(x);
        data.extend([0x22, 0x58, 32]);
        data.extend(y);
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        object.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        object.extend(data);
        json!({
            "id": text(&self.id),
            "rawId": text(&self.id),
            "type": "public-key",
            "response": {
                "clientDataJSON": text(&self.client_data("webauthn.create", options)),
                "attestationObject": text(&object),
            },
            "clientExtensionResults": {},
        })
    }

    /// What a browser sends for `navigator.credentials.get`.
    pub(super) fn answer(&self, options: &Value) -> Value {
        let client = self.client_data(self.kind, options);
        let data = self.authenticator_data(false);
        let mut signed = data.clone();
        signed.extend(digest::digest(&digest::SHA256, &client).as_ref());
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
        json!({
            "id": text(&self.id),
            "rawId": text(&self.id),
            "type": "public-key",
            "response": {
                "clientDataJSON": text(&client),
                "authenticatorData": text(&data),
                "signature": text(signature.as_ref()),
                "userHandle": self.user_handle.as_deref().map(text),
            },
            "clientExtensionResults": if self.appid { json!({"appid": true}) } else { json!({}) },
        })
    }
}
