//! Every verb that writes, killed at each of its failpoints and after its answer. What was
//! answered is there; what was not is there as a whole or not at all.

use std::{
    ffi::OsString,
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    process::{Command, Stdio},
};

use rusqlite::types::Value;

use super::{
    credential_tests::{ceremony, key},
    verb_tests::{NOW, host, later, login, person, signing_key, ticket},
    *,
};
use crate::{
    store::together,
    telemetry::audit::{Actor, What},
};

const DATABASE: &str = "PORTCULLIS_TEST_DATABASE";
const VERB: &str = "PORTCULLIS_TEST_VERB";
const ANSWERED: &str = "it was answered";

type Act = fn(&mut SqliteStore) -> Result<bool, StoreError>;

/// A verb, what it is asked, and how many changes are to be told of it.
struct Case(&'static str, Act, usize);

fn alice() -> UserId {
    "id-alice".into()
}

fn link() -> LinkRecord {
    LinkRecord {
        user: alice(),
        expires: later(60),
        enrol_totp: true,
    }
}

fn event() -> Event {
    Event::new(What::PasswordChanged, NOW, Actor::gateway())
}

/// The store as every verb finds it: two users, Alice with two sessions, one granted.
fn furnish(store: &mut SqliteStore) -> Result<(), StoreError> {
    store.add_user(&person("alice"))?;
    store.add_user(&person("bob"))?;
    for sid in [1, 2] {
        store.begin_session(&login("alice", sid))?;
    }
    store.grant(&[1; 32], &host("r1.example.net"), &"t1".into())?;
    store.put_link(&[3; 32], &link())?;
    store.put_ticket(&[4; 32], &ticket(2))?;
    store.add_key(&signing_key("k1"))?;
    store.claim("r1.example.net", "project:a", NOW)?;
    store.count_failure("key", NOW, 60)?;
    store.append_audit(&event())?;
    store.put_recovery_codes(&alice(), &[[5; 32], [7; 32]])?;
    store.put_notice(&alice(), "old", NOW)?;
    store.add_credential(&key("alice", 1))?;
    store.add_credential(&key("alice", 2))?;
    store.add_credential(&key("bob", 3))?;
    store.change_user(
        &"id-bob".into(),
        &UserChange::Totp(Some(b"sealed".to_vec()), 1),
    )?;
    store.put_ceremony(&[5; 32], &ceremony("alice"))?;
    store.set_note("note", b"old")
}

const CASES: [Case; 40] = [
    Case(
        "add_user",
        |it| it.add_user(&person("carol")).map(|()| true),
        1,
    ),
    Case(
        "change_user",
        |it| {
            it.change_user(&alice(), &UserChange::Disabled(true))
                .map(|()| true)
        },
        1,
    ),
    Case(
        "change_credentials",
        |it| {
            let changes = [UserChange::Password(None), UserChange::Totp(None, 1)];
            it.change_credentials(&alice(), &changes, "credentials", NOW)
                .map(|it| it == 2)
        },
        4,
    ),
    Case(
        "rehash",
        |it| it.rehash(&alice(), "old", "new").map(|()| true),
        1,
    ),
    Case(
        "remove_user",
        |it| it.remove_user(&alice(), NOW).map(|()| true),
        3,
    ),
    Case("take_totp_step", |it| it.take_totp_step(&alice(), 5), 1),
    Case(
        "put_link",
        |it| it.put_link(&[8; 32], &link()).map(|()| true),
        0,
    ),
    Case(
        "complete_setup",
        |it| it.complete_setup(&[3; 32], "new", Some((b"sealed", 5)), NOW),
        4,
    ),
    Case(
        "count_failure",
        |it| it.count_failure("key", NOW, 60).map(|it| it == 2),
        0,
    ),
    Case(
        "clear_failures",
        |it| it.clear_failures("key").map(|()| true),
        0,
    ),
    Case(
        "begin_session",
        |it| it.begin_session(&login("bob", 7)).map(|()| true),
        1,
    ),
    Case(
        "extend_session",
        |it| it.extend_session(&[1; 32], later(5000), later(1)),
        1,
    ),
    Case(
        "extend_sessions",
        |it| {
            it.extend_sessions(&[([1; 32], later(5000), NOW), ([2; 32], later(5000), NOW)])
                .map(|it| it.is_empty())
        },
        2,
    ),
    Case(
        "raise_session",
        |it| it.raise_session(&[1; 32], 3, &[], NOW),
        1,
    ),
    Case(
        "grant",
        |it| it.grant(&[1; 32], &host("r2.example.net"), &"t2".into()),
        1,
    ),
    Case(
        "end_grant",
        |it| {
            it.end_grant(&[1; 32], &host("r1.example.net"))
                .map(|()| true)
        },
        1,
    ),
    Case(
        "end_session",
        |it| it.end_session(&[1; 32], "logout", NOW),
        1,
    ),
    Case(
        "end_user_sessions",
        |it| {
            it.end_user_sessions(&alice(), "revoked", None, NOW)
                .map(|it| it == 2)
        },
        2,
    ),
    Case(
        "end_all_sessions",
        |it| it.end_all_sessions("revoked", NOW).map(|it| it == 2),
        2,
    ),
    Case(
        "put_ticket",
        |it| it.put_ticket(&[8; 32], &ticket(1)).map(|()| true),
        0,
    ),
    Case(
        "claim_ticket",
        |it| {
            it.claim_ticket(
                &[4; 32],
                &host("r1.example.net"),
                &"t1".into(),
                "challenge",
                NOW,
            )
            .map(|it| it.is_some())
        },
        1,
    ),
    Case(
        "add_key",
        |it| it.add_key(&signing_key("k2")).map(|()| true),
        1,
    ),
    Case(
        "retire_key",
        |it| it.retire_key("k1", NOW).map(|()| true),
        1,
    ),
    Case(
        "claim",
        |it| it.claim("r9", "project:a", NOW).map(|it| it.host == "r9"),
        1,
    ),
    Case(
        "release_claim",
        |it| it.release_claim("r1.example.net", NOW).map(|()| true),
        1,
    ),
    Case(
        "set_note",
        |it| it.set_note("note", b"new").map(|()| true),
        0,
    ),
    Case(
        "put_recovery_codes",
        |it| it.put_recovery_codes(&alice(), &[[6; 32]]).map(|()| true),
        0,
    ),
    Case(
        "take_recovery_code",
        |it| {
            it.take_recovery_code(&alice(), &[5; 32])
                .map(|it| it == Some(1))
        },
        0,
    ),
    Case(
        "put_notice",
        |it| it.put_notice(&alice(), "news", NOW).map(|()| true),
        0,
    ),
    Case(
        "clear_notices",
        |it| it.clear_notices(&alice()).map(|()| true),
        0,
    ),
    Case(
        "append_audit",
        |it| it.append_audit(&event()).map(|()| true),
        0,
    ),
    Case(
        "add_credential",
        |it| it.add_credential(&key("alice", 9)).map(|()| true),
        1,
    ),
    Case(
        "rename_credential",
        |it| it.rename_credential(&alice(), &[1; 16], "another"),
        1,
    ),
    Case(
        "touch_credential",
        |it| it.touch_credential(&[1; 16], 8, false, NOW),
        0,
    ),
    Case(
        "remove_credential",
        |it| {
            it.remove_credential(&alice(), &[1; 16])
                .map(|it| it == Removed::Done)
        },
        1,
    ),
    Case(
        "remove_totp",
        |it| {
            it.remove_totp(&"id-bob".into())
                .map(|it| it == Removed::Done)
        },
        1,
    ),
    Case(
        "put_ceremony",
        |it| it.put_ceremony(&[8; 32], &ceremony("bob")).map(|()| true),
        0,
    ),
    Case(
        "take_ceremony",
        |it| {
            it.take_ceremony(&[5; 32], "second", &[7; 32], NOW)
                .map(|it| it.is_some())
        },
        0,
    ),
    // Several in one, and an event that tells of them.
    Case(
        "atomically",
        |it| {
            together(it, "atomically", |it| {
                it.change_user(&alice(), &UserChange::Password(None))?;
                it.end_user_sessions(&alice(), "credentials", Some(&[2; 32]), NOW)?;
                it.append_audit(&event()).map(|()| true)
            })
        },
        2,
    ),
    Case("sweep", |it| it.sweep(later(100_000)).map(|()| true), 0),
];

/// Everything in the tables, but for who is using them.
fn everything(path: &Path) -> Vec<String> {
    let db = Connection::open(path).unwrap();
    let mut tables = db
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .unwrap();
    let tables: Vec<String> = tables
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut rows = Vec::new();
    for table in tables {
        let filter = if table == "notes" {
            "WHERE name <> 'host'"
        } else {
            ""
        };
        let mut select = db
            .prepare(&format!("SELECT * FROM {table} {filter}"))
            .unwrap();
        let columns = select.column_count();
        let found = select
            .query_map([], |row| {
                (0..columns)
                    .map(|it| row.get(it))
                    .collect::<Result<Vec<Value>, _>>()
            })
            .unwrap();
        rows.extend(found.map(|it| format!("{table}: {:?}", it.unwrap())));
    }
    rows
}

/// Not a test of its own: what the tests below run in a process that they kill.
#[test]
fn child() {
    let (Some(path), Some(verb)) = (std::env::var_os(DATABASE), std::env::var_os(VERB)) else {
        return;
    };
    let Case(_, act, _) = CASES.iter().find(|it| verb == it.0).unwrap();
    let mut store = SqliteStore::open(Path::new(&path), NOW).unwrap();
    assert!(act(&mut store).unwrap(), "{verb:?} did nothing");
    writeln!(io::stdout(), "{ANSWERED}").unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .unwrap();
}

/// Runs the child to its death; whether it answered before, and the signal it died of.
fn run(path: &Path, verb: &str, failpoint: Option<String>) -> (bool, Option<i32>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["store::sqlite::kill_tests::child", "--exact", "--nocapture"])
        .env(DATABASE, path)
        .env(VERB, verb)
        .env_remove("PORTCULLIS_FAILPOINT")
        .stderr(Stdio::null());
    if let Some(failpoint) = failpoint {
        command.env("PORTCULLIS_FAILPOINT", OsString::from(failpoint));
    }
    let output = command.output().unwrap();
    let answered = String::from_utf8_lossy(&output.stdout).contains(ANSWERED);
    (answered, output.status.signal())
}

const ABORTED: Option<i32> = Some(6);
const KILLED: Option<i32> = Some(9);

#[test]
fn every_write_killed_anywhere_is_there_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    for Case(verb, act, changes) in CASES {
        for (point, expected) in [
            ("before", (false, ABORTED)),
            ("inside", (false, ABORTED)),
            ("after", (false, ABORTED)),
            ("none", (true, KILLED)),
        ] {
            let path = folder.path().join(format!("{verb}-{point}.db"));
            let mut store = SqliteStore::open(&path, NOW).unwrap();
            furnish(&mut store).unwrap();
            let seq = store.last_change().unwrap();
            drop(store);
            let before = everything(&path);

            let failpoint = (point != "none").then(|| format!("{verb}.{point}:1"));
            assert_eq!(run(&path, verb, failpoint), expected, "{verb}.{point}");

            let after = everything(&path);
            let mut store = SqliteStore::open(&path, NOW).unwrap();
            let told = store.changes_since(seq).unwrap().len();
            if matches!(point, "after" | "none") {
                assert_ne!(before, after, "{verb}.{point} is lost");
                assert_eq!(told, changes, "{verb}.{point}");
            } else {
                assert_eq!(before, after, "{verb}.{point} left something");
                assert_eq!(told, 0, "{verb}.{point}");
                // And it can be done now.
                assert!(act(&mut store).unwrap(), "{verb}.{point}");
            }
        }
    }
}

#[test]
fn every_verb_that_writes_is_among_them() {
    let source = include_str!("../sqlite.rs");
    let mut verbs: Vec<&str> = source
        .split("self.write(\"")
        .skip(1)
        .filter_map(|it| it.split('"').next())
        .collect();
    verbs.push("atomically");
    let mut cases: Vec<&str> = CASES.iter().map(|it| it.0).collect();
    verbs.sort_unstable();
    cases.sort_unstable();
    assert_eq!(verbs, cases);
}

#[test]
fn a_first_start_killed_anywhere_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    for point in ["before", "inside", "after"] {
        let path = folder.path().join(format!("{point}.db"));
        let (answered, signal) = run(&path, "set_note", Some(format!("open.{point}:1")));
        assert_eq!((answered, signal), (false, ABORTED), "{point}");
        let mut store = SqliteStore::open(&path, NOW).unwrap();
        furnish(&mut store).unwrap();
    }
}
