//! A factor on top of a session: what it is worth to who stole the cookies, or knows the password.

use serde_json::json;

use super::{
    keys::{ask, give, half_way, signed_in, whoami, with_key},
    *,
};

const AGAIN: &str = "/login/again";
const CODE: &str = "/login/code";
const CHANGE: &str = "/account/password";

async fn alice(town: &Town) -> Browser<'_> {
    town.user("alice", Some(&alices_secret())).await;
    signed_in(town, "alice").await
}

async fn type_code(browser: &Browser<'_>) -> Reply {
    let code = browser.town.code(&alices_secret());
    browser.post(&at(PORTAL, CODE), &[("code", &code)]).await
}

#[tokio::test]
async fn l3_a_password_is_no_fresh_factor_of_who_has_a_second_one() {
    let town = Town::new();
    let browser = alice(&town).await;
    town.desk.clock.advance(Duration::from_mins(6));
    let asked = browser.get(&at(PORTAL, CHANGE), TYPED).await;
    assert_eq!(asked.location(), CODE);
    let page = browser.get(&at(PORTAL, AGAIN), OWN_PAGE).await;
    assert_eq!((page.status, page.location()), (303, CODE));
    let tried = browser
        .post(&at(PORTAL, AGAIN), &[("password", PASSWORD)])
        .await;
    assert_eq!((tried.status, tried.location()), (303, CODE));
    let asked = browser.get(&at(PORTAL, CHANGE), TYPED).await;
    assert_eq!(asked.location(), CODE, "still not fresh");
    // Nor is the first step of a sign-in a place to try passwords at.
    let half = half_way(&town, "alice").await;
    let tried = half
        .post(&at(PORTAL, AGAIN), &[("password", PASSWORD)])
        .await;
    assert_eq!(tried.location(), "/account");
}

#[tokio::test]
async fn k2_a_step_up_of_a_session_that_is_over_signs_nobody_in() {
    let town = Town::new();
    let browser = alice(&town).await;
    town.desk.clock.advance(Duration::from_mins(6));
    let asked = browser.get(&at(PORTAL, CHANGE), TYPED).await;
    assert_eq!(asked.location(), CODE);
    let half = browser.cookie(PORTAL, "__Host-portcullis-half").unwrap();
    // Alice ends it, from another browser; the thief's goes on with a code and without a password.
    let other = signed_in(&town, "alice").await;
    let end = at(PORTAL, "/account/sessions/end-others");
    assert_eq!(other.post(&end, &[]).await.status, 303);
    assert_eq!(town.desk.sessions.live(), 1);
    assert_eq!(type_code(&browser).await.location(), "/login");
    let code = town.code(&alices_secret());
    let ticket = json!({ "ticket": half, "code": code });
    let url = at(PORTAL, "/.portcullis/api/v1/login/totp");
    assert_eq!(browser.call(&url, &ticket).await.status, 401);
    assert_eq!(town.desk.sessions.live(), 1);
    // Nor does it raise a session that is another one.
    town.next_code();
    let second = signed_in(&town, "alice").await;
    second.set_cookie(PORTAL, "__Host-portcullis-half", &half);
    assert_eq!(type_code(&second).await.location(), "/login");
}

#[tokio::test]
async fn k4_a_code_does_not_keep_open_what_a_key_opened() {
    let (town, key) = with_key("key", |_| {}).await;
    let browser = half_way(&town, "alice").await;
    let start = "/.portcullis/api/v1/login/webauthn/start";
    let options = ask(&browser, start, json!({})).await;
    let done = give(&browser, "/login/key", &key.answer(&options)).await;
    assert_eq!(done.location(), "/account");
    town.desk.clock.advance(Duration::from_mins(6));
    let before = town.desk.sessions.live();
    let asked = browser.get(&at(PORTAL, CHANGE), TYPED).await;
    assert_eq!(asked.location(), "/login/key");
    // The page offers no code; a request for it is refused too, and begins no new login.
    assert_eq!(type_code(&browser).await.status, 401);
    assert_eq!(town.desk.sessions.live(), before);
    assert_eq!(whoami(&browser).await["level"], 3);
    let asked = browser.get(&at(PORTAL, CHANGE), TYPED).await;
    assert_eq!(asked.location(), "/login/key");
}

#[tokio::test]
async fn k4_a_code_on_top_of_an_older_token_gives_no_more_than_a_code() {
    let (town, key) = with_key("key", |_| {}).await;
    // A session of password and code; its cookies are stolen, and then it is raised with the key.
    let browser = signed_in(&town, "alice").await;
    let thief = Browser::new(&town);
    *thief.jar.borrow_mut() = browser.jar.borrow().clone();
    let sent = browser.get(&at(R2, "/admin"), TYPED).await;
    let step = browser.get(sent.location(), FOLLOWED).await;
    let start = "/.portcullis/api/v1/login/webauthn/start";
    let options = ask(&browser, start, json!({})).await;
    let done = give(&browser, step.location(), &key.answer(&options)).await;
    assert_eq!(done.status, 303);
    assert_eq!(whoami(&browser).await["level"], 3);
    assert_eq!(whoami(&thief).await["level"], 2);
    // A ticket gives a tenant's token no more than the portal's had.
    assert_eq!(thief.visit(&at(R1, "/")).await.text, "/: alice");
    let session = at(R1, "/.portcullis/api/v1/session");
    let there = thief.get(&session, OWN_SCRIPT).await.json();
    assert_eq!(there["level"], 2);
    assert_eq!(there["amr"], json!(["pwd", "otp", "mfa"]));
    assert_eq!(browser.visit(&at(R1, "/")).await.text, "/: alice");
    let there = browser.get(&session, OWN_SCRIPT).await.json();
    assert_eq!(there["level"], 3);
    town.desk.clock.advance(Duration::from_mins(6));
    thief.get(&at(PORTAL, CHANGE), TYPED).await;
    type_code(&thief).await;
    assert!(whoami(&thief).await["level"] != 3, "no key was shown");
}

#[tokio::test]
async fn l10_a_sign_in_under_way_does_not_outlive_a_new_password() {
    let town = Town::new();
    town.user("alice", None).await;
    let thief = Browser::new(&town);
    let login = [("username", "alice"), ("password", PASSWORD)];
    let url = at(PORTAL, "/login");
    // The old password is read, and being hashed; then the new one is set, and every session ended.
    let (rules, now) = (town.desk.config.login.clone(), town.desk.clock.now());
    let change = town.desk.store.call(move |store| {
        let alice = upkeep::find(store, "alice")?.unwrap();
        upkeep::set_password(
            store,
            &rules,
            &alice,
            &Secret::new("green kettle on ice"),
            now,
        )
    });
    let (sent, changed) = tokio::join!(thief.post(&url, &login), change);
    changed.unwrap().unwrap();
    assert_eq!(sent.status, 401, "{}", sent.text);
    assert!(thief.cookie(PORTAL, "__Host-portcullis").is_none());
    assert_eq!(town.desk.sessions.live(), 0);
}
