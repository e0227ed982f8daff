//! What the audit log says of a whole flow, and what it never says.

use std::{
    io::{self, Write as _},
    process::Command,
    sync::{Arc, Mutex},
};

use super::{setting_up::*, *};
use crate::{store::AuditFilter, telemetry::audit::Event};

pub(super) async fn events(town: &Town) -> Vec<Event> {
    town.desk
        .store
        .call(|store| store.audit(&AuditFilter::default()))
        .await
        .unwrap()
}

pub(super) async fn words(town: &Town) -> Vec<String> {
    let events = events(town).await;
    events.into_iter().map(|it| it.what).collect()
}

/// Everything that is logged, at any level, kept.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_sign_in_tells_factors_address_and_device() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &alices_secret()).await;
    let events = events(&town).await;
    let event = events.iter().find(|it| it.what == "signed_in").unwrap();
    assert_eq!(event.name.as_ref().unwrap().as_str(), "alice");
    assert_eq!(event.detail("factors"), "pwd otp mfa");
    assert_eq!(event.detail("host"), PORTAL);
    let actor = &event.actor;
    assert_eq!(actor.by, "visitor");
    assert_eq!(actor.address.unwrap().to_string(), "192.0.2.7");
    assert!(!actor.device.is_empty());
}

#[tokio::test]
async fn failures_are_counted_and_nobodys_name_is_written_down() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = Browser::new(&town);
    let login = at(PORTAL, "/login");
    // Somebody typed a password into the wrong field.
    let slip = [("username", "Tangerine-otter-47"), ("password", "alice")];
    for _ in 0..4 {
        browser.post(&login, &slip).await;
    }
    for _ in 0..3 {
        let wrong = [("username", "alice"), ("password", "wrong")];
        browser.post(&login, &wrong).await;
    }
    let events = events(&town).await;
    let failed: Vec<_> = events
        .iter()
        .filter(|it| it.what == "sign_in_failed")
        .map(|it| {
            let name = it.name.as_ref().map_or("-", UserName::as_str);
            (name, it.details["count"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        failed,
        [("-", 1), ("-", 2), ("-", 4), ("alice", 1), ("alice", 2)]
    );
    assert!(!format!("{events:?}").contains("otter"));
}

/// Says that this process is the test's own.
const ALONE: &str = "PORTCULLIS_TEST_ALONE";

/// In a process of its own, where everything that any thread logs is caught.
#[test]
fn no_secret_of_a_whole_flow_is_in_the_log_or_in_the_audit_log() {
    let own = Command::new(std::env::current_exe().unwrap())
        .args([
            "portal::tests::audit::a_whole_flow",
            "--exact",
            "--nocapture",
        ])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&own.stdout);
    assert!(own.status.success(), "{said}");
    assert!(said.contains("was looked through"), "{said}");
}

/// Not a test of its own: what the one above runs.
#[tokio::test]
async fn a_whole_flow() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let log = Captured::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(lines).unwrap();

    let town = Town::new();
    let link = invited(&town, true).await;
    let browser = Browser::new(&town);
    let second = browser.post(&link, &BOTH).await;
    let secret = typed_secret(&second.text);
    let code = town.code(&secret);
    let draft = hidden(&second.text);
    let mut secrets = vec![
        PASSWORD.to_owned(),
        link.rsplit('/').next().unwrap().to_owned(),
        secret.reveal().to_owned(),
        code.clone(),
        draft.clone(),
        "a wrong guess".to_owned(),
        "987654".to_owned(),
    ];
    let typed = [("draft", draft.as_str()), ("code", code.as_str())];
    assert_eq!(browser.post(&link, &typed).await.status, 200);
    town.next_code();
    let login = at(PORTAL, "/login");
    let wrong = [("username", "alice"), ("password", "a wrong guess")];
    assert_eq!(browser.post(&login, &wrong).await.status, 401);
    let right = [("username", "alice"), ("password", PASSWORD)];
    assert_eq!(browser.post(&login, &right).await.status, 303);
    let page = at(PORTAL, "/login/code");
    assert_eq!(browser.post(&page, &[("code", "987654")]).await.status, 401);
    secrets.push(town.code(&secret));
    assert_eq!(
        browser
            .post(&page, &[("code", &town.code(&secret))])
            .await
            .status,
        303
    );
    assert_eq!(browser.visit(&at(R1, "/")).await.text, "/: alice");
    secrets.extend(browser.jar.borrow().values().cloned());
    browser.post(&at(PORTAL, "/logout"), &[]).await;

    let (log, audit) = (log.text(), format!("{:?}", events(&town).await));
    assert!(log.contains("signed in"), "{log}");
    assert!(log.contains("wrong password"), "{log}");
    assert!(audit.contains("set_up") && audit.contains("signed_in"));
    assert!(audit.contains("sign_in_failed") && audit.contains("session_ended"));
    for secret in secrets.iter().filter(|it| it.len() > 1) {
        assert!(!log.contains(secret.as_str()), "the log has {secret}");
        assert!(
            !audit.contains(secret.as_str()),
            "the audit log has {secret}"
        );
    }
    writeln!(io::stdout(), "the log was looked through").unwrap();
}

#[tokio::test]
async fn what_an_operator_does_is_told_with_the_change() {
    let town = Town::new();
    town.user("alice", Some(&alices_secret())).await;
    let browser = Browser::new(&town);
    browser.sign_in_at_portal("alice", &alices_secret()).await;
    let (key, now) = (town.key.clone(), town.desk.clock.now());
    town.desk
        .store
        .call(move |store| {
            let user = upkeep::find(store, "alice")?.unwrap();
            let mut groups = Particulars::default();
            groups.groups.push(UserName::parse("ops").unwrap());
            upkeep::set(store, &user, groups, now)?;
            upkeep::enrol_totp(store, &key, "example.com", &user, now)?;
            upkeep::reset_factors(store, &user.id, now)?;
            upkeep::disable(store, &user.id, now)?;
            upkeep::enable(store, &user, now)?;
            upkeep::remove(store, &user, now)
        })
        .await
        .unwrap();
    assert_eq!(
        words(&town).await,
        [
            "user_added",
            "signed_in",
            "profile_changed",
            "factor_added",
            "factors_reset",
            "user_disabled",
            "user_enabled",
            "user_removed"
        ]
    );
    let events = events(&town).await;
    assert!(events[2..].iter().all(|it| it.actor.by == "operator"));
    assert_eq!(events[2].details["sessions"], 1);
}
