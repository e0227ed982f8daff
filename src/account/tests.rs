//! Proof for [`super`]: passwords, codes, links, and how often one may be wrong.

use std::{net::IpAddr, time::Duration};

use futures_util::future::join_all;

use super::{totp::tests::code, *};
use crate::{name::UserName, store::sqlite::SqliteStore};

struct Desk {
    accounts: Arc<Accounts>,
    store: StoreHandle,
    clock: Clock,
    key: SealingKey,
    rules: LoginRules,
    _folder: tempfile::TempDir,
}

fn rules() -> LoginRules {
    LoginRules {
        argon2_memory_kib: 64,
        argon2_passes: 1,
        ..LoginRules::default()
    }
}

fn desk() -> Desk {
    desk_with(rules())
}

fn desk_with(rules: LoginRules) -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::held(Timestamp::from_secs(1_800_000_000));
    let store = SqliteStore::open(&folder.path().join("p.db"), clock.now()).unwrap();
    let store = StoreHandle::start(Box::new(store)).unwrap();
    let key = SealingKey::generate();
    let accounts = Accounts::new(
        store.clone(),
        key.clone(),
        clock.clone(),
        rules.clone(),
        "example.net".to_owned(),
    );
    Desk {
        accounts,
        store,
        clock,
        key,
        rules,
        _folder: folder,
    }
}

const GOOD: &str = "blue teapot on fire";
const HOME: &str = "192.0.2.7";

fn at(address: IpAddr) -> Actor {
    Actor::visitor(address, "")
}

fn at_home() -> Actor {
    at(HOME.parse().unwrap())
}

impl Desk {
    fn with<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.call_blocking(job).unwrap()
    }

    fn user(&self, name: &str) -> UserRecord {
        let (rules, now) = (self.rules.clone(), self.clock.now());
        let name = UserName::parse(name).unwrap();
        self.with(move |store| {
            upkeep::add_with_password(
                store,
                &rules,
                &name,
                upkeep::Particulars::default(),
                &Secret::new(GOOD),
                now,
            )
        })
        .unwrap()
    }

    fn enrol(&self, user: &UserRecord) -> Secret {
        let (key, now, user) = (self.key.clone(), self.clock.now(), user.clone());
        self.with(move |store| upkeep::enrol_totp(store, &key, "example.net", &user, now))
            .secret
    }

    fn invite(&self, user: &UserRecord, enrol_totp: bool) -> String {
        let (rules, now, id) = (self.rules.clone(), self.clock.now(), user.id.clone());
        self.with(move |store| upkeep::invite(store, &rules, &id, enrol_totp, now))
            .reveal()
            .to_owned()
    }

    async fn check(&self, name: &str, password: &str, from: &str) -> PasswordCheck {
        let from: IpAddr = from.parse().unwrap();
        self.accounts
            .check_password(name, &Secret::new(password), &at(from), None)
            .await
            .unwrap()
    }

    /// Fails until nothing more is looked at; how often it was.
    async fn exhaust(&self, name: &str, from: &str) -> u32 {
        for count in 0..100 {
            match self.check(name, "wrong", from).await {
                PasswordCheck::Wrong => {}
                PasswordCheck::TooOften { retry_after } if retry_after.as_secs() <= 30 => {
                    self.clock.advance(retry_after);
                    assert!(matches!(
                        self.check(name, "wrong", from).await,
                        PasswordCheck::Wrong
                    ));
                }
                PasswordCheck::TooOften { .. } => return count,
                PasswordCheck::Right(_) | PasswordCheck::Busy { .. } => panic!("not wrong"),
            }
        }
        panic!("never locked");
    }
}

#[tokio::test]
async fn the_right_password_is_right_in_any_spelling_of_the_name() {
    let desk = desk();
    let alice = desk.user("Alice");
    for name in ["Alice", "alice", " ALICE "] {
        let PasswordCheck::Right(user) = desk.check(name, GOOD, HOME).await else {
            panic!("{name}");
        };
        assert_eq!(user.id, alice.id);
    }
    for wrong in ["", "blue teapot on fir", "blue teapot on fire "] {
        assert!(matches!(
            desk.check("Alice", wrong, HOME).await,
            PasswordCheck::Wrong
        ));
    }
}

#[tokio::test]
async fn l4_strangers_disabled_and_unfinished_users_are_answered_as_a_wrong_password_is() {
    let desk = desk();
    let disabled = desk.user("disabled");
    let now = desk.clock.now();
    desk.with(move |store| upkeep::disable(store, &disabled.id, now));
    desk.with(move |store| {
        let name = UserName::parse("fresh").unwrap();
        upkeep::add(store, &name, upkeep::Particulars::default(), now)
    });
    for name in ["nobody", "disabled", "fresh", "no name at all,", ""] {
        assert!(
            matches!(desk.check(name, GOOD, HOME).await, PasswordCheck::Wrong),
            "{name}"
        );
    }
}

#[tokio::test]
async fn l2_one_password_tried_on_every_name_is_held_off() {
    let desk = desk_with(LoginRules {
        max_failures: 3,
        ..rules()
    });
    let alice = desk.user("alice");
    let mut looked_at = 0;
    for number in 0..80 {
        match desk.check(&format!("user{number}"), "wrong", HOME).await {
            PasswordCheck::Wrong => looked_at += 1,
            PasswordCheck::TooOften { retry_after } => {
                assert!(retry_after <= Duration::from_hours(1));
            }
            PasswordCheck::Right(_) | PasswordCheck::Busy { .. } => panic!("not wrong"),
        }
    }
    assert_eq!(looked_at, 60);
    // From there nobody gets in on a new device, known or not; on one that knows her, alice does.
    let held_off = desk.check("alice", GOOD, HOME).await;
    assert!(matches!(held_off, PasswordCheck::TooOften { .. }));
    let password = Secret::new(GOOD);
    let known = desk
        .accounts
        .check_password("alice", &password, &at_home(), Some(&alice.id))
        .await;
    assert!(matches!(known.unwrap(), PasswordCheck::Right(_)));
    desk.clock.advance(Duration::from_hours(1));
    let later = desk.check("alice", GOOD, HOME).await;
    assert!(matches!(later, PasswordCheck::Right(_)));
}

#[tokio::test]
async fn l4_an_unknown_name_is_locked_just_as_a_known_one_is() {
    let desk = desk();
    desk.user("alice");
    let known = desk.exhaust("alice", HOME).await;
    let unknown = desk.exhaust("nobody", HOME).await;
    assert_eq!(known, unknown);
    // Locked means: not even the right one is looked at, and the answer is the same.
    assert!(matches!(
        desk.check("alice", GOOD, HOME).await,
        PasswordCheck::TooOften { .. }
    ));
    desk.clock.advance(desk.rules.lock);
    assert!(matches!(
        desk.check("alice", GOOD, HOME).await,
        PasswordCheck::Right(_)
    ));
}

#[tokio::test]
async fn l4_unknown_and_known_users_take_the_same_time() {
    // Heavy enough for the hash to be most of it.
    let desk = desk_with(LoginRules {
        argon2_memory_kib: 4096,
        argon2_passes: 2,
        max_failures: 10_000,
        ..LoginRules::default()
    });
    desk.user("alice");
    // The shortest of as many as it takes: what else the machine does only ever adds to it, and
    // where no hash is made for nobody they never meet.
    let mut spent = [Duration::MAX; 2];
    for round in 0..400 {
        for (name, spent) in ["alice", "nobody"].iter().zip(&mut spent) {
            let started = std::time::Instant::now();
            desk.check(name, "wrong", HOME).await;
            *spent = started.elapsed().min(*spent);
        }
        let [known, unknown] = spent.map(|it| it.as_secs_f64());
        if round >= 12 && (0.6..1.6).contains(&(known / unknown)) {
            return;
        }
    }
    panic!("{spent:?} for a known and an unknown name");
}

#[tokio::test]
async fn h5_the_count_is_by_the_address_given_and_the_name_typed() {
    let desk = desk();
    desk.user("alice");
    desk.user("bob");
    desk.exhaust("alice", HOME).await;
    assert!(matches!(
        desk.check("Alice", GOOD, "192.0.2.99").await,
        PasswordCheck::TooOften { .. }
    ));
    assert!(matches!(
        desk.check("alice", GOOD, "198.51.100.1").await,
        PasswordCheck::Right(_)
    ));
    assert!(matches!(
        desk.check("bob", GOOD, HOME).await,
        PasswordCheck::Right(_)
    ));
}

#[tokio::test]
async fn a_known_device_is_not_locked_out_by_strangers() {
    let desk = desk();
    let alice = desk.user("alice");
    let bob = desk.user("bob");
    desk.exhaust("alice", HOME).await;
    let from: IpAddr = HOME.parse().unwrap();
    let from_device = async |known: &UserId, password: &str| {
        desk.accounts
            .check_password("alice", &Secret::new(password), &at(from), Some(known))
            .await
            .unwrap()
    };
    assert!(matches!(
        from_device(&bob.id, GOOD).await,
        PasswordCheck::TooOften { .. }
    ));
    assert!(matches!(
        from_device(&alice.id, GOOD).await,
        PasswordCheck::Right(_)
    ));
    // But it may not guess for ever either.
    let mut looked_at = 0;
    for _ in 0..200 {
        match from_device(&alice.id, "wrong").await {
            PasswordCheck::Wrong => looked_at += 1,
            PasswordCheck::TooOften { retry_after } if retry_after.as_secs() <= 30 => {
                desk.clock.advance(retry_after);
            }
            PasswordCheck::TooOften { .. } => break,
            PasswordCheck::Right(_) | PasswordCheck::Busy { .. } => panic!("not wrong"),
        }
    }
    assert_eq!(looked_at, desk.rules.max_failures);
}

#[tokio::test]
async fn l2_a_thousand_guesses_at_once_are_no_more_than_one_after_another() {
    let desk = desk_with(LoginRules {
        hash_queue: 8000,
        ..rules()
    });
    let alice = desk.user("alice");
    let guesses = join_all((0..1000).map(|_| desk.check("alice", "wrong", HOME))).await;
    let looked_at = guesses
        .iter()
        .filter(|it| matches!(it, PasswordCheck::Wrong))
        .count();
    // At half of what may fail they slow down, and time stands still here.
    assert_eq!(looked_at, 5);

    desk.enrol(&alice);
    let guesses = join_all((0..1000).map(|it| {
        let code = format!("{it:06}");
        let (desk, alice) = (&desk, &alice);
        async move {
            desk.accounts
                .check_totp(&alice.id, &code, &at_home())
                .await
                .unwrap()
        }
    }))
    .await;
    let looked_at = guesses
        .iter()
        .filter(|it| !matches!(it, TotpCheck::TooOften { .. }))
        .count();
    assert!(looked_at <= 3, "{looked_at}");
}

#[tokio::test]
async fn l2_a_locked_second_factor_does_not_say_whether_the_code_was_right() {
    let desk = desk();
    let alice = desk.user("alice");
    let secret = desk.enrol(&alice);
    let mut locked = Duration::ZERO;
    for _ in 0..50 {
        match desk
            .accounts
            .check_totp(&alice.id, "000000", &at_home())
            .await
            .unwrap()
        {
            TotpCheck::TooOften { retry_after } if retry_after.as_secs() > 30 => {
                locked = retry_after;
                break;
            }
            TotpCheck::TooOften { retry_after } => desk.clock.advance(retry_after),
            TotpCheck::Right | TotpCheck::Wrong | TotpCheck::Used | TotpCheck::NotEnrolled => {}
        }
    }
    let right = code(&secret, desk.clock.now());
    assert_eq!(
        desk.accounts
            .check_totp(&alice.id, &right, &at_home())
            .await
            .unwrap(),
        TotpCheck::TooOften {
            retry_after: locked
        }
    );
    desk.clock.advance(locked);
    let right = code(&secret, desk.clock.now());
    assert_eq!(
        desk.accounts
            .check_totp(&alice.id, &right, &at_home())
            .await
            .unwrap(),
        TotpCheck::Right
    );
}

#[tokio::test]
async fn l1_a_code_works_once_and_none_before_it_ever_again() {
    let desk = desk();
    let alice = desk.user("alice");
    let secret = desk.enrol(&alice);
    let now = desk.clock.now();
    let (before, this) = (
        code(&secret, now.minus(Duration::from_secs(30))),
        code(&secret, now),
    );
    let twice = join_all([
        desk.accounts.check_totp(&alice.id, &this, &at_home()),
        desk.accounts.check_totp(&alice.id, &this, &at_home()),
    ])
    .await;
    let right = twice
        .iter()
        .filter(|it| matches!(it, Ok(TotpCheck::Right)))
        .count();
    assert_eq!(right, 1);
    for old in [&this, &before] {
        desk.clock.advance(Duration::from_secs(2));
        assert_eq!(
            desk.accounts
                .check_totp(&alice.id, old, &at_home())
                .await
                .unwrap(),
            TotpCheck::Used
        );
    }
    desk.clock.advance(Duration::from_secs(30));
    let next = code(&secret, desk.clock.now());
    assert_eq!(
        desk.accounts
            .check_totp(&alice.id, &next, &at_home())
            .await
            .unwrap(),
        TotpCheck::Right
    );
}

#[tokio::test]
async fn l3_a_code_is_its_users_and_nobody_elses() {
    let desk = desk();
    let (alice, bob) = (desk.user("alice"), desk.user("bob"));
    let secret = desk.enrol(&alice);
    let now = desk.clock.now();
    let check = async |user: &UserId| {
        desk.accounts
            .check_totp(user, &code(&secret, now), &at_home())
            .await
            .unwrap()
    };
    assert_eq!(check(&bob.id).await, TotpCheck::NotEnrolled);
    desk.enrol(&bob);
    assert_eq!(check(&bob.id).await, TotpCheck::Wrong);
    assert_eq!(check(&UserId::fresh()).await, TotpCheck::Wrong);
    // A row copied to another user does not open there.
    let (from, to) = (alice.id.clone(), bob.id.clone());
    desk.with(move |store| {
        let sealed = store.user(&from)?.and_then(|it| it.totp_sealed);
        store.change_user(&to, &crate::store::UserChange::Totp(sealed, 0))
    });
    desk.clock.advance(Duration::from_mins(1));
    assert!(
        desk.accounts
            .check_totp(&bob.id, &code(&secret, desk.clock.now()), &at_home())
            .await
            .is_err()
    );
    assert_eq!(check(&alice.id).await, TotpCheck::Wrong);
}

#[tokio::test]
async fn a_full_queue_says_so_and_counts_nothing() {
    let desk = desk_with(LoginRules {
        argon2_memory_kib: 2048,
        hash_workers: 1,
        hash_queue: 1,
        ..rules()
    });
    desk.user("alice");
    let answers = join_all((0..20).map(|_| desk.check("alice", GOOD, HOME))).await;
    let busy = answers
        .iter()
        .filter(|it| matches!(it, PasswordCheck::Busy { .. }))
        .count();
    assert_eq!(busy, 18);
    assert!(matches!(
        desk.check("alice", GOOD, HOME).await,
        PasswordCheck::Right(_)
    ));
}

#[tokio::test]
async fn a_hash_grows_with_the_rules_at_the_next_login() {
    let desk = desk();
    let alice = desk.user("alice");
    let grown = Accounts::new(
        desk.store.clone(),
        desk.key.clone(),
        desk.clock.clone(),
        LoginRules {
            argon2_memory_kib: 128,
            ..rules()
        },
        String::new(),
    );
    let from: IpAddr = HOME.parse().unwrap();
    let hash = || {
        let id = alice.id.clone();
        desk.with(move |store| store.user(&id))
            .unwrap()
            .password_hash
            .unwrap()
    };
    assert!(hash().contains("m=64,t=1"), "{}", hash());
    for _ in 0..2 {
        let good = Secret::new(GOOD);
        let check = grown.check_password("alice", &good, &at(from), None).await;
        assert!(matches!(check.unwrap(), PasswordCheck::Right(_)));
        assert!(hash().contains("m=128,t=1"), "{}", hash());
    }
    // And never shrinks.
    assert!(matches!(
        desk.check("alice", GOOD, HOME).await,
        PasswordCheck::Right(_)
    ));
    assert!(hash().contains("m=128,t=1"));
}

#[tokio::test]
async fn a_password_that_leaked_is_not_taken_anew() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("leaked.txt");
    // SHA-1 of GOOD, between two others.
    let lines = [
        "0000000000000000000000000000000000000001:9",
        "A2B7C4F1",
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF:1",
    ];
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        GOOD.as_bytes(),
    );
    let hex: Vec<String> = digest
        .as_ref()
        .iter()
        .map(|it| format!("{it:02X}"))
        .collect();
    let hex = hex.concat();
    std::fs::write(&list, lines.join("\n").replace("A2B7C4F1", &hex)).unwrap();
    let desk = desk_with(LoginRules {
        breached_passwords: Some(list.clone()),
        ..rules()
    });
    let now = desk.clock.now();
    let user = desk.with(move |store| {
        let name = UserName::parse("alice").unwrap();
        upkeep::add(store, &name, upkeep::Particulars::default(), now)
    });
    let link = desk.invite(&user, false);
    let good = Secret::new(GOOD);
    let home = at_home();
    let begin = || desk.accounts.begin_setup(&link, &good, &home);
    let told = begin().await.unwrap();
    assert!(matches!(
        told,
        Err(SetupRefused::Weak(WeakPassword::Leaked))
    ));
    let leaked = desk.rules.clone();
    let set = desk
        .with(move |store| upkeep::set_password(store, &leaked, &user, &Secret::new(GOOD), now));
    assert_eq!(set, Err(WeakPassword::Leaked), "nor by the command line");
    // A list that went away keeps nobody from a new password.
    std::fs::remove_file(&list).unwrap();
    assert!(begin().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_set_up_stores_nothing_before_its_code_is_right() {
    let desk = desk();
    let now = desk.clock.now();
    let user = desk.with(move |store| {
        let name = UserName::parse("alice").unwrap();
        upkeep::add(store, &name, upkeep::Particulars::default(), now)
    });
    let link = desk.invite(&user, true);
    let accounts = &desk.accounts;
    let (found, _) = accounts.setup_user(&link).await.unwrap().unwrap();
    assert_eq!(found.id, user.id);

    let weak = accounts
        .begin_setup(&link, &Secret::new("password1234"), &at_home())
        .await;
    assert!(matches!(
        weak.unwrap(),
        Err(SetupRefused::Weak(WeakPassword::Common))
    ));
    let draft = accounts
        .begin_setup(&link, &Secret::new(GOOD), &at_home())
        .await
        .unwrap()
        .unwrap();
    assert!(draft.needs_code && draft.uri.contains(draft.secret.reveal()));
    let wrong = accounts
        .finish_setup(&link, &draft.sealed, "000000", &at_home())
        .await;
    let SetupDone::WrongCode(again) = wrong.unwrap() else {
        panic!("a wrong code went through");
    };
    assert_eq!(again.uri, draft.uri);
    let id = user.id.clone();
    let stored = desk.with(move |store| store.user(&id)).unwrap();
    assert!(stored.password_hash.is_none() && stored.totp_sealed.is_none());

    let right = code(&draft.secret, now);
    let done = accounts
        .finish_setup(&link, &draft.sealed, &right, &at_home())
        .await;
    assert!(matches!(done.unwrap(), SetupDone::Done(_)));
    assert!(matches!(
        desk.check("alice", GOOD, HOME).await,
        PasswordCheck::Right(_)
    ));
    // The code is used up, and so is the link.
    assert_eq!(
        accounts
            .check_totp(&user.id, &right, &at_home())
            .await
            .unwrap(),
        TotpCheck::Used
    );
    let again = accounts
        .finish_setup(&link, &draft.sealed, &right, &at_home())
        .await;
    assert!(matches!(again.unwrap(), SetupDone::LinkGone));
    assert!(accounts.setup_user(&link).await.unwrap().is_none());
}

#[tokio::test]
async fn l3_a_draft_works_with_its_own_link_only() {
    let desk = desk();
    let (alice, bob) = (desk.user("alice"), desk.user("bob"));
    let (hers, his) = (desk.invite(&alice, true), desk.invite(&bob, true));
    let draft = desk
        .accounts
        .begin_setup(&his, &Secret::new(GOOD), &at_home())
        .await
        .unwrap()
        .unwrap();
    let right = code(&draft.secret, desk.clock.now());
    let accounts = &desk.accounts;
    for (link, sealed) in [
        (hers.as_str(), draft.sealed.as_str()),
        (his.as_str(), "AAAA"),
        ("nonsense", draft.sealed.as_str()),
    ] {
        let done = accounts
            .finish_setup(link, sealed, &right, &at_home())
            .await
            .unwrap();
        assert!(matches!(done, SetupDone::LinkGone));
    }
    let late = desk.rules.invite;
    desk.clock.advance(late);
    let right = code(&draft.secret, desk.clock.now());
    let done = accounts
        .finish_setup(&his, &draft.sealed, &right, &at_home())
        .await;
    assert!(matches!(done.unwrap(), SetupDone::LinkGone));
}

#[tokio::test]
async fn a_new_password_by_link_keeps_totp() {
    let desk = desk();
    let alice = desk.user("alice");
    let secret = desk.enrol(&alice);
    let link = desk.invite(&alice, false);
    let accounts = &desk.accounts;
    let draft = accounts
        .begin_setup(&link, &Secret::new("tangerine-otter-47"), &at_home())
        .await
        .unwrap()
        .unwrap();
    assert!(!draft.needs_code);
    let done = accounts
        .finish_setup(&link, &draft.sealed, "", &at_home())
        .await;
    assert!(matches!(done.unwrap(), SetupDone::Done(_)));
    assert!(matches!(
        desk.check("alice", "tangerine-otter-47", HOME).await,
        PasswordCheck::Right(_)
    ));
    assert_eq!(
        accounts
            .check_totp(&alice.id, &code(&secret, desk.clock.now()), &at_home())
            .await
            .unwrap(),
        TotpCheck::Right
    );
}

#[tokio::test]
async fn a_ban_is_listed_by_name_and_lifted() {
    let desk = desk();
    let alice = desk.user("alice");
    desk.enrol(&alice);
    desk.exhaust("alice", "198.51.100.1").await;
    desk.exhaust("nobody-here", "198.51.100.1").await;
    for _ in 0..20 {
        let from = at_home();
        let check = desk.accounts.check_totp(&alice.id, "000000", &from).await;
        if let TotpCheck::TooOften { retry_after } = check.unwrap() {
            desk.clock.advance(retry_after.min(Duration::from_secs(31)));
        }
    }
    let (rules, now) = (desk.rules.clone(), desk.clock.now());
    let found = desk.with({
        let rules = rules.clone();
        move |store| bans::list(store, &rules, now)
    });
    let mut told: Vec<_> = found
        .iter()
        .map(|it| {
            let name = it.user.as_ref().map_or("-", |it| it.name.as_str());
            (name, it.factor.as_str(), it.from.as_str())
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("-", "password", "198.51.100.0/24"),
            ("alice", "password", "198.51.100.0/24"),
            ("alice", "totp", ""),
        ]
    );
    let lifted = desk.with(move |store| {
        let name = UserName::parse("ALICE").unwrap();
        bans::lift(store, &rules, Some(&name), now)
    });
    assert_eq!(lifted, 2);
    assert!(matches!(
        desk.check("alice", GOOD, "198.51.100.1").await,
        PasswordCheck::Right(_)
    ));
    assert!(matches!(
        desk.check("nobody-here", "x", "198.51.100.1").await,
        PasswordCheck::TooOften { .. }
    ));
    let events = desk.with(|store| store.audit(&crate::store::AuditFilter::default()));
    let count = |what: &str| events.iter().filter(|it| it.what == what).count();
    assert_eq!((count("banned"), count("ban_lifted")), (3, 2));
}
