//! Recovery codes, from their making to the last one; and what people are told.

use super::{audit::words, *};

/// The codes that a page shows.
pub(super) fn shown(page: &str) -> Vec<String> {
    let parts = page.split("<li><code>").skip(1);
    parts
        .map(|it| it.split('<').next().unwrap().to_owned())
        .collect()
}

/// A person with ten codes.
async fn codes(town: &Town) -> Vec<String> {
    town.user("alice", Some(&alices_secret())).await;
    let browser = Browser::new(town);
    browser.sign_in_at_portal("alice", &alices_secret()).await;
    town.next_code();
    let url = at(PORTAL, "/account/recovery");
    let before = browser.get(&url, TYPED).await;
    assert!(before.text.contains("You have no recovery codes"));
    shown(&browser.post(&url, &[("make", "")]).await.text)
}

const RIGHT: [(&str, &str); 2] = [("username", "alice"), ("password", PASSWORD)];

/// A browser after the password.
async fn half_way(town: &Town) -> Browser<'_> {
    let browser = Browser::new(town);
    let sent = browser.post(&at(PORTAL, "/login"), &RIGHT).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    browser
}

async fn try_code(browser: &Browser<'_>, code: &str) -> Reply {
    let url = at(PORTAL, "/login/recovery");
    browser.post(&url, &[("code", code)]).await
}

#[tokio::test]
async fn a_lost_phone_a_code_and_the_way_to_a_new_one() {
    let town = Town::new();
    let codes = codes(&town).await;
    assert_eq!(codes.len(), 10);
    let browser = half_way(&town).await;
    let page = browser.get(&at(PORTAL, "/login/code"), OWN_PAGE).await;
    assert!(page.text.contains("href=\"/login/recovery\""));
    let page = browser.get(&at(PORTAL, "/login/recovery"), OWN_PAGE).await;
    assert_eq!(page.status, 200);
    assert_eq!(try_code(&browser, "0000-0000-0000-0000").await.status, 401);
    let done = try_code(&browser, &codes[3].to_uppercase()).await;
    assert_eq!(done.location(), "/login/told");
    let told = browser.get(&at(PORTAL, "/login/told"), OWN_PAGE).await;
    assert!(told.text.contains("A recovery code was used") && told.text.contains("9 are left"));
    // Two factors, and fresh: what was lost can be replaced at once.
    let session = at(PORTAL, "/.portcullis/api/v1/session");
    let session = browser.get(&session, OWN_SCRIPT).await.json();
    assert_eq!(session["level"], 2);
    assert_eq!(session["amr"], serde_json::json!(["pwd", "otp", "mfa"]));
    let page = browser.get(&at(PORTAL, "/account/password"), TYPED).await;
    assert_eq!(page.status, 200);
    let on = browser.post(&at(PORTAL, "/login/told"), &[]).await;
    assert_eq!(on.location(), "/login");
    let said = words(&town).await;
    assert!(said.contains(&"recovery_code_used".to_owned()));
    assert!(said.contains(&"recovery_codes_made".to_owned()));
}

#[tokio::test]
async fn l10_who_used_a_code_does_not_clear_away_that_it_was_used() {
    let town = Town::new();
    let codes = codes(&town).await;
    let thief = half_way(&town).await;
    assert_eq!(try_code(&thief, &codes[0]).await.location(), "/login/told");
    thief.post(&at(PORTAL, "/login/told"), &[]).await;
    // Its owner signs in, is told, and that is that.
    town.desk.clock.advance(Duration::from_mins(2));
    for due in ["/login/told", "/account"] {
        let owner = half_way(&town).await;
        let code = [("code", town.code(&alices_secret()))];
        let code: Vec<(&str, &str)> = code.iter().map(|(a, b)| (*a, b.as_str())).collect();
        let done = owner.post(&at(PORTAL, "/login/code"), &code).await;
        assert_eq!(done.location(), due);
        if due == "/login/told" {
            let told = owner.get(&at(PORTAL, due), OWN_PAGE).await;
            assert!(told.text.contains("A recovery code was used"));
            owner.post(&at(PORTAL, due), &[]).await;
            let again = owner.get(&at(PORTAL, due), OWN_PAGE).await;
            assert_eq!(again.status, 303);
        }
        town.next_code();
    }
}

#[tokio::test]
async fn l1_a_used_code_is_worth_nothing_and_new_ones_kill_the_old() {
    let town = Town::new();
    let old = codes(&town).await;
    let browser = half_way(&town).await;
    assert_eq!(try_code(&browser, &old[0]).await.status, 303);
    let again = half_way(&town).await;
    assert_eq!(try_code(&again, &old[0]).await.status, 401);
    let page = browser
        .post(&at(PORTAL, "/account/recovery"), &[("make", "")])
        .await;
    let new = shown(&page.text);
    assert!(new.iter().all(|it| !old.contains(it)));
    assert_eq!(try_code(&again, &old[1]).await.status, 401);
    town.next_code();
    assert_eq!(try_code(&again, &new[1]).await.status, 303);
}

#[tokio::test]
async fn of_two_uses_of_one_code_at_once_one_wins() {
    let town = Town::new();
    let codes = codes(&town).await;
    let (one, two) = (half_way(&town).await, half_way(&town).await);
    let (first, second) = tokio::join!(try_code(&one, &codes[0]), try_code(&two, &codes[0]));
    let mut got = [first.status, second.status];
    got.sort_unstable();
    assert_eq!(got, [303, 401]);
    let used = words(&town).await;
    let count = used.iter().filter(|it| *it == "recovery_code_used").count();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn l2_guesses_are_held_off_for_the_user_wherever_they_come_from() {
    let town = Town::new();
    let codes = codes(&town).await;
    let mut held_off = 0;
    for n in 1..=12u8 {
        let mut browser = half_way(&town).await;
        browser.address = [192, 0, 2, n].into();
        match try_code(&browser, "0000-0000-0000-0000").await.status {
            429 => held_off += 1,
            status => assert_eq!(status, 401),
        }
    }
    assert!(held_off >= 7, "{held_off}");
    let browser = half_way(&town).await;
    let right = try_code(&browser, &codes[0]).await;
    assert_eq!(right.status, 429);
    assert!(right.headers.contains_key("retry-after"));
    // The app is another matter: nobody is locked out of it by this.
    let page = at(PORTAL, "/login/code");
    let code = town.code(&alices_secret());
    assert_eq!(browser.post(&page, &[("code", &code)]).await.status, 303);
}

#[tokio::test]
async fn l3_a_code_without_the_password_or_on_top_of_a_session_is_nothing() {
    let town = Town::new();
    let codes = codes(&town).await;
    let stranger = Browser::new(&town);
    assert_eq!(try_code(&stranger, &codes[0]).await.location(), "/login");
    // What asks for a factor again asks for one that is still there.
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &alices_secret()).await;
    town.desk.clock.advance(Duration::from_mins(6));
    let asked = browser.get(&at(PORTAL, "/account/password"), TYPED).await;
    assert_eq!(asked.location(), "/login/code");
    let page = browser.get(&at(PORTAL, "/login/code"), OWN_PAGE).await;
    assert!(!page.text.contains("/login/recovery"));
    assert_eq!(try_code(&browser, &codes[0]).await.location(), "/login");
}

#[tokio::test]
async fn the_api_lists_and_takes_recovery_codes() {
    let town = Town::new();
    let codes = codes(&town).await;
    let browser = Browser::new(&town);
    let api = |call: &str| at(PORTAL, &format!("/.portcullis/api/v1/{call}"));
    let body = serde_json::json!({"username": "alice", "password": PASSWORD});
    let first = browser.call(&api("login"), &body).await.json();
    assert_eq!(first["methods"], serde_json::json!(["totp", "recovery"]));
    let with = |code: &str| serde_json::json!({"ticket": first["ticket"], "code": code});
    let wrong = browser.call(&api("login/recovery"), &with("x")).await;
    assert_eq!(
        (wrong.status, &wrong.json()["error"]),
        (401, &"code".into())
    );
    let done = browser.call(&api("login/recovery"), &with(&codes[9])).await;
    assert_eq!(done.json()["state"], "authenticated");
    let again = browser.call(&api("login/recovery"), &with(&codes[9])).await;
    assert_eq!(again.status, 401);
}

#[tokio::test]
async fn codes_are_given_as_a_file_by_post_only_and_never_kept() {
    let town = Town::new();
    let codes = codes(&town).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &alices_secret()).await;
    let url = at(PORTAL, "/account/recovery/file");
    assert_eq!(browser.get(&url, TYPED).await.status, 405);
    let all = format!("{} <script> https://evil.example", codes.join(" "));
    let file = browser.post(&url, &[("codes", &all)]).await;
    assert_eq!(file.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(file.headers["cache-control"], "private, no-store");
    assert!(
        file.headers["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment")
    );
    assert!(codes.iter().all(|it| file.text.contains(it)));
    assert!(!file.text.contains("script") && !file.text.contains("evil"));
    let page = browser.get(&at(PORTAL, "/account/recovery"), TYPED).await;
    assert!(codes.iter().all(|it| !page.text.contains(it)));
    assert!(page.text.contains("<strong>10</strong>"));
}

#[tokio::test]
async fn l10_reset_factors_ends_everything_and_is_told_at_the_next_sign_in() {
    let town = Town::new();
    let codes = codes(&town).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &alices_secret()).await;
    town.next_code();
    let half = half_way(&town).await;
    let (now, key) = (town.desk.clock.now(), town.key.clone());
    let id = town
        .desk
        .store
        .call(move |store| {
            let user = upkeep::find(store, "alice")?.unwrap();
            upkeep::reset_factors(store, &user.id, now)?;
            Ok(user.id)
        })
        .await
        .unwrap();
    let change = crate::store::Change::User(id.clone());
    town.desk.sessions.apply(change).await.unwrap();
    // A recovery code of before is worth nothing, also to who was half way.
    assert_ne!(try_code(&half, &codes[0]).await.status, 303);
    let secret = alices_secret();
    town.desk
        .store
        .call(move |store| {
            let plain = secret.reveal().as_bytes();
            let sealed = key.seal("totp", id.as_str().as_bytes(), plain);
            store.change_user(&id, &crate::store::UserChange::Totp(Some(sealed), 0))
        })
        .await
        .unwrap();
    let next = Browser::new(&town);
    let sent = next.get(&at(R1, "/x"), TYPED).await;
    let done = next
        .sign_in(sent.location(), "alice", &alices_secret())
        .await;
    assert!(done.location().starts_with("/login/told?state="));
    let url = at(PORTAL, done.location());
    let page = next.get(&url, OWN_PAGE).await;
    assert!(page.text.contains("took your second step away"));
    // And then on to where they were going.
    let on = next.post(&url, &[]).await;
    let onward = next.get(&at(PORTAL, on.location()), OWN_PAGE).await;
    assert_eq!(next.visit(&onward.refresh()).await.text, "/x: alice");
}

#[tokio::test]
async fn a_clock_that_is_off_each_time_is_told() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    for round in 0..3 {
        // The app shows the code of the step before.
        let code = town.code(&alices_secret());
        town.next_code();
        let browser = half_way(&town).await;
        let done = browser
            .post(&at(PORTAL, "/login/code"), &[("code", &code)])
            .await;
        let expected = if round == 2 {
            "/login/told"
        } else {
            "/account"
        };
        assert_eq!(done.location(), expected, "{round}");
        if round == 2 {
            let told = browser.get(&at(PORTAL, "/login/told"), OWN_PAGE).await;
            assert!(told.text.contains("half a minute off"));
        }
        town.next_code();
    }
}

#[tokio::test]
async fn l2_wrong_codes_after_the_right_password_are_told_to_its_owner() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let url = at(PORTAL, "/login/code");
    for _ in 0..40 {
        let thief = half_way(&town).await;
        let tried = thief.post(&url, &[("code", "000000")]).await;
        let Some(wait) = tried.headers.get("retry-after") else {
            assert_eq!(tried.status, 401);
            continue;
        };
        let wait = wait.to_str().unwrap().parse().unwrap();
        town.desk.clock.advance(Duration::from_secs(wait));
        if wait > 60 {
            break;
        }
    }
    let owner = half_way(&town).await;
    let code = town.code(&alices_secret());
    let done = owner.post(&url, &[("code", &code)]).await;
    assert_eq!(done.location(), "/login/told");
    let told = owner.get(&at(PORTAL, "/login/told"), OWN_PAGE).await;
    assert!(told.text.contains("your password is known to somebody"));
}
