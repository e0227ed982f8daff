//! Signing in by pages, and the way to a tenant and back.

use super::*;

const C4: [&str; 9] = [
    "//evil.example",
    "/\\evil.example",
    "/\t/evil.example",
    "https:evil.example",
    "https://r1.example.com.evil.example",
    "https://r1.example.com@evil.example",
    "javascript:alert(1)",
    "%2f%2fevil.example",
    "https://eviexample.com",
];

#[tokio::test]
async fn a_stranger_signs_in_and_lands_on_the_very_page() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    let wanted = at(R1, "/app/?a=b&c=%2F");
    let sent = browser.get(&wanted, TYPED).await;
    assert_eq!(sent.status, 302);
    assert!(sent.location().starts_with(&at(PORTAL, "/login?state=")));
    let page = browser.get(sent.location(), FOLLOWED).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains(R1) && page.text.contains("autocomplete=\"current-password\""));
    let done = browser.sign_in(sent.location(), "alice", &secret).await;
    assert_eq!(done.status, 303);
    // The end of a form: no redirect to another host, but a page that refreshes.
    let onward = browser
        .get(&absolute_to(sent.location(), done.location()), OWN_PAGE)
        .await;
    assert_eq!(onward.status, 200, "{}", onward.text);
    let callback = browser.get(&onward.refresh(), FOLLOWED).await;
    assert_eq!(callback.status, 303);
    assert_eq!(callback.location(), wanted);
    assert_eq!(callback.headers["cache-control"], "private, no-store");
    assert_eq!(callback.headers["referrer-policy"], "no-referrer");
    let app = browser.get(callback.location(), FOLLOWED).await;
    assert_eq!(app.text, "/app/?a=b&c=%2F: alice");
    // The attempt is over, and its cookie gone.
    let jar = browser.jar.borrow();
    assert!(!jar.keys().any(|(_, name)| name.contains("-login-")));
}

#[tokio::test]
async fn a_device_remembers_a_name_for_who_asks_and_forgets_it_for_who_does_not() {
    const NAME: &str = "__Host-portcullis-name";
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    let login = at(PORTAL, "/login");
    let step = |more: &'static [(&'static str, &'static str)]| {
        let mut form = vec![("username", "Alice"), ("password", PASSWORD)];
        form.extend(more);
        let (browser, login) = (&browser, &login);
        async move { browser.post(login, &form).await }
    };
    assert_eq!(step(&[]).await.status, 303);
    assert!(browser.cookie(PORTAL, NAME).is_none(), "nobody asked");
    assert_eq!(step(&[("remember", "1")]).await.status, 303);
    let kept = browser.cookie(PORTAL, NAME).unwrap();
    assert!(!kept.contains("alice"), "sealed");
    let page = browser.get(&login, TYPED).await.text;
    assert!(
        page.contains("value=\"alice\"") && page.contains("autocomplete=\"off\" checked"),
        "{page}"
    );
    // Another's, or one made up, is nobody's name.
    let other = Browser::new(&town);
    other.set_cookie(PORTAL, NAME, "bWFsbG9yeQ");
    assert!(other.get(&login, TYPED).await.text.contains("value=\"\""));
    assert_eq!(step(&[]).await.status, 303);
    assert!(
        browser.cookie(PORTAL, NAME).is_none(),
        "the tick is gone, and so is the name"
    );
}

#[tokio::test]
async fn who_is_signed_in_goes_through_without_a_word() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &secret).await;
    assert_eq!(browser.visit(&at(R1, "/x")).await.text, "/x: alice");
    assert_eq!(browser.visit(&at(R2, "//y")).await.text, "//y: alice");
}

#[tokio::test]
async fn b3_many_tabs_at_once_all_land_where_they_were() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &secret).await;
    let mut tabs = Vec::new();
    for tab in 0..20 {
        tabs.push((tab, browser.get(&at(R1, &format!("/{tab}")), TYPED).await));
    }
    let mut tickets = Vec::new();
    for (tab, sent) in tabs {
        tickets.push((tab, browser.get(sent.location(), FOLLOWED).await));
    }
    for (tab, minted) in tickets {
        let end = browser.visit(minted.location()).await;
        assert_eq!(end.text, format!("/{tab}: alice"));
    }
}

#[tokio::test]
async fn b3_a_fetch_or_a_frame_gets_a_page_and_no_ticket() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &secret).await;
    let sent = browser.get(&at(R1, "/"), TYPED).await;
    for (mode, dest) in [
        ("navigate", "iframe"),
        ("cors", "empty"),
        ("no-cors", "image"),
    ] {
        let lines = [
            ("accept", "text/html"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", mode),
            ("sec-fetch-dest", dest),
        ];
        let page = browser.get(sent.location(), &lines).await;
        assert_eq!(page.status, 200, "{mode} {dest}");
        assert!(!page.text.contains("ticket="), "{mode} {dest}");
    }
    // A browser that does not say is asked, and goes on by the form.
    let silent = [("accept", "text/html")];
    let page = browser.get(sent.location(), &silent).await;
    assert!(page.text.contains("<form") && !page.text.contains("ticket="));
    let ours = at(PORTAL, "");
    let lines = [
        ("accept", "text/html"),
        ("origin", ours.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let state = sent.location().split_once('?').unwrap().1;
    let url = at(PORTAL, &format!("/login/continue?{state}"));
    let onward = browser.send("POST", &url, &lines, "").await;
    assert_eq!(browser.visit(&onward.refresh()).await.text, "/: alice");
}

#[tokio::test]
async fn c4_no_parameter_but_our_own_state_leads_anywhere() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    for evil in C4 {
        let query: String = form_urlencoded::byte_serialize(evil.as_bytes()).collect();
        for name in ["rd", "state", "return", "next", "state=x&rd"] {
            let url = at(PORTAL, &format!("/login?{name}={query}"));
            let reply = browser.get(&url, TYPED).await;
            assert_eq!(reply.status, 400, "{url}");
            assert!(!reply.text.contains("evil"), "{url}");
        }
    }
    // And a path that looks like another host stays a path of this one.
    browser.sign_in_at_portal("alice", &secret).await;
    for target in ["//evil.example/", "/\\evil.example", "/%2f%2fevil.example"] {
        let sent = browser.get(&at(R1, target), TYPED).await;
        let minted = browser.get(sent.location(), FOLLOWED).await;
        let callback = browser.get(minted.location(), FOLLOWED).await;
        assert!(callback.location().starts_with(&at(R1, "/")), "{target}");
        browser.forget(R1);
    }
}

#[tokio::test]
async fn c5_a_ticket_is_for_one_host_one_browser_one_time() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &secret).await;
    let ticket_for = async |host: &str| {
        let sent = browser.get(&at(host, "/"), TYPED).await;
        let minted = browser.get(sent.location(), FOLLOWED).await;
        minted.location().to_owned()
    };
    // On another host.
    let callback = ticket_for(R1).await;
    let moved = callback.replace(R1, R2);
    assert_eq!(browser.get(&moved, FOLLOWED).await.status, 400);
    // In another browser: it begins again, with nothing.
    let other = Browser::new(&town);
    let reply = other.get(&callback, FOLLOWED).await;
    assert_eq!(reply.status, 302);
    assert!(other.cookie(R1, "__Host-portcullis").is_none());
    // Once by itself, then it says what is wrong.
    assert_eq!(other.get(&callback, FOLLOWED).await.status, 400);
    // Too late.
    let late = ticket_for(R1).await;
    town.desk.clock.advance(Duration::from_secs(31));
    assert_eq!(browser.get(&late, FOLLOWED).await.status, 400);
    assert!(browser.cookie(R1, "__Host-portcullis").is_none());
    // In time; and then again, with the attempt's cookie put back.
    let good = ticket_for(R1).await;
    let jar = browser.jar.borrow().clone();
    assert_eq!(browser.get(&good, FOLLOWED).await.status, 303);
    let token = browser.cookie(R1, "__Host-portcullis").unwrap();
    *browser.jar.borrow_mut() = jar;
    assert_eq!(browser.get(&good, FOLLOWED).await.status, 400);
    assert!(browser.cookie(R1, "__Host-portcullis").is_none());
    assert_eq!(token.split('.').count(), 3);
}

#[tokio::test]
async fn c6_an_altered_repeated_or_reordered_query_is_refused() {
    let town = Town::new();
    let browser = Browser::new(&town);
    let sent = browser.get(&at(R1, "/"), TYPED).await;
    let url = sent.location();
    let state = url.split_once("state=").unwrap().1;
    let flipped = if url.ends_with('A') { "B" } else { "A" };
    for bad in [
        format!("{}{flipped}", &url[..url.len() - 1]),
        format!("{url}&state={state}"),
        format!("{url}&x=1"),
        at(PORTAL, &format!("/login?x=1&state={state}")),
    ] {
        assert_eq!(browser.get(&bad, FOLLOWED).await.status, 400, "{bad}");
    }
    for bad in [
        "",
        "ticket=a&state=b",
        "state=a&ticket=b&ticket=c",
        "state=a",
    ] {
        let url = at(R1, &format!("/.portcullis/callback?{bad}"));
        assert_eq!(browser.get(&url, FOLLOWED).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn c7_a_login_has_a_new_id_and_ends_what_was_there() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    town.user("bob", Some(&secret)).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &secret).await;
    let alices = browser.cookie(PORTAL, "__Host-portcullis").unwrap();
    browser.visit(&at(R1, "/")).await;
    let at_r1 = browser.cookie(R1, "__Host-portcullis").unwrap();
    // Bob signs in over Alice in the same browser.
    browser.sign_in_at_portal("bob", &secret).await;
    let bobs = browser.cookie(PORTAL, "__Host-portcullis").unwrap();
    assert_ne!(alices, bobs);
    assert_eq!(town.desk.sessions.live(), 1);
    // Alice's token on the tenant's host is worth nothing, and Bob is himself there.
    assert_eq!(browser.cookie(R1, "__Host-portcullis").unwrap(), at_r1);
    assert_eq!(browser.visit(&at(R1, "/")).await.text, "/: bob");
    // The old portal cookie, put back.
    browser.set_cookie(PORTAL, "__Host-portcullis", &alices);
    assert_eq!(
        browser.get(&at(PORTAL, "/account"), TYPED).await.status,
        303
    );
}

#[tokio::test]
async fn l3_no_step_can_be_skipped() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    let code = town.code(&secret);
    // The code without the password leads back to the password.
    let reply = browser
        .post(&at(PORTAL, "/login/code"), &[("code", &code)])
        .await;
    assert_eq!((reply.status, reply.location()), (303, "/login"));
    // The password alone is no session: no page, no ticket, no tenant.
    let first = browser
        .post(
            &at(PORTAL, "/login"),
            &[("username", "alice"), ("password", PASSWORD)],
        )
        .await;
    assert_eq!(first.location(), "/login/code");
    assert!(browser.cookie(PORTAL, "__Host-portcullis").is_none());
    assert_eq!(town.desk.sessions.live(), 0);
    let account = browser.get(&at(PORTAL, "/account"), TYPED).await;
    assert_eq!((account.status, account.location()), (303, "/login"));
    // The half-done login as a session cookie.
    let half = browser.cookie(PORTAL, "__Host-portcullis-half").unwrap();
    browser.set_cookie(PORTAL, "__Host-portcullis", &half);
    assert_eq!(
        browser.get(&at(PORTAL, "/account"), TYPED).await.status,
        303
    );
    // In another browser it is worth nothing.
    let other = Browser::new(&town);
    other.set_cookie(PORTAL, "__Host-portcullis-half", &half);
    let reply = other
        .post(&at(PORTAL, "/login/code"), &[("code", &code)])
        .await;
    assert_eq!((reply.status, reply.location()), (303, "/login"));
    // Nor in one that has a device of its own.
    let known = Browser::new(&town);
    let right = [("username", "alice"), ("password", PASSWORD)];
    known.post(&at(PORTAL, "/login"), &right).await;
    known.set_cookie(PORTAL, "__Host-portcullis-half", &half);
    let reply = known
        .post(&at(PORTAL, "/login/code"), &[("code", &code)])
        .await;
    assert_eq!((reply.status, reply.location()), (303, "/login"));
    // Nor after ten minutes.
    town.desk.clock.advance(Duration::from_secs(601));
    let reply = browser
        .post(&at(PORTAL, "/login/code"), &[("code", &town.code(&secret))])
        .await;
    assert_eq!(reply.location(), "/login");
}

#[tokio::test]
async fn l1_a_code_works_once() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let first = Browser::new(&town);
    first.sign_in_at_portal("alice", &secret).await;
    let second = Browser::new(&town);
    let reply = second
        .sign_in(&at(PORTAL, "/login"), "alice", &secret)
        .await;
    assert_eq!(reply.status, 401);
    assert!(reply.text.contains("role=\"alert\""));
    town.next_code();
    second.sign_in_at_portal("alice", &secret).await;
}

#[tokio::test]
async fn l4_unknown_wrong_and_disabled_look_the_same() {
    let town = Town::new();
    town.user("alice", None).await;
    let browser = Browser::new(&town);
    let mut pages = Vec::new();
    for (name, password) in [("alice", "wrong password!"), ("nobody", "wrong password!")] {
        let reply = browser
            .post(
                &at(PORTAL, "/login"),
                &[("username", name), ("password", password)],
            )
            .await;
        assert_eq!(reply.status, 401);
        assert!(reply.headers.get("set-cookie").is_none());
        pages.push(reply.text.replace(name, "NAME"));
    }
    assert_eq!(pages[0], pages[1]);
}

#[tokio::test(start_paused = true)]
async fn l4_a_failed_login_takes_its_time() {
    let login = LoginRules {
        argon2_memory_kib: 64,
        argon2_passes: 1,
        floor: Duration::from_millis(250),
        ..LoginRules::default()
    };
    let town = Town::with(login, |_| {});
    let browser = Browser::new(&town);
    let begun = Instant::now();
    let reply = browser
        .post(
            &at(PORTAL, "/login"),
            &[("username", "nobody"), ("password", "wrong password!")],
        )
        .await;
    assert_eq!(reply.status, 401);
    assert!(begun.elapsed() >= Duration::from_millis(250));
}

#[tokio::test]
async fn too_many_wrong_passwords_are_told_to_wait() {
    let town = Town::new();
    let browser = Browser::new(&town);
    let mut last = 0;
    for _ in 0..12 {
        let reply = browser
            .post(
                &at(PORTAL, "/login"),
                &[("username", "alice"), ("password", "wrong password!")],
            )
            .await;
        last = reply.status;
        if last == 429 {
            assert!(reply.headers.contains_key("retry-after"));
        }
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn c9_forms_are_taken_from_our_own_pages_only() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &secret).await;
    let sibling = at(R1, "");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let senders: [&[(&'static str, &str)]; 7] = [
        &[form, ("sec-fetch-site", "same-site"), ("origin", &sibling)],
        &[form, ("sec-fetch-site", "cross-site")],
        &[form, ("sec-fetch-site", "none")],
        &[
            form,
            ("sec-fetch-site", "same-origin"),
            ("origin", &sibling),
        ],
        &[form, ("origin", &sibling)],
        &[form, ("origin", "null")],
        &[form],
    ];
    for path in [
        "/login",
        "/login/code",
        "/login/continue",
        "/logout",
        "/account/sessions/end",
        "/account/sessions/end-others",
        "/setup/anything",
        "/clear-cookies",
    ] {
        for lines in senders {
            let reply = browser.send("POST", &at(PORTAL, path), lines, "x=y").await;
            assert_eq!(reply.status, 403, "{path} {lines:?}");
        }
    }
    assert_eq!(town.desk.sessions.live(), 1);
    assert_eq!(
        browser.get(&at(PORTAL, "/account"), TYPED).await.status,
        200
    );
}

#[tokio::test]
async fn c10_c13_every_page_of_the_portal_is_framed_by_nobody_and_kept_by_nobody() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    let check = async |browser: &Browser<'_>| {
        for path in [
            "/",
            "/login",
            "/login/code",
            "/account",
            "/logout",
            "/clear-cookies",
            "/setup/x",
            "/nothing",
            "/.portcullis/api/v1/session",
        ] {
            let reply = browser.get(&at(PORTAL, path), TYPED).await;
            let header = |name: &str| reply.headers[name].to_str().unwrap().to_owned();
            assert_eq!(header("cache-control"), "private, no-store", "{path}");
            assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
            assert_eq!(header("cross-origin-opener-policy"), "same-origin");
            assert_eq!(header("x-content-type-options"), "nosniff");
            let referrer = header("referrer-policy");
            assert!(matches!(referrer.as_str(), "no-referrer" | "same-origin"));
        }
    };
    check(&browser).await;
    browser.sign_in_at_portal("alice", &secret).await;
    check(&browser).await;
}

#[tokio::test]
async fn an_unknown_host_looks_to_a_stranger_like_a_known_one() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    town.route(|table| {
        table.insert(R1, "a-tenant-id-of-22-chars", |route| {
            route.rules = Arc::new(vec![Rule {
                users: vec![UserName::parse("bob").unwrap()],
                ..Rule::default()
            }]);
        });
    });
    let browser = Browser::new(&town);
    let known = browser.get(&at(R1, "/"), TYPED).await;
    let unknown = browser.get(&at("r9.example.com", "/"), TYPED).await;
    assert_eq!((known.status, unknown.status), (302, 302));
    let names =
        |reply: &Reply| -> Vec<String> { reply.headers.keys().map(ToString::to_string).collect() };
    assert_eq!(names(&known), names(&unknown));
    // And whoever is signed in and may not go there cannot tell either.
    browser.sign_in_at_portal("alice", &secret).await;
    let mut answers = Vec::new();
    for sent in [known, unknown] {
        let reply = browser.get(sent.location(), FOLLOWED).await;
        let id = reply.text.split("<code>").nth(1).unwrap();
        let id = id.split('<').next().unwrap();
        answers.push((reply.status, reply.text.replace(id, "")));
    }
    assert_eq!(answers[0].0, 403);
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn b2_a_browser_that_meets_another_tenant_forgets_the_former() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &secret).await;
    let first = browser.get(&at(R1, "/"), TYPED).await;
    assert!(!first.headers.contains_key("clear-site-data"));
    assert_eq!(browser.visit(first.location()).await.text, "/: alice");
    town.route(|table| {
        table.insert(R1, "tenant-9", |route| route.changed_hands = true);
    });
    let again = browser.get(&at(R1, "/"), TYPED).await;
    assert_eq!(again.status, 302, "the old tenant's token is worth nothing");
    let clears = |reply: &Reply| reply.headers["clear-site-data"] == "\"cache\", \"storage\"";
    assert!(clears(&again));
    let minted = browser.get(again.location(), FOLLOWED).await;
    let callback = browser.get(minted.location(), FOLLOWED).await;
    assert!(clears(&callback));
    let script = browser
        .get(&at(R1, "/x"), &[("sec-fetch-mode", "cors")])
        .await;
    assert_eq!(script.status, 200);
    browser.forget(R1);
    let stranger = browser
        .get(&at(R1, "/x"), &[("sec-fetch-mode", "cors")])
        .await;
    assert_eq!(stranger.status, 401);
    assert!(clears(&stranger));
}

#[tokio::test]
async fn an_old_login_page_still_leads_where_one_wanted() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let browser = Browser::new(&town);
    let sent = browser.get(&at(R1, "/late"), TYPED).await;
    town.desk.clock.advance(Duration::from_hours(1));
    let done = browser.sign_in(sent.location(), "alice", &secret).await;
    let onward = browser
        .get(&absolute_to(sent.location(), done.location()), OWN_PAGE)
        .await;
    assert_eq!(onward.refresh(), at(R1, "/late"));
    assert_eq!(browser.visit(&onward.refresh()).await.text, "/late: alice");
}

#[tokio::test]
async fn a_route_that_wants_more_asks_for_a_code_and_keeps_the_login() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    town.route(|table| {
        table.insert(R1, "tenant-1", |route| {
            route.rules = Arc::new(vec![Rule {
                max_age: Some(Duration::from_mins(1)),
                ..Rule::default()
            }]);
        });
        table.insert(R2, "tenant-2", |_| {});
    });
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &secret).await;
    browser.visit(&at(R2, "/")).await;
    town.desk.clock.advance(Duration::from_mins(2));
    let sent = browser.get(&at(R1, "/fresh"), TYPED).await;
    let step = browser.get(sent.location(), FOLLOWED).await;
    assert_eq!(step.status, 303);
    assert!(step.location().starts_with("/login/code?state="));
    let url = absolute_to(sent.location(), step.location());
    let done = browser.post(&url, &[("code", &town.code(&secret))]).await;
    let onward = browser
        .get(&absolute_to(&url, done.location()), OWN_PAGE)
        .await;
    assert_eq!(browser.visit(&onward.refresh()).await.text, "/fresh: alice");
    // The same login: what was open goes on.
    assert_eq!(town.desk.sessions.live(), 1);
    assert_eq!(browser.get(&at(R2, "/"), TYPED).await.text, "/: alice");
}

#[tokio::test]
async fn a_portal_cookie_planted_in_another_browser_does_not_stick() {
    let town = Town::new();
    let secret = alices_secret();
    town.user("alice", Some(&secret)).await;
    let attacker = Browser::new(&town);
    attacker.sign_in_at_portal("alice", &secret).await;
    let victim = Browser::new(&town);
    let token = attacker.cookie(PORTAL, "__Host-portcullis").unwrap();
    victim.set_cookie(PORTAL, "__Host-portcullis", &token);
    let reply = victim.get(&at(PORTAL, "/account"), TYPED).await;
    assert_eq!((reply.status, reply.location()), (303, "/login"));
    let sent = victim.get(&at(R1, "/"), TYPED).await;
    assert_eq!(victim.get(sent.location(), FOLLOWED).await.status, 200);
    assert!(victim.cookie(R1, "__Host-portcullis").is_none());
}
