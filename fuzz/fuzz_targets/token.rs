//! A session token. One line: a token as it came. Two: a header and claims, which are signed
//! here with the gateway's own key, so that what stands behind the signature is reached too.

#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use portcullis::{
    clock::Timestamp,
    name::TenantId,
    store::{KeyRecord, Store as _, sqlite::SqliteStore},
    token::{self, Tokens, Use, Want},
};
use portcullis_fuzz::{host, key};
use serde_json::Value;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const KID: &str = "fuzz";
const SECRET: [u8; 32] = [3; 32];
const ISSUER: &str = "https://auth.example.net";

/// A gateway whose signing key is known. Its store is a file that is gone again at once.
static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("portcullis-fuzz-{}.db", std::process::id()));
    let mut store = SqliteStore::open(&file, NOW).expect("a store");
    let known = KeyRecord {
        id: KID.to_owned(),
        kind: "session".to_owned(),
        sealed: key().seal("key", KID.as_bytes(), &SECRET),
        created: NOW,
        retires: None,
    };
    store.add_key(&known).expect("a key is kept");
    let tokens = Tokens::open(&mut store, &key(), ISSUER, NOW).expect("the keys open");
    drop(store);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", file.display()));
    }
    tokens
});

fuzz_target!(|text: &str| {
    let Some((header, claims)) = text.split_once('\n') else {
        let _ = token::bearer(text.as_bytes());
        verify(text);
        return;
    };
    let [header, claims] = [header, claims].map(|it| URL_SAFE_NO_PAD.encode(it));
    let signed = format!("{header}.{claims}");
    verify(&format!("{signed}.{}", signature(&signed)));
});

fn signature(signed: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
}

fn verify(token: &str) {
    let Ok(verified) = TOKENS.verify_session(token, NOW) else {
        return;
    };
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, mac] = parts[..] else {
        panic!("a token that is not three parts");
    };
    assert_eq!(mac, signature(&format!("{header}.{claims}")), "a signature");
    let read = |part: &str| -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let (header, claims) = (read(header), read(claims));
    let expected = serde_json::json!({
        "typ": "portcullis-session+jwt", "alg": "HS256", "kid": KID,
    });
    assert_eq!(header, expected);
    assert_eq!(claims["iss"], ISSUER);
    let found = verified.claims();
    assert_eq!(claims, serde_json::to_value(found).expect("claims are JSON"));
    assert!(token::is_ours(format!("Bearer {token}")));
    let (here, tenant) = (host("a.example.net"), TenantId::from("t1"));
    for usage in [Use::Cookie, Use::Bearer] {
        let want = Want {
            usage,
            host: &here,
            tenant: &tenant,
        };
        let fit = found.check(want, NOW).is_ok();
        let due = found.usage == usage
            && found.aud == "a.example.net"
            && found.tid == "t1"
            && found.login_exp > NOW.secs()
            && found.nbf <= NOW.secs() + 5
            && found.iat <= NOW.secs() + 5
            && (usage == Use::Cookie || found.exp > NOW.secs());
        assert_eq!(fit, due, "{found:?}");
    }
    let _ = found.is_past_half(NOW);
    let renewed = TOKENS.renew_session(found, std::time::Duration::from_secs(300), NOW);
    assert!(TOKENS.verify_session(&renewed, NOW).is_ok(), "renewed");
}
