//! Setting an account up by a one-time link.

use super::*;

pub(super) async fn invited(town: &Town, enrol: bool) -> String {
    let rules = town.desk.config.login.clone();
    let now = town.desk.clock.now();
    let link = town
        .desk
        .store
        .call(move |store| {
            let name = UserName::parse("alice").unwrap();
            let user = match upkeep::find(store, "alice")? {
                Some(user) => user,
                None => upkeep::add(store, &name, Particulars::default(), now)?,
            };
            upkeep::invite(store, &rules, &user.id, enrol, now)
        })
        .await
        .unwrap();
    at(PORTAL, &format!("/setup/{}", link.reveal()))
}

pub(super) fn hidden(page: &str) -> String {
    let after = page.split("name=\"draft\" value=\"").nth(1).unwrap();
    after.split('"').next().unwrap().to_owned()
}

pub(super) fn typed_secret(page: &str) -> Secret {
    let after = page.split("class=\"secret\"").nth(1).unwrap();
    let block = after.split("</p>").next().unwrap();
    let groups = block.split("<span>").skip(1);
    let text: String = groups.map(|it| it.split('<').next().unwrap()).collect();
    Secret::new(text)
}

pub(super) const BOTH: [(&str, &str); 2] = [("password", PASSWORD), ("again", PASSWORD)];

#[tokio::test]
async fn a_link_leads_from_a_password_to_a_code_to_an_account() {
    let town = Town::new();
    let link = invited(&town, true).await;
    let browser = Browser::new(&town);
    // Looking uses nothing up.
    for _ in 0..3 {
        let page = browser.get(&link, TYPED).await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("autocomplete=\"new-password\""));
    }
    let second = browser.post(&link, &BOTH).await;
    assert_eq!(second.status, 200, "{}", second.text);
    assert!(second.text.contains("<svg class=\"qr\""));
    let secret = typed_secret(&second.text);
    let draft = hidden(&second.text);
    let wrong = browser
        .post(&link, &[("draft", &draft), ("code", "000000")])
        .await;
    assert_eq!(wrong.status, 422);
    assert_eq!(typed_secret(&wrong.text), secret);
    // Nothing is there before the code was right.
    let early = Browser::new(&town);
    let reply = early
        .post(
            &at(PORTAL, "/login"),
            &[("username", "alice"), ("password", PASSWORD)],
        )
        .await;
    assert_eq!(reply.status, 401);
    let code = town.code(&secret);
    let (left, right) = code.split_at(3);
    let spaced = format!("{left} {right}");
    let done = browser
        .post(&link, &[("draft", &hidden(&wrong.text)), ("code", &spaced)])
        .await;
    assert_eq!(done.status, 200);
    assert!(done.text.contains("All set, alice"));
    // Once.
    assert_eq!(browser.get(&link, TYPED).await.status, 404);
    let again = browser
        .post(&link, &[("draft", &draft), ("code", &code)])
        .await;
    assert_eq!(again.status, 404);
    town.next_code();
    browser.sign_in_at_portal("alice", &secret).await;
}

#[tokio::test]
async fn weak_or_unequal_passwords_are_told_at_their_fields() {
    let town = Town::new();
    let link = invited(&town, true).await;
    let browser = Browser::new(&town);
    let page = browser
        .post(&link, &[("password", "short"), ("again", "other")])
        .await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("id=\"password-wrong\""));
    assert!(page.text.contains("id=\"again-wrong\""));
    assert!(
        !page.text.contains("value=\"short\""),
        "no password comes back"
    );
}

#[tokio::test]
async fn a_new_password_alone_ends_every_session_at_once() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &secret).await;
    let link = invited(&town, false).await;
    let elsewhere = Browser::new(&town);
    let page = elsewhere.get(&link, TYPED).await;
    assert!(!page.text.contains("Step 1 of 2"));
    let new = "green kettle on ice";
    let done = elsewhere
        .post(&link, &[("password", new), ("again", new)])
        .await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(town.desk.sessions.live(), 0);
    let reply = browser.get(&at(PORTAL, "/account"), TYPED).await;
    assert_eq!(reply.status, 303);
}

#[tokio::test]
async fn what_is_no_link_is_told_so() {
    let town = Town::new();
    let browser = Browser::new(&town);
    for link in ["", "x", &"y".repeat(500), "a/b"] {
        let url = at(PORTAL, &format!("/setup/{link}"));
        assert_eq!(browser.get(&url, TYPED).await.status, 404);
        assert_eq!(browser.post(&url, &BOTH).await.status, 404);
    }
}
