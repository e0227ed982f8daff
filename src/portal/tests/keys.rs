//! Security keys and passkeys: registered, used, misused, taken away.

mod races;

use serde_json::{Value, json};

use super::{audit::words, soft_key::SoftKey, *};
use crate::account::upkeep::import_u2f;

const START: &str = "/.portcullis/api/v1/login/webauthn/start";
const FACTORS: &str = "/account/factors";

async fn town() -> Town {
    let town = Town::with(
        LoginRules {
            argon2_memory_kib: 64,
            argon2_passes: 1,
            floor: Duration::ZERO,
            ..LoginRules::default()
        },
        |table| {
            table.insert(R1, "tenant-1", |_| {});
            table.insert(R2, "tenant-2", |route| {
                route.rules = Arc::new(vec![Rule {
                    policy: Policy::HardwareKey,
                    ..Rule::default()
                }]);
            });
        },
    );
    town.user("alice", Some(&alices_secret())).await;
    town.user("bob", Some(&alices_secret())).await;
    town
}

pub(super) async fn signed_in<'a>(town: &'a Town, who: &str) -> Browser<'a> {
    let browser = half_way(town, who).await;
    let code = town.code(&alices_secret());
    let done = browser
        .post(&at(PORTAL, "/login/code"), &[("code", &code)])
        .await;
    assert_eq!(done.location(), "/account");
    town.next_code();
    browser
}

pub(super) async fn ask(browser: &Browser<'_>, path: &str, body: Value) -> Value {
    let reply = browser
        .send("POST", &at(PORTAL, path), OWN_SCRIPT, &body.to_string())
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

async fn register(browser: &Browser<'_>, key: &mut SoftKey, kind: &str) -> Reply {
    let options = ask(browser, "/account/factors/start", json!({ "kind": kind })).await;
    let answer = key.register(&options).to_string();
    let fields = [("kind", kind), ("name", "ring"), ("credential", &answer)];
    browser
        .post(&at(PORTAL, "/account/factors/add"), &fields)
        .await
}

/// A town, and Alice's key in it.
pub(super) async fn with_key(kind: &str, change: impl FnOnce(&mut SoftKey)) -> (Town, SoftKey) {
    let town = town().await;
    let mut key = SoftKey::new(1);
    change(&mut key);
    let browser = signed_in(&town, "alice").await;
    let done = register(&browser, &mut key, kind).await;
    assert_eq!(
        done.location(),
        "/account/factors?done=added",
        "{}",
        done.text
    );
    key.counter += 1;
    (town, key)
}

type Change = fn(&mut SoftKey);

/// The password step.
pub(super) async fn half_way<'a>(town: &'a Town, who: &str) -> Browser<'a> {
    let browser = Browser::new(town);
    let right = [("username", who), ("password", PASSWORD)];
    let done = browser.post(&at(PORTAL, "/login"), &right).await;
    assert_eq!(done.status, 303);
    browser
}

pub(super) async fn give(browser: &Browser<'_>, path: &str, answer: &Value) -> Reply {
    let answer = answer.to_string();
    browser
        .post(&at(PORTAL, path), &[("credential", &answer)])
        .await
}

pub(super) async fn whoami(browser: &Browser<'_>) -> Value {
    let url = at(PORTAL, "/.portcullis/api/v1/session");
    browser.get(&url, OWN_SCRIPT).await.json()
}

#[tokio::test]
async fn a_key_is_the_second_step_and_the_strongest_level() {
    let (town, mut key) = with_key("key", |_| {}).await;
    let browser = half_way(&town, "alice").await;
    let page = browser.get(&at(PORTAL, "/login/key"), OWN_PAGE).await;
    assert!(
        page.text.contains("/login/code"),
        "the app is one click away"
    );
    let options = ask(&browser, START, json!({})).await;
    assert_eq!(options["publicKey"]["rpId"], PORTAL);
    assert_eq!(options["publicKey"]["userVerification"], "discouraged");
    let done = give(&browser, "/login/key", &key.answer(&options)).await;
    assert_eq!(done.location(), "/account", "{}", done.text);
    let me = whoami(&browser).await;
    assert_eq!(me["amr"], json!(["pwd", "hwk", "mfa"]));
    assert_eq!(me["level"], 3);
    assert_eq!(browser.visit(&at(R2, "/")).await.text, "/: alice");
    // The same by the API, which names it among the methods.
    key.counter += 1;
    let script = Browser::new(&town);
    let login = json!({ "username": "alice", "password": PASSWORD });
    let half = ask(&script, "/.portcullis/api/v1/login", login).await;
    assert_eq!(half["methods"], json!(["webauthn", "totp"]));
    let ticket = &half["ticket"];
    let options = ask(&script, START, json!({ "ticket": ticket })).await;
    let finish = json!({ "ticket": ticket, "credential": key.answer(&options), "token": true });
    let done = ask(&script, "/.portcullis/api/v1/login/webauthn/finish", finish).await;
    assert_eq!(done["state"], "authenticated");
    assert!(done["token"].is_string());
}

#[tokio::test]
async fn a_passkey_is_both_steps_without_name_and_password() {
    let (town, key) = with_key("passkey", |it| it.verifies = true).await;
    let browser = Browser::new(&town);
    let login = browser.get(&at(PORTAL, "/login"), TYPED).await;
    assert!(login.text.contains("username webauthn") && login.text.contains("data-conditional"));
    let policy = login.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"));
    let options = ask(&browser, START, json!({ "passkey": true })).await;
    assert_eq!(options["publicKey"]["allowCredentials"], json!([]));
    let done = give(&browser, "/login/passkey", &key.answer(&options)).await;
    assert_eq!(done.location(), "/account", "{}", done.text);
    let me = whoami(&browser).await;
    assert_eq!(me["amr"], json!(["hwk", "user", "mfa"]));
    assert_eq!(
        (&me["level"], &me["user"]["name"]),
        (&json!(3), &json!("alice"))
    );
}

#[tokio::test]
async fn l6_a_passkey_that_verifies_nobody_is_the_second_step_only() {
    let (town, mut key) = with_key("passkey", |it| it.verifies = true).await;
    key.verifies = false;
    let browser = Browser::new(&town);
    let options = ask(&browser, START, json!({ "passkey": true })).await;
    let refused = give(&browser, "/login/passkey", &key.answer(&options)).await;
    assert_eq!(refused.status, 401);
    assert!(refused.text.contains("did not check that it is you"));
    assert!(browser.cookie(PORTAL, "__Host-portcullis").is_none());
    let browser = half_way(&town, "alice").await;
    let options = ask(&browser, START, json!({})).await;
    let done = give(&browser, "/login/key", &key.answer(&options)).await;
    assert_eq!(done.location(), "/account", "{}", done.text);
}

#[tokio::test]
async fn a_synced_passkey_is_no_piece_of_hardware() {
    let synced = |it: &mut SoftKey| {
        it.verifies = true;
        it.synced = true;
        it.counter = 0;
    };
    let (town, mut key) = with_key("passkey", synced).await;
    key.counter = 0;
    for _ in 0..2 {
        let browser = Browser::new(&town);
        let options = ask(&browser, START, json!({ "passkey": true })).await;
        let done = give(&browser, "/login/passkey", &key.answer(&options)).await;
        assert_eq!(done.location(), "/account", "{}", done.text);
        let me = whoami(&browser).await;
        assert_eq!(me["amr"], json!(["swk", "user", "mfa"]));
        assert_eq!(me["level"], 2);
        let refused = browser.visit(&at(R2, "/")).await;
        assert_eq!(refused.status, 401, "and no loop");
        assert!(refused.text.contains("security key"));
    }
}

#[tokio::test]
async fn a_hardware_key_rule_asks_for_the_key_and_keeps_the_session() {
    let (town, key) = with_key("key", |_| {}).await;
    let browser = half_way(&town, "alice").await;
    let code = town.code(&alices_secret());
    let done = browser
        .post(&at(PORTAL, "/login/code"), &[("code", &code)])
        .await;
    assert_eq!(done.location(), "/account");
    assert_eq!(whoami(&browser).await["level"], 2);
    let sent = browser.get(&at(R2, "/admin"), TYPED).await;
    let step = browser.get(sent.location(), FOLLOWED).await;
    let place = step.location().to_owned();
    assert!(place.starts_with("/login/key?state="), "{place}");
    let page = browser.get(&at(PORTAL, &place), OWN_PAGE).await;
    assert!(page.text.contains("opens with a security key only") && page.text.contains(R2));
    assert!(!page.text.contains("/login/code"), "a code is not enough");
    let options = ask(&browser, START, json!({})).await;
    let done = give(&browser, &place, &key.answer(&options)).await;
    let onward = browser.get(&at(PORTAL, done.location()), OWN_PAGE).await;
    let there = browser.visit(&onward.refresh()).await;
    assert_eq!(there.text, "/admin: alice");
    assert_eq!(whoami(&browser).await["level"], 3);
    assert_eq!(
        town.desk.sessions.live(),
        2,
        "the session of the registration, and this one"
    );
}

#[tokio::test]
async fn l5_l6_answers_that_prove_nothing_are_refused() {
    let (town, key) = with_key("key", |_| {}).await;
    let evil: [(&str, Change); 7] = [
        ("another origin", |it| {
            it.origin = "https://b.example.com".into();
        }),
        ("another port", |it| {
            it.origin = format!("https://{PORTAL}:9999");
        }),
        ("a parent's RP ID", |it| it.rp = "example.com".into()),
        ("another host's RP ID", |it| it.rp = "b.example.com".into()),
        ("a frame of another site's", |it| it.cross_origin = true),
        ("a registration", |it| it.kind = "webauthn.create"),
        ("appid without U2F", |it| {
            it.appid = true;
            it.rp = format!("https://{PORTAL}");
        }),
    ];
    let mut key = key;
    for (what, change) in evil {
        let browser = half_way(&town, "alice").await;
        let options = ask(&browser, START, json!({})).await;
        let (origin, rp) = (key.origin.clone(), key.rp.clone());
        change(&mut key);
        let refused = give(&browser, "/login/key", &key.answer(&options)).await;
        assert_eq!(refused.status, 401, "{what}");
        assert!(browser.cookie(PORTAL, "__Host-portcullis").is_none());
        (key.origin, key.rp, key.kind) = (origin, rp, "webauthn.get");
        (key.cross_origin, key.appid) = (false, false);
        // And the challenge is used up by it.
        let again = give(&browser, "/login/key", &key.answer(&options)).await;
        let over = again.text.contains("sent twice") || what.contains("frame");
        assert!(over, "{what}: {}", again.text);
    }
}

#[tokio::test]
async fn l6_a_challenge_is_its_own_logins_and_answered_once() {
    let (town, mut key) = with_key("key", |_| {}).await;
    let (hers, another) = (
        half_way(&town, "alice").await,
        half_way(&town, "alice").await,
    );
    let bobs = half_way(&town, "bob").await;
    let options = ask(&hers, START, json!({})).await;
    let answer = key.answer(&options);
    for other in [&another, &bobs] {
        let refused = give(other, "/login/key", &answer).await;
        assert_ne!(refused.status, 303, "{}", refused.text);
    }
    let options = ask(&hers, START, json!({})).await;
    let answer = key.answer(&options);
    assert_eq!(give(&hers, "/login/key", &answer).await.status, 303);
    key.counter += 1;
    let replayed = give(&half_way(&town, "alice").await, "/login/key", &answer).await;
    assert_eq!(replayed.status, 401);
    // Too late.
    let late = half_way(&town, "alice").await;
    let options = ask(&late, START, json!({})).await;
    town.desk.clock.advance(Duration::from_mins(5));
    let refused = give(&late, "/login/key", &key.answer(&options)).await;
    assert!(refused.text.contains("took too long"), "{}", refused.text);
}

#[tokio::test]
async fn l6_a_counter_that_goes_back_is_refused_told_and_written_down() {
    let (town, mut key) = with_key("key", |it| it.counter = 10).await;
    for (counter, good) in [(11, true), (11, false), (5, false), (0, false), (12, true)] {
        key.counter = counter;
        let browser = half_way(&town, "alice").await;
        let options = ask(&browser, START, json!({})).await;
        let done = give(&browser, "/login/key", &key.answer(&options)).await;
        assert_eq!(done.status, if good { 303 } else { 401 }, "{counter}");
        assert_eq!(done.text.contains("counted backwards"), !good);
    }
    let told = words(&town).await;
    assert_eq!(told.iter().filter(|it| *it == "factor_refused").count(), 3);
}

#[tokio::test]
async fn l6_of_two_ceremonies_at_once_with_one_counter_one_is_refused() {
    let (town, key) = with_key("key", |_| {}).await;
    let (one, two) = (
        half_way(&town, "alice").await,
        half_way(&town, "alice").await,
    );
    let first = key.answer(&ask(&one, START, json!({})).await);
    let second = key.answer(&ask(&two, START, json!({})).await);
    let (one, two) = tokio::join!(
        give(&one, "/login/key", &first),
        give(&two, "/login/key", &second)
    );
    let mut both = [one.status, two.status];
    both.sort_unstable();
    assert_eq!(both, [303, 401]);
}

#[tokio::test]
async fn l6_another_users_key_and_one_registered_elsewhere_are_refused() {
    let (town, key) = with_key("key", |_| {}).await;
    let mut bobs = SoftKey::new(2);
    let browser = signed_in(&town, "bob").await;
    let done = register(&browser, &mut bobs, "key").await;
    assert_eq!(done.location(), "/account/factors?done=added");
    // Bob cannot register Alice's key as his.
    let mut copy = SoftKey::new(1);
    let taken = register(&browser, &mut copy, "key").await;
    assert_eq!(taken.status, 422);
    assert!(taken.text.contains("registered already"));
    bobs.counter += 1;
    for key in [&bobs, &SoftKey::new(9)] {
        let hers = half_way(&town, "alice").await;
        let options = ask(&hers, START, json!({})).await;
        let refused = give(&hers, "/login/key", &key.answer(&options)).await;
        assert_eq!(refused.status, 401);
        assert!(
            refused.text.contains("not registered here"),
            "{}",
            refused.text
        );
    }
    // A security key is no passkey unless it says whose it is, and is not another's then.
    let mut lying = key;
    lying.verifies = true;
    lying.user_handle = bobs.user_handle.clone();
    let browser = Browser::new(&town);
    let options = ask(&browser, START, json!({ "passkey": true })).await;
    let refused = give(&browser, "/login/passkey", &lying.answer(&options)).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn l7_an_imported_u2f_key_answers_for_its_appid_on_this_portal_only() {
    let town = town().await;
    let mut key = SoftKey::new(7);
    let (handle, point) = (key.id.clone(), key.point().to_vec());
    let (sealing, now) = (town.key.clone(), town.desk.clock.now());
    town.desk
        .store
        .call(move |store| {
            let alice = upkeep::find(store, "alice")?.unwrap();
            for bad in [&point[1..], &[4; 65][..], &point[..64]] {
                let not = import_u2f(store, &sealing, &alice, "", (&handle, bad), now)?;
                assert_eq!(not, Err(upkeep::NotAKey));
            }
            let old = (handle.as_slice(), point.as_slice());
            import_u2f(store, &sealing, &alice, "old one", old, now)?.unwrap();
            let twice = import_u2f(store, &sealing, &alice, "", old, now);
            assert!(matches!(twice, Err(crate::store::StoreError::Conflict)));
            Ok(())
        })
        .await
        .unwrap();
    key.appid = true;
    for (app, good) in [
        (format!("https://{PORTAL}"), true),
        ("https://b.example.com".to_owned(), false),
        ("https://example.com".to_owned(), false),
    ] {
        key.counter += 1;
        key.rp = app;
        let browser = half_way(&town, "alice").await;
        let options = ask(&browser, START, json!({})).await;
        assert_eq!(
            options["publicKey"]["extensions"]["appid"],
            format!("https://{PORTAL}")
        );
        let done = give(&browser, "/login/key", &key.answer(&options)).await;
        assert_eq!(done.status, if good { 303 } else { 401 }, "{}", key.rp);
        if good {
            assert_eq!(whoami(&browser).await["level"], 3);
        }
    }
}

#[tokio::test]
async fn factors_are_renamed_and_removed_but_for_the_last() {
    let (town, key) = with_key("key", |_| {}).await;
    let stranger = signed_in(&town, "bob").await;
    let browser = signed_in(&town, "alice").await;
    let handle = "01".repeat(32);
    let post = async |who: &Browser<'_>, what: &str, fields: &[(&str, &str)]| {
        who.post(&at(PORTAL, &format!("{FACTORS}/{what}")), fields)
            .await
    };
    let name = [("factor", handle.as_str()), ("name", "blue ring")];
    assert_eq!(post(&stranger, "rename", &name).await.status, 404);
    assert_eq!(post(&stranger, "remove", &name[..1]).await.status, 404);
    assert_eq!(post(&browser, "rename", &name).await.status, 303);
    let page = browser.get(&at(PORTAL, FACTORS), OWN_PAGE).await;
    assert!(page.text.contains("blue ring") && page.text.contains("Authenticator app"));
    assert_eq!(
        post(&browser, "remove", &[("factor", "totp")]).await.status,
        303
    );
    let last = post(&browser, "remove", &name[..1]).await;
    assert_eq!(last.status, 422);
    assert!(last.text.contains("last second step"));
    let told = words(&town).await;
    for what in ["factor_added", "factor_renamed", "factor_removed"] {
        assert!(told.contains(&what.to_owned()), "{what}");
    }
    // A user whose only second step is a key.
    let alone = half_way(&town, "alice").await;
    let code = town.code(&alices_secret());
    let refused = alone
        .post(&at(PORTAL, "/login/code"), &[("code", &code)])
        .await;
    assert_eq!(refused.location(), "/login");
    let options = ask(&alone, START, json!({})).await;
    let done = give(&alone, "/login/key", &key.answer(&options)).await;
    assert_eq!(done.location(), "/account");
}

#[tokio::test]
async fn another_app_takes_the_place_of_the_one_before_once_its_code_is_typed() {
    let town = town().await;
    let other = signed_in(&town, "alice").await;
    let browser = signed_in(&town, "alice").await;
    let url = at(PORTAL, "/account/factors/app");
    let shown = browser.get(&url, OWN_PAGE).await;
    let cut = |text: &str, from: &str, to: char| {
        let after = text.split(from).nth(1).unwrap().to_owned();
        after.split(to).next().unwrap().to_owned()
    };
    let draft = cut(&shown.text, "name=\"draft\" value=\"", '"');
    let secret = Secret::new(cut(&shown.text, "secret=", '&'));
    // Its old app's code is not the new one's, and the draft is this session's only.
    let old = town.code(&alices_secret());
    let fields = [("draft", draft.as_str()), ("code", old.as_str())];
    assert_eq!(browser.post(&url, &fields).await.status, 422);
    let new = town.code(&secret);
    let fields = [("draft", draft.as_str()), ("code", new.as_str())];
    assert_eq!(
        other.post(&url, &fields).await.location(),
        "/account/factors/app"
    );
    let done = browser.post(&url, &fields).await;
    assert_eq!(done.location(), "/account/factors?done=added");
    assert_eq!(other.get(&at(PORTAL, "/account"), TYPED).await.status, 303);
    town.next_code();
    for (secret, status) in [(alices_secret(), 401), (secret, 303)] {
        let browser = half_way(&town, "alice").await;
        let code = town.code(&secret);
        let done = browser
            .post(&at(PORTAL, "/login/code"), &[("code", &code)])
            .await;
        assert_eq!(done.status, status);
    }
}

#[tokio::test]
async fn factors_change_only_after_a_fresh_factor_and_end_other_sessions() {
    let (town, _) = with_key("key", |_| {}).await;
    let other = signed_in(&town, "alice").await;
    let browser = signed_in(&town, "alice").await;
    town.desk.clock.advance(Duration::from_mins(5));
    let sent = ask(&browser, "/account/factors/start", json!({ "kind": "key" })).await;
    assert_eq!(sent["go"], "/login/key");
    let remove = at(PORTAL, "/account/factors/remove");
    let sent = browser.post(&remove, &[("factor", "totp")]).await;
    assert_eq!(sent.location(), "/login/key");
    town.next_code();
    let code = town.code(&alices_secret());
    let back = browser
        .post(&at(PORTAL, "/login/code"), &[("code", &code)])
        .await;
    assert_eq!(back.location(), FACTORS);
    assert_eq!(
        browser.post(&remove, &[("factor", "totp")]).await.status,
        303
    );
    assert_eq!(other.get(&at(PORTAL, "/account"), TYPED).await.status, 303);
    assert_eq!(
        browser.get(&at(PORTAL, "/account"), TYPED).await.status,
        200
    );
}

#[tokio::test]
async fn c9_no_other_site_asks_for_a_challenge_or_changes_a_factor() {
    let town = town().await;
    let browser = signed_in(&town, "alice").await;
    for site in ["same-site", "cross-site"] {
        let lines = [
            ("sec-fetch-site", site),
            ("sec-fetch-mode", "cors"),
            ("content-type", "application/json"),
            ("origin", "https://b.example.com"),
        ];
        for path in [START, "/account/factors/start", "/account/factors/remove"] {
            let refused = browser.send("POST", &at(PORTAL, path), &lines, "{}").await;
            assert_eq!(refused.status, 403, "{site} {path}");
        }
    }
    let on_tenant = browser.send("POST", &at(R1, START), OWN_SCRIPT, "{}").await;
    assert_eq!(on_tenant.status, 404);
}
