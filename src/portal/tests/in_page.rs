//! `client.js`, and the address that pages of tenants sign in by.

use super::*;

#[tokio::test]
async fn the_helper_is_served_on_every_host_and_asked_for_once() {
    let town = Town::new();
    let browser = Browser::new(&town);
    for host in [PORTAL, R1, "r9.example.com"] {
        let url = at(host, "/.portcullis/client.js");
        let reply = browser.get(&url, &[]).await;
        assert_eq!(reply.status, 200, "{host}");
        assert_eq!(
            reply.headers["content-type"],
            "text/javascript; charset=utf-8"
        );
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert_eq!(reply.headers["cross-origin-resource-policy"], "same-origin");
        assert_eq!(reply.headers["cache-control"], "public, max-age=300");
        assert!(reply.cookies().is_empty());
        assert!(reply.text.contains("export function attach("));
        let tag = reply.headers["etag"].to_str().unwrap().to_owned();
        let again = browser.get(&url, &[("if-none-match", &tag)]).await;
        assert_eq!(again.status, 304, "{host}");
        assert_eq!(again.text, "");
        let other = browser.get(&url, &[("if-none-match", "\"other\"")]).await;
        assert_eq!(other.status, 200);
        let worker = browser.get(&url, &[("service-worker", "script")]).await;
        assert_eq!(worker.status, 404, "it became a service worker");
    }
}

#[tokio::test]
async fn a_page_signs_in_by_an_address_of_ours_and_comes_back() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = Browser::new(&town);
    let first = browser.get(&at(R1, "/.portcullis/login"), TYPED).await;
    assert_eq!(first.status, 302);
    assert!(
        first
            .location()
            .starts_with("https://auth.example.com/login?state="),
        "{}",
        first.location()
    );
    browser.sign_in_at_portal("alice", &alices_secret()).await;
    let done = browser.visit(&at(R1, "/.portcullis/login")).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert!(done.text.contains("You are signed in"), "{}", done.text);
    assert!(
        !done.text.contains("alice"),
        "it hands back more than that it is done"
    );
    let back = browser
        .visit(&at(R1, "/.portcullis/login?to=%2Fapp%2F%3Fq%3D1"))
        .await;
    assert_eq!(back.text, "/app/?q=1: alice");
}

#[tokio::test]
async fn the_address_leads_to_pages_of_this_host_alone() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &alices_secret()).await;
    browser.visit(&at(R1, "/")).await;
    for bad in [
        "https://evil.example",
        "%2F%5Cevil.example",
        "app",
        "",
        "%2F.portcullis%2Flogout",
        "%2Fx%0d%0aset-cookie:a=b",
        "%2F%ff",
    ] {
        let reply = browser
            .get(&at(R1, &format!("/.portcullis/login?to={bad}")), TYPED)
            .await;
        assert_eq!(reply.status, 404, "{bad}");
    }
    let slashes = browser
        .get(
            &at(R1, "/.portcullis/login?to=%2F%2Fevil.example%2F"),
            TYPED,
        )
        .await;
    assert!(
        slashes.status == 403 || slashes.location().starts_with("https://r1.example.com/"),
        "{}",
        slashes.status
    );
    // A script that asks makes no attempt of anybody's.
    let script = browser.get(&at(R2, "/.portcullis/login"), OWN_SCRIPT).await;
    assert_eq!(script.status, 404);
    assert!(script.cookies().is_empty());
}
