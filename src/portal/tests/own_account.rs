//! What people change about themselves: a fresh factor first, then all of it or nothing.

use super::{audit::words, *};

const NEW: &str = "green kettle on thin ice";

async fn alice(town: &Town) -> Browser<'_> {
    let browser = Browser::new(town);
    browser.sign_in_at_portal("alice", &alices_secret()).await;
    town.next_code();
    browser
}

fn later(town: &Town) {
    town.desk.clock.advance(Duration::from_mins(5));
}

const CHANGE: [(&str, &str); 3] = [("old", PASSWORD), ("password", NEW), ("again", NEW)];

#[tokio::test]
async fn a_changed_password_ends_every_other_session_and_keeps_this_one() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = alice(&town).await;
    let other = alice(&town).await;
    assert_eq!(other.visit(&at(R1, "/")).await.text, "/: alice");
    let url = at(PORTAL, "/account/password");
    assert_eq!(browser.get(&url, TYPED).await.status, 200);
    let done = browser.post(&url, &CHANGE).await;
    assert_eq!(done.location(), "/account/password?done");
    let page = browser.get(&at(PORTAL, done.location()), OWN_PAGE).await;
    assert!(page.text.contains("Your password is changed"));
    assert_eq!(town.desk.sessions.live(), 1);
    assert_eq!(other.get(&at(PORTAL, "/account"), TYPED).await.status, 303);
    assert_eq!(other.get(&at(R1, "/"), TYPED).await.status, 302);
    let old = [("username", "alice"), ("password", PASSWORD)];
    let stranger = Browser::new(&town);
    assert_eq!(stranger.post(&at(PORTAL, "/login"), &old).await.status, 401);
    assert!(words(&town).await.contains(&"password_changed".to_owned()));
}

#[tokio::test]
async fn what_is_wrong_with_a_change_is_told_and_changes_nothing() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = alice(&town).await;
    let url = at(PORTAL, "/account/password");
    for (fields, field) in [
        ([("old", "wrong"), ("password", NEW), ("again", NEW)], "old"),
        (
            [("old", PASSWORD), ("password", NEW), ("again", "x")],
            "again",
        ),
        (
            [("old", PASSWORD), ("password", "short"), ("again", "short")],
            "password",
        ),
        (
            [
                ("old", PASSWORD),
                ("password", PASSWORD),
                ("again", PASSWORD),
            ],
            "password",
        ),
        ([("old", ""), ("password", ""), ("again", "")], "old"),
    ] {
        let page = browser.post(&url, &fields).await;
        assert_eq!(page.status, 422, "{fields:?}");
        assert!(page.text.contains(&format!("href=\"#{field}\"")));
        assert!(!page.text.contains(NEW), "no password comes back");
    }
    let right = [("username", "alice"), ("password", PASSWORD)];
    assert_eq!(
        browser.post(&at(PORTAL, "/login"), &right).await.status,
        303
    );
}

#[tokio::test]
async fn an_open_browser_is_not_enough_to_change_an_account() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = alice(&town).await;
    later(&town);
    for (path, fields) in [
        ("/account/password", CHANGE.as_slice()),
        ("/account/profile", &[("name", "Mallory"), ("email", "")]),
    ] {
        let asked = browser.post(&at(PORTAL, path), fields).await;
        assert_eq!(asked.location(), "/login/code", "{path}");
    }
    assert!(!words(&town).await.contains(&"password_changed".to_owned()));
    // The factor, and back to the very page: the same session, under the next generation.
    let before = town.desk.sessions.live();
    let asked = browser.get(&at(PORTAL, "/account/password"), TYPED).await;
    assert_eq!(asked.location(), "/login/code");
    let code = [("code", town.code(&alices_secret()))];
    let code: Vec<(&str, &str)> = code.iter().map(|(a, b)| (*a, b.as_str())).collect();
    let back = browser.post(&at(PORTAL, "/login/code"), &code).await;
    assert_eq!(back.location(), "/account/password");
    assert_eq!(town.desk.sessions.live(), before);
    let done = browser
        .post(&at(PORTAL, "/account/password"), &CHANGE)
        .await;
    assert_eq!(done.location(), "/account/password?done");
    assert!(words(&town).await.contains(&"stepped_up".to_owned()));
}

#[tokio::test]
async fn who_has_only_a_password_gives_that_again() {
    let town = Town::new();
    town.user("alice", None).await;
    let browser = Browser::new(&town);
    let login = [("username", "alice"), ("password", PASSWORD)];
    browser.post(&at(PORTAL, "/login"), &login).await;
    later(&town);
    let asked = browser.get(&at(PORTAL, "/account/password"), TYPED).await;
    assert_eq!(asked.location(), "/login/again");
    let again = at(PORTAL, "/login/again");
    assert_eq!(browser.get(&again, TYPED).await.status, 200);
    let wrong = browser.post(&again, &[("password", "wrong")]).await;
    assert_eq!(wrong.status, 401);
    let back = browser.post(&again, &[("password", PASSWORD)]).await;
    assert_eq!(back.location(), "/account/password");
    let page = browser.get(&at(PORTAL, "/account/password"), TYPED).await;
    assert_eq!(page.status, 200);
    // It is no more than one factor.
    let session = at(PORTAL, "/.portcullis/api/v1/session");
    assert_eq!(browser.get(&session, OWN_SCRIPT).await.json()["level"], 1);
    // And worth nothing without a session.
    let stranger = Browser::new(&town);
    assert_eq!(stranger.get(&again, TYPED).await.location(), "/account");
    assert_eq!(
        stranger
            .post(&again, &[("password", PASSWORD)])
            .await
            .location(),
        "/account"
    );
}

#[tokio::test]
async fn of_two_changes_at_once_one_wins() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let (one, two) = (alice(&town).await, alice(&town).await);
    let url = at(PORTAL, "/account/password");
    let others = [
        ("old", PASSWORD),
        ("password", "tangerine otters at noon"),
        ("again", "tangerine otters at noon"),
    ];
    let (first, second) = tokio::join!(one.post(&url, &CHANGE), two.post(&url, &others));
    let won: Vec<bool> = [&first, &second]
        .iter()
        .map(|it| it.status == 303)
        .collect();
    assert!(won == [true, false] || won == [false, true], "{won:?}");
    // The one that lost has been signed out too.
    assert_eq!(town.desk.sessions.live(), 1);
    let changes = words(&town).await;
    let count = changes.iter().filter(|it| *it == "password_changed");
    assert_eq!(count.count(), 1);
}

#[tokio::test]
async fn name_and_address_are_ones_own_and_an_address_is_one_persons_only() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    town.user("bob", Some(&alices_secret())).await;
    let alice = alice(&town).await;
    let bob = Browser::new(&town);
    bob.sign_in_at_portal("bob", &alices_secret()).await;
    let url = at(PORTAL, "/account/profile");
    let hers = [("name", "Alice A."), ("email", "alice@example.com")];
    assert_eq!(
        alice.post(&url, &hers).await.location(),
        "/account/profile?done"
    );
    let page = alice.get(&at(PORTAL, "/account"), TYPED).await;
    assert!(page.text.contains("Alice A.") && page.text.contains("alice@example.com"));
    for email in ["ALICE@example.com", "no address", "a@b@c", "@x", "a\u{1}@b"] {
        let page = bob.post(&url, &[("name", ""), ("email", email)]).await;
        assert_eq!(page.status, 422, "{email}");
    }
    let session = at(PORTAL, "/.portcullis/api/v1/session");
    assert_eq!(
        bob.get(&session, OWN_SCRIPT).await.json()["user"]["email"],
        ""
    );
}

#[tokio::test]
async fn the_activity_page_tells_of_sign_ins_and_failures() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    town.user("bob", None).await;
    let wrong = [("username", "alice"), ("password", "wrong")];
    Browser::new(&town)
        .post(&at(PORTAL, "/login"), &wrong)
        .await;
    let browser = alice(&town).await;
    let page = browser.get(&at(PORTAL, "/account/activity"), TYPED).await;
    assert_eq!(page.status, 200);
    let newest = page.text.find("Signed in: password, authenticator app");
    let before = page.text.find("Sign-in failed: wrong password");
    assert!(newest.unwrap() < before.unwrap());
    assert!(page.text.contains("192.0.2.7") && !page.text.contains("bob"));
    let stranger = Browser::new(&town);
    for path in ["/account/activity", "/account/profile", "/account/password"] {
        let sent = stranger.get(&at(PORTAL, path), TYPED).await;
        assert_eq!(sent.location(), "/login", "{path}");
    }
}
