//! Does the time of a wrong password tell whether a name exists? Names that exist and names that
//! do not, in random order, each from a neighbourhood of its own; then a Mann-Whitney test on
//! the two samples. It fails where they differ.
//!
//!     cargo test --test authn_timing -- --nocapture
//!
//! What is measured is the check itself, without the floor (`login.floor`) under which every
//! failed answer of the gateway is the same anyway: the harder case.

#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a measurement fails by falling over, and counts are small"
)]

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use portcullis::{
    account::{
        Accounts, PasswordCheck,
        upkeep::{self, Particulars},
    },
    clock::Clock,
    config::LoginRules,
    name::UserName,
    random,
    secret::{SealingKey, Secret},
    store::{StoreHandle, sqlite::SqliteStore},
    telemetry::audit::Actor,
};

/// How many of each kind.
const ROUNDS: usize = 150;

/// |z| above this is no accident: p < 0.001, both sides.
const LIMIT: f64 = 3.29;

#[tokio::test]
async fn the_time_of_a_wrong_password_does_not_tell_whether_a_name_exists() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let rules = LoginRules::default();
    let mut store = SqliteStore::open(&folder.path().join("p.db"), clock.now()).unwrap();
    let name = UserName::parse("alice").unwrap();
    let password = Secret::new("seven quiet herons at dawn");
    let now = clock.now();
    upkeep::add_with_password(
        &mut store,
        &rules,
        &name,
        Particulars::default(),
        &password,
        now,
    )
    .unwrap()
    .unwrap();
    let store = StoreHandle::start(Box::new(store)).unwrap();
    let key = SealingKey::generate();
    let accounts = Accounts::new(store, key, clock, rules, "example.net".to_owned());

    let wrong = Secret::new("eight quiet herons at dawn");
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let mut round = 0u32;
    while known.len() < ROUNDS || unknown.len() < ROUNDS {
        let is_known = random::bytes::<1>()[0] & 1 == 0;
        let (name, times) = if is_known {
            ("alice", &mut known)
        } else {
            ("alina", &mut unknown)
        };
        if times.len() == ROUNDS {
            continue;
        }
        // Each guess comes from another /24: none is slowed down.
        round += 1;
        let [_, a, b, _] = (round << 8).to_be_bytes();
        let from = Actor::visitor(IpAddr::V4(Ipv4Addr::new(10, a, b, 1)), "");
        let begun = Instant::now();
        let check = accounts.check_password(name, &wrong, &from, None).await;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        assert!(matches!(check.unwrap(), PasswordCheck::Wrong));
        times.push(took);
    }
    let z = mann_whitney(&known, &unknown);
    let mut out = std::io::stdout();
    writeln!(out, "known   median {:.3} ms", median(&mut known)).unwrap();
    writeln!(out, "unknown median {:.3} ms", median(&mut unknown)).unwrap();
    writeln!(
        out,
        "Mann-Whitney z {z:.2} of {ROUNDS} each (limit {LIMIT})"
    )
    .unwrap();
    assert!(z.abs() < LIMIT, "the time tells: z = {z:.2}");
}

#[test]
fn the_statistic_tells_samples_apart_that_differ() {
    let at = |shift: f64| -> Vec<f64> { (0..100).map(|it| f64::from(it % 10) + shift).collect() };
    assert!(mann_whitney(&at(0.0), &at(0.1)).abs() < LIMIT);
    assert!(mann_whitney(&at(0.0), &at(3.0)).abs() > LIMIT);
    assert!(mann_whitney(&at(3.0), &at(0.0)).abs() > LIMIT);
}

/// The z of the rank-sum test, by its normal approximation.
fn mann_whitney(one: &[f64], two: &[f64]) -> f64 {
    let mut wins = 0.0;
    for a in one {
        for b in two {
            wins += match a.total_cmp(b) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    let (n, m) = (one.len() as f64, two.len() as f64);
    (wins - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}
