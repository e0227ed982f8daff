//! The login API.

use serde_json::json;

use super::*;

fn api(host: &str, call: &str) -> String {
    at(host, &format!("/.portcullis/api/v1/{call}"))
}

fn with_login_api() -> Town {
    let town = Town::new();
    town.route(|table| {
        table.insert(R1, "tenant-1", |route| {
            route.settings = Arc::new(TenantSettings {
                login_api: true,
                ..TenantSettings::default()
            });
        });
        table.insert(R2, "tenant-2", |_| {});
    });
    town
}

async fn log_in(browser: &Browser<'_>, host: &str, token: bool) -> Reply {
    let sent = json!({"username": "alice", "password": PASSWORD, "token": token});
    let first = browser.call(&api(host, "login"), &sent).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let first = first.json();
    if token {
        browser.forget(host);
    }
    assert_eq!(first["state"], "second_factor");
    assert_eq!(first["methods"], json!(["totp"]));
    let code = browser.town.code(&alices_secret());
    let sent = json!({"ticket": first["ticket"], "code": code, "token": token});
    let second = browser.call(&api(host, "login/totp"), &sent).await;
    browser.town.next_code();
    second
}

#[tokio::test]
async fn a_login_in_two_calls_sets_the_cookie() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = Browser::new(&town);
    let done = log_in(&browser, PORTAL, false).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let value = done.json();
    assert_eq!(value["state"], "authenticated");
    assert_eq!(value["user"]["name"], "alice");
    assert_eq!(value["amr"], json!(["pwd", "otp", "mfa"]));
    assert!(value.get("token").is_none());
    let session = browser.get(&api(PORTAL, "session"), OWN_SCRIPT).await;
    assert_eq!(session.json()["level"], 2);
    assert_eq!(browser.visit(&at(R1, "/")).await.text, "/: alice");
    // Renewed, by the cookie into the cookie.
    let before = browser.cookie(PORTAL, "__Host-portcullis");
    town.desk.clock.advance(Duration::from_mins(1));
    let renewed = browser
        .call(&api(PORTAL, "session/refresh"), &json!({}))
        .await;
    assert_eq!(renewed.status, 200);
    assert!(renewed.json().get("token").is_none());
    assert_ne!(browser.cookie(PORTAL, "__Host-portcullis"), before);
    let out = browser.call(&api(PORTAL, "logout"), &json!({})).await;
    assert_eq!(out.json()["state"], "signed_out");
    assert_eq!(town.desk.sessions.live(), 0);
    assert_eq!(
        browser
            .get(&api(PORTAL, "session"), OWN_SCRIPT)
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_token_is_given_to_who_asks_for_it_and_is_no_cookie() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = Browser::new(&town);
    let done = log_in(&browser, PORTAL, true).await;
    let token = done.json()["token"].as_str().unwrap().to_owned();
    assert!(browser.cookie(PORTAL, "__Host-portcullis").is_none());
    let bearer = format!("Bearer {token}");
    let lines = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    // Nor does it need one: a program, or a browser without cookies, can do it all.
    browser.forget(PORTAL);
    let session = browser.get(&api(PORTAL, "session"), &lines).await;
    assert_eq!(session.status, 200, "{}", session.text);
    let renewed = browser
        .send("POST", &api(PORTAL, "session/refresh"), &lines, "{}")
        .await;
    assert!(renewed.json()["token"].is_string(), "{}", renewed.text);
    assert!(renewed.cookies().is_empty());
    // K1: as a cookie it is worth nothing.
    browser.set_cookie(PORTAL, "__Host-portcullis", &token);
    assert_eq!(
        browser
            .get(&api(PORTAL, "session"), OWN_SCRIPT)
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn calls_that_no_page_of_ours_made_are_refused() {
    let town = Town::new();
    let browser = Browser::new(&town);
    let json = ("content-type", "application/json");
    let sibling = at(R2, "");
    let cases: [(&[(&'static str, &str)], u16); 5] = [
        (&[json, ("sec-fetch-site", "same-site")], 403),
        (&[json, ("sec-fetch-site", "cross-site")], 403),
        (&[json, ("origin", &sibling)], 403),
        (&[json], 403),
        (
            &[
                ("content-type", "text/plain"),
                ("sec-fetch-site", "same-origin"),
            ],
            415,
        ),
    ];
    for (lines, status) in cases {
        for call in ["login", "login/totp", "session/refresh", "logout"] {
            let reply = browser.send("POST", &api(PORTAL, call), lines, "{}").await;
            assert_eq!(reply.status, status, "{call} {lines:?}");
        }
    }
    let own = at(PORTAL, "");
    let old = [json, ("origin", own.as_str())];
    let reply = browser
        .send("POST", &api(PORTAL, "login"), &old, "{}")
        .await;
    assert_eq!(reply.status, 422);
}

#[tokio::test]
async fn what_cannot_be_read_or_is_missing_has_its_own_answer() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = Browser::new(&town);
    let send = async |call: &str, body: &str| {
        let reply = browser
            .send("POST", &api(PORTAL, call), OWN_SCRIPT, body)
            .await;
        (
            reply.status,
            reply.json()["error"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(send("login", "{").await, (400, "unreadable".to_owned()));
    assert_eq!(send("login", "{}").await, (422, "missing".to_owned()));
    let long = format!("{{\"username\":\"{}\"}}", "a".repeat(20_000));
    assert_eq!(
        send("login", &long).await,
        (413, "body_too_large".to_owned())
    );
    let wrong = json!({"username": "alice", "password": "wrong password!"}).to_string();
    assert_eq!(send("login", &wrong).await, (401, "credentials".to_owned()));
    let ticket = json!({"ticket": "AAAA", "code": "123456"}).to_string();
    assert_eq!(
        send("login/totp", &ticket).await,
        (401, "ticket".to_owned())
    );
    assert_eq!(send("nothing", "{}").await, (404, "not_found".to_owned()));
    let get = browser.get(&api(PORTAL, "login"), OWN_SCRIPT).await;
    assert_eq!(get.status, 405);
    assert_eq!(get.headers["allow"], "POST");
}

#[tokio::test]
async fn a_tenant_takes_passwords_only_where_the_file_says_so_and_for_itself_only() {
    let town = with_login_api();
    town.user("alice", Some(&alices_secret())).await;
    let browser = Browser::new(&town);
    let sent = json!({"username": "alice", "password": PASSWORD});
    let refused = browser.call(&api(R2, "login"), &sent).await;
    assert_eq!(refused.status, 404);
    let done = log_in(&browser, R1, false).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(browser.get(&at(R1, "/"), TYPED).await.text, "/: alice");
    // No ticket, no account page, no other host.
    let token = browser.cookie(R1, "__Host-portcullis").unwrap();
    for host in [PORTAL, R2] {
        browser.set_cookie(host, "__Host-portcullis", &token);
    }
    assert_eq!(
        browser.get(&at(PORTAL, "/account"), TYPED).await.status,
        303
    );
    assert_eq!(browser.get(&at(R2, "/"), TYPED).await.status, 302);
    // A ticket of the portal's is no good there, and the other way round.
    let first = browser.call(&api(PORTAL, "login"), &sent).await.json();
    let code = town.code(&alices_secret());
    let moved = json!({"ticket": first["ticket"], "code": code});
    let reply = browser.call(&api(R1, "login/totp"), &moved).await;
    assert_eq!(reply.status, 401);
    // Its own log-out is the end of it.
    browser.call(&api(R1, "logout"), &json!({})).await;
    assert_eq!(town.desk.sessions.live(), 0);
}

#[tokio::test]
async fn b4_a_tenants_log_out_ends_its_own_part_and_the_portal_asks_before_granting_again() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &alices_secret()).await;
    browser.visit(&at(R1, "/")).await;
    browser.visit(&at(R2, "/")).await;
    for _ in 0..5 {
        let out = browser.call(&api(R1, "logout"), &json!({})).await;
        assert_eq!(out.status, 200);
    }
    assert_eq!(town.desk.sessions.live(), 1);
    assert_eq!(browser.get(&at(R2, "/"), TYPED).await.text, "/: alice");
    assert_eq!(
        browser.get(&at(PORTAL, "/account"), TYPED).await.status,
        200
    );
    // Not behind one's back.
    let sent = browser.get(&at(R1, "/"), TYPED).await;
    assert_eq!(sent.status, 302);
    let asked = browser.get(sent.location(), FOLLOWED).await;
    assert_eq!(asked.status, 200);
    assert!(asked.text.contains("Continue to r1.example.com?"));
    let state = sent.location().split_once('?').unwrap().1;
    let onward = browser
        .post(&at(PORTAL, &format!("/login/continue?{state}")), &[])
        .await;
    assert_eq!(browser.visit(&onward.refresh()).await.text, "/: alice");
}

#[tokio::test]
async fn the_keys_and_the_sheet_are_served_on_every_host() {
    let town = Town::new();
    let browser = Browser::new(&town);
    for host in [PORTAL, R1, "r9.example.com"] {
        let keys = browser.get(&at(host, "/.portcullis/jwks.json"), &[]).await;
        assert!(keys.json()["keys"][0]["x"].is_string(), "{host}");
        assert!(keys.json()["keys"][0].get("d").is_none());
        let sheet = browser.get(&at(host, sheet::path()), &[]).await;
        assert_eq!(sheet.headers["content-type"], "text/css; charset=utf-8");
        let worker = [("service-worker", "script")];
        let reply = browser.get(&at(host, sheet::path()), &worker).await;
        assert_eq!(reply.status, 404, "no service worker under our prefix");
    }
    for nothing in ["", "client.jsx", "login", "../x", "callback"] {
        let url = at(PORTAL, &format!("/.portcullis/{nothing}"));
        assert_eq!(browser.get(&url, TYPED).await.status, 404, "{nothing}");
    }
}
