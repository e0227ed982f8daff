//! The account page and signing out.

use super::*;

async fn signed_in<'a>(town: &'a Town, name: &str) -> Browser<'a> {
    let browser = Browser::new(town);
    browser.sign_in_at_portal(name, &alices_secret()).await;
    town.next_code();
    browser
}

fn handles(page: &str) -> Vec<String> {
    let parts = page.split("name=\"session\" value=\"").skip(1);
    parts
        .map(|it| it.split('"').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_page_says_who_and_where_and_ends_one_or_all() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = signed_in(&town, "alice").await;
    let second = signed_in(&town, "alice").await;
    let third = signed_in(&town, "alice").await;
    browser.visit(&at(R1, "/")).await;
    let page = browser.get(&at(PORTAL, "/account"), TYPED).await;
    assert!(page.text.contains("Hello, alice") && page.text.contains(R1));
    assert!(page.text.contains("this browser"));
    let others = handles(&page.text);
    assert_eq!(others.len(), 2);
    let end = browser
        .post(
            &at(PORTAL, "/account/sessions/end"),
            &[("session", &others[0])],
        )
        .await;
    assert_eq!(end.location(), "/account?done=one");
    assert_eq!(town.desk.sessions.live(), 2);
    let end = browser
        .post(&at(PORTAL, "/account/sessions/end-others"), &[])
        .await;
    assert_eq!(end.location(), "/account?done=others");
    assert_eq!(town.desk.sessions.live(), 1);
    for other in [second, third] {
        assert_eq!(other.get(&at(PORTAL, "/account"), TYPED).await.status, 303);
    }
    assert_eq!(browser.get(&at(R1, "/"), TYPED).await.text, "/: alice");
}

#[tokio::test]
async fn nobody_ends_the_session_of_somebody_else() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    town.user("bob", Some(&alices_secret())).await;
    let alice = signed_in(&town, "alice").await;
    let more = signed_in(&town, "alice").await;
    let bob = signed_in(&town, "bob").await;
    let page = alice.get(&at(PORTAL, "/account"), TYPED).await;
    let theirs = handles(&page.text);
    let url = at(PORTAL, "/account/sessions/end");
    let reply = bob.post(&url, &[("session", &theirs[0])]).await;
    assert_eq!(reply.status, 404);
    assert_eq!(bob.post(&url, &[("session", "zz")]).await.status, 400);
    assert_eq!(more.get(&at(PORTAL, "/account"), TYPED).await.status, 200);
}

#[tokio::test]
async fn signing_out_ends_it_everywhere_and_a_link_does_not() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = signed_in(&town, "alice").await;
    browser.visit(&at(R1, "/")).await;
    let from_tenant = browser.get(&at(R1, "/.portcullis/logout"), TYPED).await;
    assert_eq!(from_tenant.location(), at(PORTAL, "/logout"));
    let asked = browser.get(from_tenant.location(), FOLLOWED).await;
    assert!(asked.text.contains("Sign out?"));
    assert_eq!(browser.get(&at(R1, "/"), TYPED).await.text, "/: alice");
    let token = browser.cookie(R1, "__Host-portcullis").unwrap();
    let done = browser.post(&at(PORTAL, "/logout"), &[]).await;
    assert_eq!(done.status, 200);
    assert!(browser.cookie(PORTAL, "__Host-portcullis").is_none());
    // K2: the tenant's cookie, replayed.
    assert_eq!(browser.cookie(R1, "__Host-portcullis").unwrap(), token);
    assert_eq!(browser.get(&at(R1, "/"), TYPED).await.status, 302);
    let script = [
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-site", "same-origin"),
    ];
    let reply = browser.get(&at(R1, "/"), &script).await;
    assert_eq!(reply.status, 401);
    assert!(
        reply.json()["login_url"]
            .as_str()
            .unwrap()
            .starts_with(&at(PORTAL, "/login"))
    );
    assert!(
        browser.cookie(R1, "__Host-portcullis").is_none(),
        "a cookie that is over is taken away"
    );
}

#[tokio::test]
async fn c12_too_many_cookies_are_cleared_by_a_form() {
    let town = Town::new();
    let browser = Browser::new(&town);
    let asked = browser.get(&at(PORTAL, "/clear-cookies"), TYPED).await;
    assert!(asked.text.contains("<form") && !asked.headers.contains_key("clear-site-data"));
    let done = browser.post(&at(PORTAL, "/clear-cookies"), &[]).await;
    assert_eq!(done.headers["clear-site-data"], "\"cookies\"");
}

#[tokio::test]
async fn other_methods_are_told_which_ones_are_served() {
    let town = Town::new();
    let browser = Browser::new(&town);
    let reply = browser
        .send("DELETE", &at(PORTAL, "/account"), TYPED, "")
        .await;
    assert_eq!(reply.status, 405);
    assert_eq!(reply.headers["allow"], "GET, HEAD, POST");
    assert_eq!(browser.post(&at(PORTAL, "/account"), &[]).await.status, 405);
}
