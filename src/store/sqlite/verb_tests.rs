//! Each verb of the store, as its trait promises it.

use std::path::PathBuf;

use super::*;
use crate::store::{CLAIM_REST, GrantRecord};

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(super) fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

pub(super) fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

pub(super) fn person(name: &str) -> UserRecord {
    UserRecord {
        id: format!("id-{name}").as_str().into(),
        name: UserName::parse(name).unwrap(),
        email: String::new(),
        display_name: String::new(),
        groups: vec![
            UserName::parse("ops").unwrap(),
            UserName::parse("dev").unwrap(),
        ],
        disabled: false,
        password_hash: Some("old".to_owned()),
        totp_sealed: None,
        totp_last_step: 0,
        keys: 0,
        created: NOW,
    }
}

pub(super) fn login(user: &str, sid: u8) -> SessionRecord {
    SessionRecord {
        sid: [sid; 32],
        user: format!("id-{user}").as_str().into(),
        device: [9; 32],
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        level: 2,
        generation: 1,
        auth_time: NOW,
        created: NOW,
        idle_expires: later(1800),
        login_exp: later(43_200),
        last_used: NOW,
        address: "192.0.2.1".to_owned(),
        agent: "a browser".to_owned(),
        confined_to: None,
        ended: None,
        grants: Vec::new(),
    }
}

pub(super) fn ticket(sid: u8) -> TicketRecord {
    TicketRecord {
        sid: [sid; 32],
        host: host("r1.example.net"),
        tenant: "t1".into(),
        challenge: "challenge".to_owned(),
        expires: later(30),
    }
}

pub(super) fn signing_key(id: &str) -> KeyRecord {
    KeyRecord {
        id: id.to_owned(),
        kind: "session".to_owned(),
        sealed: vec![1, 2, 3],
        created: NOW,
        retires: None,
    }
}

struct Bench {
    store: SqliteStore,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data").join("p.db");
    let mut store = SqliteStore::open(&path, NOW).unwrap();
    store.add_user(&person("alice")).unwrap();
    store.add_user(&person("bob")).unwrap();
    Bench {
        store,
        path,
        _folder: folder,
    }
}

fn alice() -> UserId {
    "id-alice".into()
}

#[test]
fn the_file_is_its_owners_alone_and_commits_reach_the_disk() {
    let bench = bench();
    let mode = |it: &Path| fs::metadata(it).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&bench.path), 0o600);
    assert_eq!(mode(&bench.path.with_file_name("p.db-wal")), 0o600);
    assert_eq!(mode(bench.path.parent().unwrap()), 0o700);
    let pragma = |name: &str| {
        bench
            .store
            .db
            .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            .unwrap()
    };
    assert_eq!(
        pragma("journal_mode"),
        rusqlite::types::Value::Text("wal".to_owned())
    );
    assert_eq!(pragma("synchronous"), rusqlite::types::Value::Integer(2));
}

#[test]
fn several_processes_of_one_host_may_share_a_file() {
    let mut bench = bench();
    let mut second = SqliteStore::open(&bench.path, NOW).unwrap();
    second.add_user(&person("carol")).unwrap();
    assert_eq!(bench.store.users().unwrap().len(), 3);
}

#[test]
fn another_host_is_refused_while_this_one_lives() {
    let mut bench = bench();
    let other = || -> host::Host {
        serde_json::from_str(
            r#"{"boot":"other","machine":"other","name":"other","pid":1,"beat":0}"#,
        )
        .unwrap()
    };
    let refused = SqliteStore::open_as(&bench.path, later(59), other());
    assert!(matches!(refused, Err(StoreError::Unusable(_))));
    bench.store.sweep(later(59)).unwrap();
    let refused = SqliteStore::open_as(&bench.path, later(100), other());
    assert!(refused.unwrap_err().to_string().contains("another host"));
    // One that died without a word is not waited for for ever.
    drop(SqliteStore::open_as(&bench.path, later(120), other()).unwrap());
    // And one that went in order is not waited for at all.
    let path = bench.path.clone();
    bench.store.sweep(later(121)).unwrap();
    drop(bench.store);
    drop(SqliteStore::open_as(&path, later(121), other()).unwrap());
}

#[test]
fn a_newer_schema_and_another_programs_file_are_left_alone() {
    let bench = bench();
    let path = bench.path.clone();
    bench
        .store
        .db
        .pragma_update(None, "user_version", 1000)
        .unwrap();
    drop(bench.store);
    let error = SqliteStore::open(&path, NOW).unwrap_err().to_string();
    assert!(error.contains("newer"), "{error}");

    let foreign = path.with_file_name("foreign.db");
    let db = Connection::open(&foreign).unwrap();
    db.execute_batch("CREATE TABLE things (x)").unwrap();
    drop(db);
    let error = SqliteStore::open(&foreign, NOW).unwrap_err().to_string();
    assert!(error.contains("another program"), "{error}");
}

#[test]
fn a_name_is_taken_in_any_case() {
    let mut bench = bench();
    let mut again = person("ALICE");
    again.id = UserId::fresh();
    assert!(matches!(
        bench.store.add_user(&again),
        Err(StoreError::Conflict)
    ));
    let found = bench.store.user_by_name(&again.name).unwrap().unwrap();
    assert_eq!(found.id, alice());
    assert_eq!(found.groups, person("alice").groups);
}

#[test]
fn what_is_not_there_is_not_found() {
    let store = &mut bench().store;
    let nobody = UserId::fresh();
    assert!(matches!(
        store.change_user(&nobody, &UserChange::Disabled(true)),
        Err(StoreError::NotFound)
    ));
    assert!(matches!(
        store.remove_user(&nobody, NOW),
        Err(StoreError::NotFound)
    ));
    assert!(matches!(
        store.release_claim("x", NOW),
        Err(StoreError::NotFound)
    ));
    assert!(matches!(
        store.retire_key("x", NOW),
        Err(StoreError::NotFound)
    ));
    assert!(store.session(&[0; 32]).unwrap().is_none());
    assert!(!store.end_session(&[0; 32], "revoked", NOW).unwrap());
    assert!(!store.take_totp_step(&nobody, 1).unwrap());
}

#[test]
fn a_rehash_never_replaces_a_newer_password() {
    let store = &mut bench().store;
    store.rehash(&alice(), "other", "lost").unwrap();
    store.rehash(&alice(), "old", "grown").unwrap();
    let user = store.user(&alice()).unwrap().unwrap();
    assert_eq!(user.password_hash.as_deref(), Some("grown"));
}

#[test]
fn l1_a_totp_step_is_taken_once_by_whoever_asks_first() {
    let mut bench = bench();
    let mut second = SqliteStore::open(&bench.path, NOW).unwrap();
    assert!(bench.store.take_totp_step(&alice(), 100).unwrap());
    assert!(!second.take_totp_step(&alice(), 100).unwrap());
    assert!(!second.take_totp_step(&alice(), 99).unwrap());
    assert!(second.take_totp_step(&alice(), 101).unwrap());
}

#[test]
fn new_credentials_end_every_session_with_them() {
    let store = &mut bench().store;
    for (user, sid) in [("alice", 1), ("alice", 2), ("bob", 3)] {
        store.begin_session(&login(user, sid)).unwrap();
    }
    let ended = store
        .change_credentials(&alice(), &[UserChange::Password(None)], "credentials", NOW)
        .unwrap();
    assert_eq!(ended, 2);
    let live = store.live_sessions(NOW).unwrap();
    assert_eq!(live.len(), 1);
    let tomb = store.session(&[1; 32]).unwrap().unwrap();
    assert_eq!(tomb.ended, Some(("credentials".to_owned(), NOW)));
}

#[test]
fn nobody_begins_a_session_once_barred() {
    let store = &mut bench().store;
    store
        .change_user(&alice(), &UserChange::Disabled(true))
        .unwrap();
    assert!(matches!(
        store.begin_session(&login("alice", 1)),
        Err(StoreError::NotFound)
    ));
    store.remove_user(&"id-bob".into(), NOW).unwrap();
    assert!(matches!(
        store.begin_session(&login("bob", 1)),
        Err(StoreError::NotFound)
    ));
}

#[test]
fn a_session_comes_back_as_it_was_kept() {
    let store = &mut bench().store;
    let mut kept = login("alice", 1);
    kept.confined_to = Some(host("r1.example.net"));
    kept.grants = vec![GrantRecord {
        host: host("r1.example.net"),
        tenant: "t1".into(),
        ended: false,
    }];
    store.begin_session(&kept).unwrap();
    let found = store.session(&kept.sid).unwrap().unwrap();
    assert_eq!(format!("{found:?}"), format!("{kept:?}"));
    assert!(matches!(
        store.begin_session(&kept),
        Err(StoreError::Conflict)
    ));
}

#[test]
fn what_has_ended_is_neither_extended_nor_raised_nor_granted() {
    let store = &mut bench().store;
    store.begin_session(&login("alice", 1)).unwrap();
    let sid = [1; 32];
    assert!(store.extend_session(&sid, later(2000), later(60)).unwrap());
    // A slower gateway's older word does not shorten it.
    assert!(store.extend_session(&sid, later(1900), later(30)).unwrap());
    let found = store.session(&sid).unwrap().unwrap();
    assert_eq!(
        (found.idle_expires, found.last_used),
        (later(2000), later(60))
    );
    // Less than it has is no step-up.
    assert!(!store.raise_session(&sid, 1, &[], NOW).unwrap());
    assert!(store.raise_session(&sid, 2, &[], NOW).unwrap());
    let found = store.session(&sid).unwrap().unwrap();
    assert_eq!((found.level, found.generation), (2, 2));

    assert!(store.end_session(&sid, "logout", NOW).unwrap());
    assert!(!store.end_session(&sid, "revoked", NOW).unwrap());
    assert!(!store.extend_session(&sid, later(9000), NOW).unwrap());
    assert_eq!(
        store
            .extend_sessions(&[(sid, later(9000), NOW), ([7; 32], NOW, NOW)])
            .unwrap(),
        [sid, [7; 32]]
    );
    assert!(!store.raise_session(&sid, 3, &[], NOW).unwrap());
    assert!(!store.grant(&sid, &host("a.b"), &"t".into()).unwrap());
    let tomb = store.session(&sid).unwrap().unwrap();
    assert_eq!(tomb.ended, Some(("logout".to_owned(), NOW)));
}

#[test]
fn all_sessions_but_one_can_end() {
    let store = &mut bench().store;
    for sid in 1..=3 {
        store.begin_session(&login("alice", sid)).unwrap();
    }
    let ended = store.end_user_sessions(&alice(), "revoked", Some(&[2; 32]), NOW);
    assert_eq!(ended.unwrap(), 2);
    assert_eq!(store.live_sessions(NOW).unwrap().len(), 1);
    assert_eq!(store.end_all_sessions("revoked", NOW).unwrap(), 1);
    assert!(store.live_sessions(NOW).unwrap().is_empty());
}

#[test]
fn only_sessions_within_their_times_are_live() {
    let store = &mut bench().store;
    store.begin_session(&login("alice", 1)).unwrap();
    assert_eq!(store.live_sessions(later(1799)).unwrap().len(), 1);
    assert!(store.live_sessions(later(1800)).unwrap().is_empty());
    assert!(store.extend_session(&[1; 32], later(99_999), NOW).unwrap());
    assert!(store.live_sessions(later(43_200)).unwrap().is_empty());
}

/// Puts a ticket and claims it with what `change` makes of it.
fn claimed(change: impl FnOnce(&mut SqliteStore, &mut TicketRecord, &mut Timestamp)) -> bool {
    let mut bench = bench();
    let store = &mut bench.store;
    store.begin_session(&login("alice", 1)).unwrap();
    store.put_ticket(&[5; 32], &ticket(1)).unwrap();
    let (mut asked, mut now) = (ticket(1), NOW);
    change(store, &mut asked, &mut now);
    let claim = |store: &mut SqliteStore, asked: &TicketRecord, now| {
        store
            .claim_ticket(&[5; 32], &asked.host, &asked.tenant, &asked.challenge, now)
            .unwrap()
    };
    let first = claim(store, &asked, now);
    // Right or wrong, there is no second attempt.
    assert!(claim(store, &ticket(1), NOW).is_none());
    let granted = store.session(&[1; 32]).unwrap().unwrap().grants;
    assert_eq!(granted.len(), usize::from(first.is_some()));
    first.is_some_and(|it| it.grants == granted)
}

#[test]
fn a_ticket_is_claimed_once_and_only_by_whom_it_is_for() {
    assert!(claimed(|_, _, _| {}));
    assert!(!claimed(|_, it, _| it.host = host("r2.example.net")));
    assert!(!claimed(|_, it, _| it.tenant = "t2".into()));
    assert!(!claimed(|_, it, _| it.challenge = "other".to_owned()));
    assert!(!claimed(|_, _, now| *now = later(30)));
    assert!(!claimed(|store, _, _| {
        store.end_session(&[1; 32], "logout", NOW).unwrap();
    }));
}

#[test]
fn a_confined_session_claims_no_ticket() {
    let store = &mut bench().store;
    let mut confined = login("alice", 1);
    confined.confined_to = Some(host("r1.example.net"));
    store.begin_session(&confined).unwrap();
    store.put_ticket(&[5; 32], &ticket(1)).unwrap();
    let it = ticket(1);
    let claim = store.claim_ticket(&[5; 32], &it.host, &it.tenant, &it.challenge, NOW);
    assert!(claim.unwrap().is_none());
}

#[test]
fn a_host_is_its_first_owners_until_released_and_rested() {
    let store = &mut bench().store;
    let first = store.claim("r1", "project:a", NOW).unwrap();
    assert_eq!(store.claim("r1", "project:b", NOW).unwrap(), first);
    assert_eq!(store.claim("r1", "project:a", later(9)).unwrap(), first);

    store.release_claim("r1", NOW).unwrap();
    let resting = store.claim("r1", "project:b", later(60)).unwrap();
    assert_eq!(resting.owner, "project:a");
    let again = store.claim("r1", "project:a", later(60)).unwrap();
    assert_eq!(again, first);

    store.release_claim("r1", NOW.minus(CLAIM_REST)).unwrap();
    let taken = store.claim("r1", "project:b", later(60)).unwrap();
    assert_eq!(taken.owner, "project:b");
    assert!(taken.changed_hands && taken.released.is_none());
    assert_ne!(taken.tenant, first.tenant);
}

#[test]
fn failures_count_within_their_window_and_then_from_the_start() {
    let mut bench = bench();
    let store = &mut bench.store;
    assert_eq!(store.failures("k", NOW, 60).unwrap(), (0, NOW));
    for expected in 1..=3 {
        assert_eq!(store.count_failure("k", NOW, 60).unwrap(), expected);
    }
    // A new process knows them too.
    let store = &mut SqliteStore::open(&bench.path, NOW).unwrap();
    assert_eq!(store.failures("k", later(59), 60).unwrap(), (3, later(60)));
    assert_eq!(store.failures("k", later(60), 60).unwrap().0, 0);
    assert_eq!(store.count_failure("k", later(60), 60).unwrap(), 1);
    store.clear_failures("k").unwrap();
    assert_eq!(store.failures("k", later(61), 60).unwrap().0, 0);
}

#[test]
fn a_new_link_replaces_the_old_and_works_until_it_expires() {
    let store = &mut bench().store;
    let record = LinkRecord {
        user: alice(),
        expires: later(60),
        enrol_totp: true,
    };
    store.put_link(&[1; 32], &record).unwrap();
    store.put_link(&[2; 32], &record).unwrap();
    assert!(store.link(&[1; 32], NOW).unwrap().is_none());
    assert!(store.link(&[2; 32], later(59)).unwrap().is_some());
    assert!(store.link(&[2; 32], later(60)).unwrap().is_none());
    assert!(
        !store
            .complete_setup(&[2; 32], "new", None, later(60))
            .unwrap()
    );
    store.begin_session(&login("alice", 1)).unwrap();
    let done = store.complete_setup(&[2; 32], "new", Some((b"sealed", 7)), NOW);
    assert!(done.unwrap());
    assert!(!store.complete_setup(&[2; 32], "again", None, NOW).unwrap());
    let user = store.user(&alice()).unwrap().unwrap();
    assert_eq!(user.password_hash.as_deref(), Some("new"));
    assert_eq!(user.totp_sealed.as_deref(), Some(&b"sealed"[..]));
    assert_eq!(user.totp_last_step, 7);
    assert!(store.live_sessions(NOW).unwrap().is_empty());
}

#[test]
fn changes_are_told_in_order_and_who_missed_some_is_told_all() {
    let store = &mut bench().store;
    let start = store.last_change().unwrap();
    store.begin_session(&login("alice", 1)).unwrap();
    store.claim("r1", "file", NOW).unwrap();
    store.add_key(&signing_key("k")).unwrap();
    store.remove_user(&alice(), NOW).unwrap();
    let told: Vec<Change> = store
        .changes_since(start)
        .unwrap()
        .into_iter()
        .map(|it| it.1)
        .collect();
    assert_eq!(
        told,
        [
            Change::Session([1; 32]),
            Change::Claims,
            Change::Keys,
            Change::User(alice()),
            Change::Session([1; 32]),
        ]
    );
    let last = store.last_change().unwrap();
    assert_eq!(last, start + 5);
    assert!(store.changes_since(last).unwrap().is_empty());

    store
        .db
        .execute("DELETE FROM changes WHERE seq < ?1", [last])
        .unwrap();
    let told = store.changes_since(start).unwrap();
    assert!(told.iter().all(|it| it.0 == last));
    for change in [
        Change::Keys,
        Change::Claims,
        Change::User("id-bob".into()),
        Change::Session([1; 32]),
    ] {
        assert!(told.contains(&(last, change)));
    }
    // Nobody is given a number twice, even when all are thrown away.
    store.db.execute("DELETE FROM changes", []).unwrap();
    store.claim("r2", "file", NOW).unwrap();
    assert_eq!(store.last_change().unwrap(), last + 1);
}

#[test]
fn a_sweep_keeps_what_still_matters() {
    let store = &mut bench().store;
    for sid in [1, 2] {
        store.begin_session(&login("alice", sid)).unwrap();
        store.put_ticket(&[sid; 32], &ticket(sid)).unwrap();
    }
    store.end_session(&[1; 32], "revoked", NOW).unwrap();
    store.sweep(later(43_200 + 3599)).unwrap();
    let tomb = store.session(&[1; 32]).unwrap();
    assert!(tomb.is_some_and(|it| it.ended.is_some()));
    store.sweep(later(43_200 + 3600)).unwrap();
    assert!(store.session(&[1; 32]).unwrap().is_none());
    assert_eq!(store.users().unwrap().len(), 2);
}
