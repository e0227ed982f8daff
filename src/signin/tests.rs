//! The way from a tenant's host to the portal and back, and all who would bend it.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    name::{UserId, UserName},
    session::{
        Ended,
        fixture::{House, START, host},
    },
};

fn tenant() -> TenantId {
    "t1".into()
}

fn a() -> HostName {
    host("a.example.net")
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The cookies that a browser keeps after these `Set-Cookie` lines.
fn keep(jar: &mut Vec<(String, String)>, set: &[HeaderValue]) {
    for line in set {
        let line = line.to_str().unwrap();
        for part in ["; Path=/; ", "; Secure; HttpOnly; SameSite=Lax"] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.to_lowercase().contains("domain"));
        let (name, rest) = line.split_once('=').unwrap();
        let name = name.strip_prefix(cookie::PREFIX).unwrap().to_owned();
        let (value, attributes) = rest.split_once(';').unwrap();
        jar.retain(|(it, _)| *it != name);
        if !attributes.contains("Max-Age=0;") {
            jar.push((name, value.to_owned()));
        }
    }
}

fn start(signin: &Signin, jar: &mut Vec<(String, String)>, now: Timestamp) -> State {
    let start = signin.start(&a(), &tenant(), "/deep?x=1", 2, now, jar);
    keep(jar, &start.set_cookie);
    let state = signin.read_state(&start.state, now).unwrap();
    assert_eq!(state.challenge, start.challenge);
    state
}

/// A login of that user's after the password.
fn half(user: &UserId) -> HalfLogin {
    HalfLogin {
        user: user.clone(),
        password_time: START,
        device: [7; 32],
        amr: vec!["pwd".to_owned()],
        back: None,
        password: [1; 32],
        raises: None,
        hardware: false,
    }
}

async fn claim(
    house: &House,
    ticket: &str,
    verifier: &str,
    place: &HostName,
    tenant: &str,
) -> Option<Claimed> {
    let signin = Signin::new(house.key.clone());
    let claimed = signin
        .claim(&house.sessions, ticket, verifier, place, &tenant.into())
        .await;
    claimed.unwrap()
}

#[tokio::test]
async fn a_sign_in_ends_where_it_began() {
    let (house, mut jar) = (House::open(), Vec::new());
    let signin = Signin::new(house.key.clone());
    let state = start(&signin, &mut jar, house.now());
    assert_eq!((&state.host, &state.tenant), (&a(), &tenant()));
    assert_eq!((state.path.as_str(), state.level), ("/deep?x=1", 2));
    let (sid, cell) = house.sign_in().await;
    let ticket = signin
        .mint(&house.store, &sid, cell.given(), &state, house.now())
        .await
        .unwrap();
    assert!(!ticket.contains(&sid));
    let verifier = signin
        .open_attempt(&jar, &state.attempt, &a(), &tenant(), house.now())
        .unwrap();
    let claimed = claim(&house, &ticket, &verifier, &a(), "t1").await;
    let claimed = claimed.unwrap();
    assert_eq!((&claimed.sid, &claimed.given), (&sid, &cell.given()));
    assert!(Arc::ptr_eq(&claimed.cell, &cell));
    assert!(cell.lease(&a(), &tenant(), 2, 1).is_ok());
    // Replayed.
    let again = claim(&house, &ticket, &verifier, &a(), "t1").await;
    assert!(again.is_none());
}

#[tokio::test]
async fn c5_a_ticket_is_for_one_host_one_tenant_one_browser_and_thirty_seconds() {
    let (house, mut jar, mut other) = (House::open(), Vec::new(), Vec::new());
    let signin = Signin::new(house.key.clone());
    let (sid, cell) = house.sign_in().await;
    let state = start(&signin, &mut jar, house.now());
    let theirs = start(&signin, &mut other, house.now());
    let open = |jar: &[(String, String)], attempt: &str| {
        signin.open_attempt(jar, attempt, &a(), &tenant(), house.now())
    };
    let verifier = open(&jar, &state.attempt).unwrap();
    let foreign = open(&other, &theirs.attempt).unwrap();
    assert_eq!(open(&other, &state.attempt), Err(BadAttempt::Missing));
    let b = host("b.example.net");
    for (place, tenant, verifier) in [
        (&b, "t1", &verifier),
        (&a(), "t2", &verifier),
        (&a(), "t1", &foreign),
    ] {
        let ticket = signin
            .mint(&house.store, &sid, cell.given(), &state, house.now())
            .await
            .unwrap();
        let wrong = claim(&house, &ticket, verifier, place, tenant).await;
        assert!(wrong.is_none());
        // Used up by the first attempt, right or wrong.
        let right = open(&jar, &state.attempt).unwrap();
        let late = claim(&house, &ticket, &right, &a(), "t1").await;
        assert!(late.is_none());
    }
    let ticket = signin
        .mint(&house.store, &sid, cell.given(), &state, house.now())
        .await
        .unwrap();
    house.clock.advance(secs(30));
    let old = claim(&house, &ticket, &verifier, &a(), "t1").await;
    assert!(old.is_none());
    // A ticket of a login that is over.
    let ticket = signin
        .mint(&house.store, &sid, cell.given(), &state, house.now())
        .await
        .unwrap();
    house.sessions.end(&cell.sid, Ended::Logout).await.unwrap();
    let dead = claim(&house, &ticket, &verifier, &a(), "t1").await;
    assert!(dead.is_none());
    assert!(cell.lease(&a(), &tenant(), 2, 1).is_err());
}

#[tokio::test]
async fn c5_what_the_store_says_of_a_ticket_must_be_what_is_sealed_in_it() {
    let house = House::open();
    let signin = Signin::new(house.key.clone());
    let (sid, cell) = house.sign_in().await;
    let verifier = "the-verifier";
    for (sealed_sid, sealed_host, good) in [
        (sid.as_str(), "a.example.net", true),
        (&sid, "b.example.net", false),
        ("another", "a.example.net", false),
    ] {
        let sealed = SealedTicket {
            s: sealed_sid.to_owned(),
            h: sealed_host.to_owned(),
            n: random::id(),
            g: cell.given(),
        };
        let ticket = signin.seal(TICKET_PURPOSE, "", &sealed);
        let (digest, record) = (
            secret::digest(&ticket),
            TicketRecord {
                sid: cell.sid,
                host: a(),
                tenant: tenant(),
                challenge: URL_SAFE_NO_PAD.encode(secret::digest(verifier)),
                expires: house.now().plus(TICKET_LIFE),
            },
        );
        let put = house
            .store
            .call(move |store| store.put_ticket(&digest, &record));
        put.await.unwrap();
        let claimed = claim(&house, &ticket, verifier, &a(), "t1").await;
        assert_eq!(claimed.is_some(), good, "{sealed_sid} {sealed_host}");
    }
}

#[test]
fn c6_an_altered_or_rearranged_query_is_refused() {
    let signin = Signin::new(SealingKey::generate());
    let start = signin.start(&a(), &tenant(), "/", 2, START, &[]);
    for at in 0..start.state.len() {
        let mut bent = start.state.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).unwrap();
        assert_eq!(signin.read_state(&bent, START), Err(BadAttempt::NotOurs));
    }
    assert_eq!(
        callback_query("state=abc&ticket=d-_f"),
        Ok(CallbackQuery {
            state: "abc",
            ticket: "d-_f"
        })
    );
    for query in [
        "",
        "state=abc",
        "ticket=def&state=abc",
        "state=abc&ticket=def&ticket=x",
        "state=abc&state=abc&ticket=def",
        "state=abc&ticket=def&rd=//evil",
        "state=a%62c&ticket=def",
        "state=&ticket=def",
        "State=abc&ticket=def",
    ] {
        assert_eq!(callback_query(query), Err(Unclear), "{query}");
    }
    assert_eq!(login_query(None), Ok(None));
    assert_eq!(login_query(Some("state=abc")), Ok(Some("abc")));
    for query in [
        "rd=//evil",
        "state=a&state=b",
        "state=a&rd=/",
        "x",
        "state=a.b",
    ] {
        assert_eq!(login_query(Some(query)), Err(Unclear), "{query}");
    }
}

#[test]
fn a_state_and_an_attempt_are_good_for_ten_minutes_in_their_own_place() {
    let (signin, mut jar) = (Signin::new(SealingKey::generate()), Vec::new());
    let first = signin.start(&a(), &tenant(), "/", 2, START, &[]);
    keep(&mut jar, &first.set_cookie);
    let attempt = signin.read_state(&first.state, START).unwrap().attempt;
    let late = START.plus(secs(600));
    let early = START.plus(secs(599));
    assert!(signin.read_state(&first.state, early).is_ok());
    assert_eq!(
        signin.read_state(&first.state, late),
        Err(BadAttempt::Expired)
    );
    let open = |host: &HostName, tenant: &str, now| {
        signin.open_attempt(&jar, &attempt, host, &tenant.into(), now)
    };
    assert!(open(&a(), "t1", early).is_ok());
    assert_eq!(open(&a(), "t1", late), Err(BadAttempt::Expired));
    assert_eq!(open(&a(), "t2", early), Err(BadAttempt::Elsewhere));
    assert_eq!(
        open(&host("b.example.net"), "t1", early),
        Err(BadAttempt::Elsewhere)
    );
    // The same cookie twice: somebody put one there.
    let twice = [jar.clone(), jar.clone()].concat();
    let opened = signin.open_attempt(&twice, &attempt, &a(), &tenant(), early);
    assert_eq!(opened, Err(BadAttempt::Missing));
    // One attempt's value under another's name.
    let moved = [("login-00000000".to_owned(), jar[0].1.clone())];
    let opened = signin.open_attempt(&moved, "00000000", &a(), &tenant(), early);
    assert_eq!(opened, Err(BadAttempt::NotOurs));
    // Another gateway's.
    let other = Signin::new(SealingKey::generate());
    assert_eq!(
        other.read_state(&first.state, early),
        Err(BadAttempt::NotOurs)
    );
}

#[test]
fn b3_eight_attempts_are_kept_and_the_oldest_goes() {
    let (signin, mut jar) = (Signin::new(SealingKey::generate()), Vec::new());
    jar.push(("tenant".to_owned(), "x".to_owned()));
    jar.push(("login-0badbad0".to_owned(), "nonsense".to_owned()));
    let mut attempts = Vec::new();
    for tab in 0..20 {
        let now = START.plus(secs(tab));
        attempts.push(start(&signin, &mut jar, now).attempt);
        let kept: Vec<_> = jar
            .iter()
            .filter_map(|(it, _)| cookie::attempt_of(it))
            .collect();
        assert!(kept.len() <= 8);
        let newest = attempts.iter().rev().take(8);
        assert!(newest.clone().all(|it| kept.contains(&it.as_str())));
    }
    assert_eq!(jar.iter().filter(|(name, _)| name == "tenant").count(), 1);
    // Old ones are taken away too.
    start(&signin, &mut jar, START.plus(secs(10_000)));
    assert_eq!(jar.len(), 2);
}

#[test]
fn b3_no_more_than_32_attempts_are_taken_away_at_once() {
    let signin = Signin::new(SealingKey::generate());
    let junk: Vec<_> = (0..40)
        .map(|number| (format!("login-{number:08x}"), "nonsense".to_owned()))
        .collect();
    let start = signin.start(&a(), &tenant(), "/", 2, START, &junk);
    assert_eq!(start.set_cookie.len(), 32 + 1);
}

#[test]
fn c4_the_way_back_never_leaves_the_host() {
    for target in [
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "///evil.example/%2f..",
        "https://evil.example/",
        "https:evil.example",
        "javascript:alert(1)",
        "@evil.example",
        ".evil.example",
        ":80@evil.example",
        "\r\nSet-Cookie: x=y",
        "",
        "*",
        "/ä\u{1}\u{7f}\"<>",
    ] {
        let location = absolute(&a(), None, target);
        let location = location.to_str().unwrap();
        assert!(location.starts_with("https://a.example.net/"), "{location}");
        assert!(!location.contains(['\r', '\n', '\t', ' ']));
    }
    assert_eq!(
        absolute(&a(), Some(8443), "/x%2Fy?a=b&c"),
        "https://a.example.net:8443/x%2Fy?a=b&c"
    );
    assert_eq!(
        absolute(&host("[::1]"), Some(8443), "/"),
        "https://[::1]:8443/"
    );
    let signin = Signin::new(SealingKey::generate());
    let long = signin.start(
        &a(),
        &tenant(),
        &format!("/{}", "x".repeat(9000)),
        2,
        START,
        &[],
    );
    assert_eq!(signin.read_state(&long.state, START).unwrap().path, "/");
}

#[tokio::test]
async fn c8_a_half_done_login_is_no_session_no_state_and_no_ticket() {
    let house = House::open();
    let signin = Signin::new(house.key.clone());
    let half = half(&house.user.id);
    let portal = host("auth.example.net");
    let sealed = signin.half_login(&half, &portal);
    assert_eq!(
        signin.open_half_login(&sealed, &portal, START).as_ref(),
        Ok(&half)
    );
    assert!(house.tokens.verify_session(&sealed, START).is_err());
    assert!(signin.read_state(&sealed, START).is_err());
    let claimed = claim(&house, &sealed, "v", &a(), "t1").await;
    assert!(claimed.is_none());
    assert_eq!(house.sessions.live(), 0);
    // Typed on a tenant's page, it is of no use on the portal.
    let elsewhere = signin.half_login(&half, &a());
    let opened = signin.open_half_login(&elsewhere, &portal, START);
    assert_eq!(opened, Err(BadAttempt::Elsewhere));
    let late = START.plus(secs(600));
    assert_eq!(
        signin.open_half_login(&sealed, &portal, late),
        Err(BadAttempt::Expired)
    );
}

#[test]
fn a_challenge_is_bound_to_one_half_done_login() {
    let user = UserId::fresh();
    let first = half(&user);
    assert_eq!(first.binding(), half(&user).binding());
    let later = HalfLogin {
        password_time: START.plus(secs(1)),
        ..half(&user)
    };
    for other in [half(&UserId::fresh()), later] {
        assert_ne!(first.binding(), other.binding(), "{other:?}");
    }
}

#[test]
fn a_name_is_remembered_and_cannot_be_made_up() {
    let (signin, mut jar) = (Signin::new(SealingKey::generate()), Vec::new());
    assert_eq!(signin.remembered_name(&jar), None);
    let alice = UserName::parse("alice").unwrap();
    keep(&mut jar, &[signin.name_cookie(&alice)]);
    assert!(!jar[0].1.contains("alice"));
    assert_eq!(signin.remembered_name(&jar), Some(alice));
    jar[0].1 = "alice".to_owned();
    assert_eq!(signin.remembered_name(&jar), None);
}

#[test]
fn a_device_is_remembered_and_cannot_be_made_up() {
    let (signin, mut jar) = (Signin::new(SealingKey::generate()), Vec::new());
    let mut device = signin.device(&jar);
    let (alice, bob) = (UserId::fresh(), UserId::fresh());
    device.remember(&alice);
    device.remember(&bob);
    device.remember(&alice);
    keep(&mut jar, &[signin.device_cookie(&device)]);
    let again = signin.known_device(&jar).unwrap();
    assert_eq!(again, device);
    assert_eq!(again.digest(), device.digest());
    assert_eq!(again.users(), [alice.clone(), bob]);
    assert!(again.knows(&alice) && !again.knows(&UserId::fresh()));
    for _ in 0..20 {
        device.remember(&UserId::fresh());
    }
    assert!(device.users().len() <= 8);
    jar[0].1 = "made-up".to_owned();
    assert!(signin.known_device(&jar).is_none());
    assert_ne!(signin.device(&jar).digest(), again.digest());
}

#[test]
fn b2_a_browser_clears_what_a_former_tenant_left() {
    let (signin, mut jar) = (Signin::new(SealingKey::generate()), Vec::new());
    let first = signin.meet(&jar, &a(), &tenant(), false);
    assert!(!first.clear);
    keep(&mut jar, &[first.set_cookie.unwrap()]);
    let same = signin.meet(&jar, &a(), &tenant(), true);
    assert!(!same.clear && same.set_cookie.is_none());
    let other = signin.meet(&jar, &a(), &"t2".into(), true);
    assert!(other.clear);
    keep(&mut jar, &[other.set_cookie.unwrap()]);
    assert!(!signin.meet(&jar, &a(), &"t2".into(), true).clear);
    // No note counts as changed where the host ever changed hands; nor does one from elsewhere.
    assert!(signin.meet(&[], &a(), &"t2".into(), true).clear);
    assert!(
        signin
            .meet(&jar, &host("b.example.net"), &"t2".into(), true)
            .clear
    );
}

#[test]
fn h8_our_cookies_are_secure_and_host_only_whatever_the_request_said() {
    let lines = [
        cookie::session("e30.e30.x", START.plus(secs(60)), START),
        cookie::session_gone(),
        cookie::attempt("00c0ffee", "x"),
        cookie::half("x"),
        cookie::gone("half"),
    ];
    for line in lines {
        let line = line.to_str().unwrap();
        assert!(line.starts_with("__Host-portcullis"));
        assert!(line.ends_with("; Secure; HttpOnly; SameSite=Lax") && line.contains("; Path=/;"));
        assert!(!line.contains("Domain"));
    }
    let kept = cookie::session("t", START.plus(secs(60)), START);
    assert!(kept.to_str().unwrap().contains("Max-Age=60;"));
    assert!(
        cookie::session_gone()
            .to_str()
            .unwrap()
            .contains("Max-Age=0;")
    );
    for line in [cookie::device("x"), cookie::name("x"), cookie::tenant("x")] {
        let year = "Max-Age=31536000;";
        assert!(line.to_str().unwrap().contains(year), "{line:?}");
    }
    for name in [
        "login-",
        "login-0123456",
        "login-0123456G",
        "login-012345678",
        "tenant",
    ] {
        assert_eq!(cookie::attempt_of(name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn any_target_comes_back_to_the_same_host(target in "\\PC{0,60}", raw in proptest::collection::vec(any::<u8>(), 0..60)) {
        for target in [target, String::from_utf8_lossy(&raw).into_owned()] {
            let location = absolute(&host("a.example.net"), Some(8443), &target);
            let text = location.to_str().unwrap();
            prop_assert!(text.starts_with("https://a.example.net:8443/"));
            prop_assert!(text.bytes().all(|b| (0x21..0x7f).contains(&b)));
        }
    }

    #[test]
    fn no_text_is_taken_for_a_note_of_ours(text in "[A-Za-z0-9_-]{0,120}") {
        thread_local!(static SIGNIN: Signin = Signin::new(SealingKey::generate()));
        SIGNIN.with(|signin| {
            assert!(signin.read_state(&text, START).is_err());
            assert!(signin.open_half_login(&text, &a(), START).is_err());
            assert!(signin.known_device(&[("device".to_owned(), text.clone())]).is_none());
        });
    }
}
