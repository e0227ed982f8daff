//! What a token must be, and all that it must not.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, jwk::JwkSet};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{name::UserName, store::sqlite::SqliteStore};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const LIFE: Duration = Duration::from_mins(5);

struct Desk {
    store: SqliteStore,
    key: SealingKey,
    tokens: Tokens,
    folder: tempfile::TempDir,
}

impl Desk {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(&folder.path().join("a.db"), NOW).unwrap();
        let key = SealingKey::generate();
        let tokens = Tokens::open(&mut store, &key, "https://auth.example.net", NOW).unwrap();
        Self {
            store,
            key,
            tokens,
            folder,
        }
    }

    fn token(&self, usage: Use) -> String {
        let (user, host, tenant) = (UserId::from("u1"), host(), TenantId::from("t1"));
        let new = NewToken {
            user: &user,
            host: &host,
            tenant: &tenant,
            sid: "the-sid",
            device: &[9; 32],
            generation: 1,
            level: 2,
            usage,
            login_exp: NOW.plus(Duration::from_hours(12)),
            auth_time: NOW,
            amr: &["pwd".to_owned(), "otp".to_owned()],
        };
        self.tokens.issue_session(&new, LIFE, NOW)
    }

    fn assertion(&self, now: Timestamp) -> String {
        let (id, name) = (UserId::from("u1"), UserName::parse("alice").unwrap());
        let groups = [UserName::parse("ops").unwrap()];
        let subject = Subject {
            id: &id,
            name: &name,
            email: "alice@example.net",
            display_name: "Alice",
            groups: &groups,
        };
        self.tokens
            .assertion(subject, &host(), &"t1".into(), &[], now, now)
    }

    /// Signs whatever header and claims with the real session key.
    fn forge(&self, header: &Value, claims: &str) -> String {
        let record = self.record("session");
        let secret = self
            .key
            .open("key", record.id.as_bytes(), &record.sealed)
            .unwrap();
        sign(
            &EncodingKey::from_secret(&secret),
            &header.to_string(),
            claims,
        )
    }

    fn record(&self, kind: &str) -> crate::store::KeyRecord {
        // A second connection would do as well; the trait wants `&mut`.
        let mut store = SqliteStore::open(&self.folder.path().join("a.db"), NOW).unwrap();
        let keys = store.keys().unwrap();
        keys.into_iter().find(|it| it.kind == kind).unwrap()
    }

    fn header(&self) -> Value {
        json!({ "typ": "portcullis-session+jwt", "alg": "HS256", "kid": self.record("session").id })
    }

    fn claims(&self) -> Value {
        let token = self.token(Use::Cookie);
        serde_json::from_slice(&part(&token, 1)).unwrap()
    }

    fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        self.tokens.verify_session(token, NOW)
    }
}

fn host() -> HostName {
    HostName::parse("a.example.net").unwrap()
}

fn part(token: &str, index: usize) -> Vec<u8> {
    URL_SAFE_NO_PAD
        .decode(token.split('.').nth(index).unwrap())
        .unwrap()
}

fn sign(key: &EncodingKey, header: &str, claims: &str) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, Algorithm::HS256).unwrap();
    format!("{signed}.{signature}")
}

fn check(
    claims: &SessionClaims,
    usage: Use,
    host: &str,
    tid: &str,
    now: Timestamp,
) -> Result<Freshness, Unfit> {
    let (host, tenant) = (HostName::parse(host).unwrap(), TenantId::from(tid));
    let want = Want {
        usage,
        host: &host,
        tenant: &tenant,
    };
    claims.check(want, now)
}

#[test]
fn what_was_issued_verifies_and_fits_its_place() {
    let desk = Desk::open();
    let verified = desk.verify(&desk.token(Use::Cookie)).unwrap();
    let claims = verified.claims();
    assert_eq!(verified.sid(), &secret::digest("the-sid"));
    assert_eq!(verified.device(), &[9; 32]);
    assert!(!claims.did.contains("CQkJ"), "the device is sealed");
    assert_eq!(
        check(claims, Use::Cookie, "a.example.net", "t1", NOW),
        Ok(Freshness::Fresh)
    );
    assert!(!claims.is_past_half(NOW.plus(Duration::from_secs(149))));
    assert!(claims.is_past_half(NOW.plus(Duration::from_secs(150))));
}

#[test]
fn a_token_opened_again_with_the_same_keys_still_verifies() {
    let mut desk = Desk::open();
    let token = desk.token(Use::Cookie);
    let again = Tokens::open(&mut desk.store, &desk.key, "https://auth.example.net", NOW).unwrap();
    assert!(again.verify_session(&token, NOW).is_ok());
    let other = Tokens::open(&mut desk.store, &desk.key, "https://other.example.net", NOW).unwrap();
    assert_eq!(other.verify_session(&token, NOW), Err(TokenError::Issuer));
    let wrong = Tokens::open(&mut desk.store, &SealingKey::generate(), "x", NOW);
    assert!(matches!(wrong, Err(StoreError::Unusable(_))));
}

#[test]
fn l8_the_algorithm_comes_from_the_kind_and_never_from_the_token() {
    let desk = Desk::open();
    let claims = desk.claims().to_string();
    for alg in ["none", "None", "HS512", "EdDSA", "hs256", ""] {
        let mut header = desk.header();
        header["alg"] = json!(alg);
        assert_eq!(
            desk.verify(&desk.forge(&header, &claims)),
            Err(TokenError::Kind),
            "{alg}"
        );
    }
    // Unsigned.
    let token = desk.token(Use::Cookie);
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert_eq!(
        desk.verify(&format!("{signed}.")),
        Err(TokenError::Malformed)
    );
    assert_eq!(desk.verify(signed), Err(TokenError::Malformed));
}

#[test]
fn l8_a_public_key_is_no_secret_to_sign_with() {
    let desk = Desk::open();
    let jwks = desk.tokens.jwks();
    let set: Value = serde_json::from_str(&jwks).unwrap();
    let public = URL_SAFE_NO_PAD
        .decode(set["keys"][0]["x"].as_str().unwrap())
        .unwrap();
    for secret in [&public[..], jwks.as_bytes()] {
        for kid in ["session", "assertion"] {
            let header = json!({
                "typ": "portcullis-session+jwt", "alg": "HS256", "kid": desk.record(kid).id,
            });
            let key = EncodingKey::from_secret(secret);
            let forged = sign(&key, &header.to_string(), &desk.claims().to_string());
            assert!(matches!(
                desk.verify(&forged),
                Err(TokenError::Key | TokenError::Signature)
            ));
        }
    }
}

#[test]
fn l8_a_kid_is_only_ever_compared() {
    let desk = Desk::open();
    for kid in ["../../x", "/dev/null", "", "session", "' OR 1=1 --"] {
        let mut header = desk.header();
        header["kid"] = json!(kid);
        let forged = desk.forge(&header, &desk.claims().to_string());
        assert_eq!(desk.verify(&forged), Err(TokenError::Key), "{kid}");
    }
}

#[test]
fn l8_a_header_with_anything_else_in_it_is_refused() {
    let desk = Desk::open();
    let claims = desk.claims().to_string();
    for (name, value) in [
        ("jwk", json!({"kty": "oct", "k": "AAAA"})),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/x")),
        ("crit", json!(["exp"])),
        ("x", json!(1)),
    ] {
        let mut header = desk.header();
        header[name] = value;
        assert_eq!(
            desk.verify(&desk.forge(&header, &claims)),
            Err(TokenError::Kind),
            "{name}"
        );
    }
    for name in ["typ", "alg", "kid"] {
        let mut header = desk.header();
        header.as_object_mut().unwrap().remove(name);
        assert_eq!(
            desk.verify(&desk.forge(&header, &claims)),
            Err(TokenError::Kind),
            "{name}"
        );
    }
}

#[test]
fn l8_every_claim_is_required_and_typed_and_there_once() {
    let desk = Desk::open();
    let whole = desk.claims();
    assert!(
        desk.verify(&desk.forge(&desk.header(), &whole.to_string()))
            .is_ok()
    );
    for name in whole.as_object().unwrap().keys() {
        let mut less = whole.clone();
        less.as_object_mut().unwrap().remove(name);
        let mut null = whole.clone();
        null[name] = Value::Null;
        let mut list = whole.clone();
        list[name] = json!([["x", whole[name]]]);
        let text = whole.to_string();
        let twice = format!("{{\"{name}\":{},{}", whole[name], &text[1..]);
        for claims in [less.to_string(), null.to_string(), list.to_string(), twice] {
            assert_eq!(
                desk.verify(&desk.forge(&desk.header(), &claims)),
                Err(TokenError::Malformed),
                "{name}: {claims}"
            );
        }
    }
    let mut aud = whole.clone();
    aud["aud"] = json!(["b.example.net", "a.example.net"]);
    assert!(
        desk.verify(&desk.forge(&desk.header(), &aud.to_string()))
            .is_err()
    );
    let mut exp = whole.clone();
    exp["exp"] = json!("1700000300");
    assert!(
        desk.verify(&desk.forge(&desk.header(), &exp.to_string()))
            .is_err()
    );
    let mut more = whole;
    more["admin"] = json!(true);
    assert!(
        desk.verify(&desk.forge(&desk.header(), &more.to_string()))
            .is_err()
    );
}

#[test]
fn l8_what_is_not_valid_yet_or_no_more_is_refused() {
    let desk = Desk::open();
    let claims = desk
        .verify(&desk.token(Use::Cookie))
        .unwrap()
        .claims()
        .clone();
    let at = |usage, change: fn(&mut SessionClaims), now| {
        let mut it = claims.clone();
        it.usage = usage;
        change(&mut it);
        check(&it, usage, "a.example.net", "t1", now)
    };
    let exp = Timestamp::from_secs(claims.exp);
    let login_exp = Timestamp::from_secs(claims.login_exp);
    let just_before = |it: Timestamp| it.minus(Duration::from_millis(1));
    for usage in [Use::Cookie, Use::Bearer] {
        assert_eq!(at(usage, |it| it.nbf += 5, NOW), Ok(Freshness::Fresh));
        assert_eq!(at(usage, |it| it.nbf += 6, NOW), Err(Unfit::Early));
        assert_eq!(at(usage, |it| it.iat += 5, NOW), Ok(Freshness::Fresh));
        assert_eq!(at(usage, |it| it.iat += 6, NOW), Err(Unfit::Early));
        assert_eq!(at(usage, |_| (), just_before(exp)), Ok(Freshness::Fresh));
        assert_eq!(at(usage, |_| (), login_exp), Err(Unfit::Expired));
        // A forged-together `exp` beyond the login's end is worth nothing.
        assert_eq!(
            at(usage, |it| it.exp = i64::MAX, login_exp),
            Err(Unfit::Expired)
        );
    }
    assert_eq!(at(Use::Cookie, |_| (), exp), Ok(Freshness::Stale));
    assert_eq!(
        at(Use::Cookie, |_| (), just_before(login_exp)),
        Ok(Freshness::Stale)
    );
    assert_eq!(at(Use::Bearer, |_| (), exp), Err(Unfit::Expired));
}

#[test]
fn l8_a_huge_token_is_not_even_read() {
    let desk = Desk::open();
    // Nothing but its size is wrong with it: JSON may have as many spaces as it likes.
    let claims = desk.claims().to_string();
    let padded = |spaces| desk.forge(&desk.header(), &format!("{claims}{}", " ".repeat(spaces)));
    assert!(desk.verify(&padded(8)).is_ok());
    let huge = padded(100_000);
    assert_eq!(desk.verify(&huge), Err(TokenError::Malformed));
    assert!(
        is_ours(format!("Bearer {huge}")),
        "and does not pass through either"
    );
}

#[test]
fn c3_a_token_is_for_one_host_of_one_tenant() {
    let desk = Desk::open();
    let claims = desk
        .verify(&desk.token(Use::Cookie))
        .unwrap()
        .claims()
        .clone();
    for (host, tid) in [
        ("b.example.net", "t1"),
        ("a.example.net", "t2"),
        ("auth.example.net", "portal"),
        ("example.net", "t1"),
    ] {
        assert_eq!(
            check(&claims, Use::Cookie, host, tid, NOW),
            Err(Unfit::Audience)
        );
    }
}

#[test]
fn k1_no_kind_is_taken_for_another() {
    let desk = Desk::open();
    let cookie = desk.verify(&desk.token(Use::Cookie)).unwrap();
    let bearer = desk.verify(&desk.token(Use::Bearer)).unwrap();
    let fits = |it: &Verified, usage| check(it.claims(), usage, "a.example.net", "t1", NOW);
    assert_eq!(fits(&cookie, Use::Bearer), Err(Unfit::Usage));
    assert_eq!(fits(&bearer, Use::Cookie), Err(Unfit::Usage));
    assert_eq!(desk.verify(&desk.assertion(NOW)), Err(TokenError::Kind));
    // Even under the session's own key.
    for typ in [
        "portcullis-access+jwt",
        "portcullis-assertion+jwt",
        "JWT",
        "Portcullis-Session+JWT",
        "application/portcullis-session+jwt",
        "",
    ] {
        let mut header = desk.header();
        header["typ"] = json!(typ);
        let forged = desk.forge(&header, &desk.claims().to_string());
        assert_eq!(desk.verify(&forged), Err(TokenError::Kind), "{typ}");
    }
}

#[test]
fn l9_an_older_key_verifies_until_it_retires() {
    let mut desk = Desk::open();
    let old = desk.token(Use::Cookie);
    let verified = desk.verify(&old).unwrap();
    let first = desk.record("session").id;
    let later = NOW.plus(Duration::from_secs(1));
    let retires = NOW.plus(Duration::from_secs(100));
    desk.store
        .add_key(&keys::make(&desk.key, Kind::Session, later))
        .unwrap();
    desk.store.retire_key(&first, retires).unwrap();
    desk.tokens.reload(&mut desk.store, later).unwrap();
    let new = desk.token(Use::Cookie);
    assert_ne!(part(&old, 0), part(&new, 0), "the newest signs");
    assert!(desk.tokens.verify_session(&old, later).is_ok());
    assert!(desk.tokens.still_trusts(&verified, later));
    // Also without a reload in between.
    assert_eq!(
        desk.tokens.verify_session(&old, retires),
        Err(TokenError::Key)
    );
    assert!(!desk.tokens.still_trusts(&verified, retires));
    assert!(desk.tokens.verify_session(&new, retires).is_ok());
    desk.tokens.reload(&mut desk.store, retires).unwrap();
    assert_eq!(
        desk.tokens.verify_session(&old, later),
        Err(TokenError::Key)
    );
}

#[test]
fn l9_an_older_assertion_key_is_published_until_it_retires() {
    let mut desk = Desk::open();
    let first = desk.record("assertion").id;
    let later = NOW.plus(Duration::from_secs(1));
    let retires = NOW.plus(Duration::from_secs(100));
    let second = keys::make(&desk.key, Kind::Assertion, later);
    desk.store.add_key(&second).unwrap();
    desk.store.retire_key(&first, retires).unwrap();
    let mut published = |now| {
        desk.tokens.reload(&mut desk.store, now).unwrap();
        let set: JwkSet = serde_json::from_str(&desk.tokens.jwks()).unwrap();
        let ids = set.keys.into_iter().map(|it| it.common.key_id.unwrap());
        ids.collect::<Vec<String>>()
    };
    assert_eq!(
        published(retires.minus(Duration::from_millis(1))),
        [second.id.clone(), first]
    );
    assert_eq!(published(retires), [second.id]);
}

#[test]
fn a_renewed_token_keeps_its_own_level_and_the_logins_end() {
    let desk = Desk::open();
    let mut claims = desk
        .verify(&desk.token(Use::Cookie))
        .unwrap()
        .claims()
        .clone();
    claims.lvl = 1;
    claims.login_exp = NOW.secs() + 400;
    let later = NOW.plus(Duration::from_secs(200));
    let renewed = desk.tokens.renew_session(&claims, LIFE, later);
    let renewed = desk.tokens.verify_session(&renewed, later).unwrap();
    assert_eq!(renewed.claims().lvl, 1);
    assert_eq!(renewed.claims().iat, later.secs());
    assert_eq!(renewed.claims().nbf, later.secs());
    assert_eq!(renewed.claims().exp, claims.login_exp);
    assert_eq!(renewed.sid(), &secret::digest("the-sid"));
}

#[test]
fn what_is_printed_of_the_tokens_is_their_issuer_alone() {
    let desk = Desk::open();
    assert_eq!(desk.tokens.issuer(), "https://auth.example.net");
    let printed = format!("{:?}", desk.tokens);
    assert_eq!(
        printed,
        r#"Tokens { issuer: "https://auth.example.net", .. }"#
    );
}

#[test]
fn a_tenant_verifies_an_assertion_with_the_published_keys_alone() {
    let desk = Desk::open();
    let token = desk.assertion(NOW);
    let set: JwkSet = serde_json::from_str(&desk.tokens.jwks()).unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("portcullis-assertion+jwt"));
    let jwk = set.find(&header.kid.unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&["a.example.net"]);
    rules.set_issuer(&["https://auth.example.net"]);
    rules.validate_exp = false;
    let key = DecodingKey::from_jwk(jwk).unwrap();
    let claims: Value = jsonwebtoken::decode(&token, &key, &rules).unwrap().claims;
    assert_eq!(claims["sub"], "u1");
    assert_eq!(claims["tid"], "t1");
    assert_eq!(claims["preferred_username"], "alice");
    assert_eq!(claims["groups"], json!(["ops"]));
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        60
    );
    assert!(claims.get("sid").is_none() && claims.get("did").is_none());
    assert!(!desk.tokens.jwks().contains("\"d\""), "no private member");
}

#[test]
fn an_assertion_is_signed_once_per_half_its_life_and_session_state() {
    let desk = Desk::open();
    let cache = AssertionCache::default();
    let (id, name) = (UserId::from("u1"), UserName::parse("alice").unwrap());
    let get = |revision, now| {
        let subject = Subject {
            id: &id,
            name: &name,
            email: "",
            display_name: "",
            groups: &[],
        };
        let key = AssertionKey {
            sid: [1; 32],
            revision,
            generation: 1,
            host: host(),
            tenant: "t1".into(),
        };
        cache
            .get(key, &desk.tokens, subject, &[], NOW, now)
            .unwrap()
    };
    let first = get(0, NOW);
    let almost = NOW.plus(Duration::from_millis(29_999));
    assert_eq!(get(0, almost), first);
    assert_ne!(get(1, almost), first, "the profile changed");
    assert_ne!(get(0, NOW.plus(Duration::from_secs(30))), first);
}

#[test]
fn only_a_jwt_with_our_typ_is_ours() {
    let desk = Desk::open();
    let cookie = desk.token(Use::Cookie);
    for value in [
        format!("Bearer {cookie}"),
        format!("bearer  {cookie} "),
        format!("BEARER\t{cookie}"),
        format!("Bearer {}", desk.assertion(NOW)),
        format!("Bearer {cookie}, Bearer x"),
    ] {
        assert!(is_ours(&value), "{value}");
    }
    let foreign = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS256"}"#);
    for value in [
        "Bearer abc".to_owned(),
        format!("Bearer {foreign}.e30.x"),
        "Basic YTpi".to_owned(),
        "Bearer ".to_owned(),
        String::new(),
        format!("Basic {cookie}"),
    ] {
        assert!(!is_ours(&value), "{value}");
    }
    assert_eq!(
        bearer(format!("Bearer {cookie}").as_bytes()),
        Some(cookie.as_str())
    );
}

#[test]
fn every_flipped_character_is_noticed() {
    let desk = Desk::open();
    let token = desk.token(Use::Cookie);
    for at in 0..token.len() {
        let mut bent = token.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        assert!(
            desk.verify(&String::from_utf8(bent).unwrap()).is_err(),
            "at {at}"
        );
    }
}

proptest! {
    #[test]
    fn nonsense_never_verifies(text in "[ -~]{0,200}", dots in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}") {
        thread_local!(static DESK: Desk = Desk::open());
        DESK.with(|desk| {
            assert!(desk.verify(&text).is_err());
            assert!(desk.verify(&dots).is_err());
            let _ = is_ours(format!("Bearer {dots}"));
        });
    }

    #[test]
    fn what_is_issued_says_what_was_asked(generation: u32, level in 0u8..4, life in 0u64..1_000_000, login in 1i64..1_000_000) {
        thread_local!(static DESK: Desk = Desk::open());
        DESK.with(|desk| {
            let login_exp = Timestamp::from_secs(NOW.secs() + login);
            let (user, host, tenant) = (UserId::from("u"), host(), TenantId::from("t"));
            let new = NewToken { user: &user, host: &host, tenant: &tenant, sid: "s", device: &[1; 32],
                generation, level, usage: Use::Cookie, login_exp, auth_time: NOW, amr: &[] };
            let token = desk.tokens.issue_session(&new, Duration::from_secs(life), NOW);
            let claims = desk.verify(&token).unwrap().claims().clone();
            assert_eq!((claims.generation, claims.lvl), (generation, level));
            assert!(claims.exp <= claims.login_exp);
            assert!(check(&claims, Use::Cookie, "a.example.net", "t", login_exp).is_err());
        });
    }
}
