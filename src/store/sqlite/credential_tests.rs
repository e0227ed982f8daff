//! Proof for [`super::credentials`].

use super::{
    verb_tests::{NOW, later, person},
    *,
};
use crate::store::CredentialKind;

pub(super) fn key(user: &str, id: u8) -> CredentialRecord {
    CredentialRecord {
        id: vec![id; 16],
        user: format!("id-{user}").as_str().into(),
        kind: CredentialKind::Key,
        name: format!("key {id}"),
        sealed: vec![1, 2, 3],
        counter: 7,
        backup_eligible: false,
        backed_up: false,
        user_verified: false,
        created: NOW,
        last_used: None,
    }
}

pub(super) fn ceremony(user: &str) -> CeremonyRecord {
    CeremonyRecord {
        purpose: "second".to_owned(),
        binding: [7; 32],
        user: Some(format!("id-{user}").as_str().into()),
        sealed: vec![9],
        expires: later(60),
    }
}

fn store() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&folder.path().join("p.db"), NOW).unwrap();
    store.add_user(&person("alice")).unwrap();
    store.add_user(&person("bob")).unwrap();
    (store, folder)
}

fn alice() -> UserId {
    "id-alice".into()
}

#[test]
fn l6_a_credential_is_one_persons_only() {
    let (mut store, _folder) = store();
    store.add_credential(&key("alice", 1)).unwrap();
    for user in ["alice", "bob"] {
        let again = store.add_credential(&key(user, 1));
        assert!(matches!(again, Err(StoreError::Conflict)), "{user}");
    }
    let nobodys = store.add_credential(&key("carol", 2));
    assert!(matches!(nobodys, Err(StoreError::NotFound)));
    assert_eq!(store.credentials(&alice()).unwrap(), [key("alice", 1)]);
    assert_eq!(store.credential(&[1; 16]).unwrap(), Some(key("alice", 1)));
    assert_eq!(store.user(&alice()).unwrap().unwrap().keys, 1);
    let bob = "id-bob".into();
    assert!(!store.rename_credential(&bob, &[1; 16], "mine").unwrap());
    let removed = store.remove_credential(&bob, &[1; 16]).unwrap();
    assert_eq!(removed, Removed::NotThere);
    store.remove_user(&alice(), NOW).unwrap();
    assert_eq!(store.credential(&[1; 16]).unwrap(), None);
}

#[test]
fn l6_a_counter_moves_forward_only_and_zero_is_none() {
    let (mut store, _folder) = store();
    store.add_credential(&key("alice", 1)).unwrap();
    for (counter, taken) in [(6, false), (7, false), (0, false), (8, true), (8, false)] {
        let touched = store.touch_credential(&[1; 16], counter, false, later(1));
        assert_eq!(touched.unwrap(), taken, "{counter}");
    }
    let mut synced = key("alice", 2);
    synced.counter = 0;
    store.add_credential(&synced).unwrap();
    for _ in 0..2 {
        assert!(store.touch_credential(&[2; 16], 0, true, later(2)).unwrap());
    }
    let stored = store.credential(&[2; 16]).unwrap().unwrap();
    assert!(stored.backed_up && stored.last_used == Some(later(2)));
    assert!(store.touch_credential(&[2; 16], 1, true, NOW).unwrap());
    assert!(!store.touch_credential(&[2; 16], 0, true, NOW).unwrap());
}

#[test]
fn l6_a_challenge_is_used_up_by_the_first_answer_right_or_wrong() {
    let (mut store, _folder) = store();
    let good = ceremony("alice");
    for (purpose, binding, at, fits) in [
        ("second", [7; 32], NOW, true),
        ("register", [7; 32], NOW, false),
        ("second", [8; 32], NOW, false),
        ("second", [7; 32], later(60), false),
    ] {
        store.put_ceremony(&[5; 32], &good).unwrap();
        let first = store.take_ceremony(&[5; 32], purpose, &binding, at);
        assert_eq!(first.unwrap().is_some(), fits, "{purpose}");
        let second = store.take_ceremony(&[5; 32], "second", &[7; 32], NOW);
        assert!(second.unwrap().is_none(), "{purpose}");
    }
}

#[test]
fn strangers_challenges_are_bounded_and_push_out_nobody_elses() {
    let (mut store, _folder) = store();
    store.put_ceremony(&[5; 32], &ceremony("alice")).unwrap();
    let mut stranger = ceremony("alice");
    stranger.user = None;
    store
        .db
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
             INSERT INTO ceremonies SELECT CAST(i AS BLOB), 'passkey', x'07', NULL, x'09', i FROM n",
        )
        .unwrap();
    store.put_ceremony(&[6; 32], &stranger).unwrap();
    let count: i64 = store
        .db
        .query_row("SELECT count(*) FROM ceremonies", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 10_001);
    let mut take = |id: u8| store.take_ceremony(&[id; 32], "second", &[7; 32], NOW);
    assert!(take(5).unwrap().is_some() && take(6).unwrap().is_some());
}

/// Two requests, each on a connection of its own, in both orders and at once.
#[test]
fn of_two_who_remove_the_last_two_factors_one_finds_itself_the_last() {
    type Act = fn(&mut SqliteStore) -> Removed;
    const FIRST: Act = |it| it.remove_credential(&alice(), &[1; 16]).unwrap();
    const SECOND: Act = |it| it.remove_credential(&alice(), &[2; 16]).unwrap();
    const TOTP: Act = |it| it.remove_totp(&alice()).unwrap();
    for (left, right, totp) in [
        (FIRST, SECOND, false),
        (SECOND, FIRST, false),
        (FIRST, TOTP, true),
        (TOTP, FIRST, true),
    ] {
        for at_once in [false, true] {
            let (mut store, folder) = store();
            store.add_credential(&key("alice", 1)).unwrap();
            if totp {
                let sealed = UserChange::Totp(Some(vec![1]), 0);
                store.change_user(&alice(), &sealed).unwrap();
            } else {
                store.add_credential(&key("alice", 2)).unwrap();
            }
            let path = folder.path().join("p.db");
            let mut other = SqliteStore::open(&path, NOW).unwrap();
            let (one, two) = if at_once {
                std::thread::scope(|scope| {
                    let one = scope.spawn(|| left(&mut store));
                    let two = scope.spawn(|| right(&mut other));
                    (one.join().unwrap(), two.join().unwrap())
                })
            } else {
                (left(&mut store), right(&mut other))
            };
            let mut both = [one, two];
            both.sort_by_key(|it| *it != Removed::Done);
            assert_eq!(both, [Removed::Done, Removed::Last]);
            let user = store.user(&alice()).unwrap().unwrap();
            assert!(user.has_second_factor());
        }
    }
}
