//! What ends, ends at once and stays so.

use std::time::Duration;

use super::{fixture::*, *};
use crate::{
    config::BindAddress,
    name::TenantId,
    secret,
    store::{Change, StoreError, TicketRecord, UserChange},
};

fn minutes(count: u64) -> Duration {
    Duration::from_mins(count)
}

fn portal_lease(cell: &Arc<Cell>) -> Lease {
    let lease = cell.lease(&host("auth.example.net"), &"portal".into(), 2, 1);
    lease.unwrap()
}

/// A ticket for `place`, put and claimed.
async fn grant(house: &House, cell: &Cell, place: &str, tenant: &str) -> Option<Arc<Cell>> {
    let (ticket, tenant) = (secret::digest(&crate::random::id()), TenantId::from(tenant));
    let record = TicketRecord {
        sid: cell.sid,
        host: host(place),
        tenant: tenant.clone(),
        challenge: "c".to_owned(),
        expires: house.now().plus(minutes(1)),
    };
    house
        .store
        .call(move |store| store.put_ticket(&ticket, &record))
        .await
        .unwrap();
    let claimed = house
        .sessions
        .claim(ticket, &host(place), &tenant, "c")
        .await;
    claimed.unwrap()
}

async fn change_user(house: &House, change: UserChange) {
    let id = house.user.id.clone();
    let changing = house
        .store
        .call(move |store| store.change_user(&id, &change));
    changing.await.unwrap();
    let applied = house.sessions.apply(Change::User(house.user.id.clone()));
    applied.await.unwrap();
}

#[tokio::test]
async fn a_login_is_acknowledged_only_when_it_is_stored() {
    let house = House::open();
    let (sid, cell) = house.sign_in().await;
    assert_eq!(cell.sid, secret::digest(&sid));
    assert!(Arc::ptr_eq(&house.sessions.find(&cell.sid).unwrap(), &cell));
    let other = house.beside();
    let there = other.find(&cell.sid).unwrap();
    assert_eq!(there.check(house.now()), Ok(()));
    assert_eq!(there.standing.load().profile, cell.standing.load().profile);
    assert_eq!(there.standing.load().amr, ["pwd", "otp", "mfa"]);
}

#[tokio::test]
async fn c7_each_login_has_a_new_id() {
    let house = House::open();
    let (first, _) = house.sign_in().await;
    let (second, _) = house.sign_in().await;
    assert_ne!(first, second);
    assert_eq!(house.sessions.live(), 2);
}

#[tokio::test]
async fn who_was_disabled_meanwhile_does_not_get_in() {
    let house = House::open();
    let login = house.login();
    change_user(&house, UserChange::Disabled(true)).await;
    let begun = house.sessions.begin(login).await;
    assert!(matches!(begun, Err(StoreError::NotFound)));
    assert_eq!(house.sessions.live(), 0);
}

#[tokio::test]
async fn l10_who_was_judged_by_what_has_changed_meanwhile_does_not_get_in() {
    for change in [
        UserChange::Password(Some("another".to_owned())),
        UserChange::Totp(Some(vec![1]), 0),
    ] {
        let house = House::open();
        let login = house.login();
        change_user(&house, change).await;
        let begun = house.sessions.begin(login).await;
        assert!(matches!(begun, Err(StoreError::NotFound)));
        assert_eq!(house.sessions.live(), 0);
    }
}

#[tokio::test]
async fn an_end_is_seen_by_every_lease_before_the_call_returns() {
    let house = House::open();
    let (_, cell) = house.sign_in().await;
    let (_, untouched) = house.sign_in().await;
    let lease = portal_lease(&cell);
    assert_eq!(lease.check(house.now()), Ok(()));
    let ending = house.sessions.end(&cell.sid, Ended::Logout);
    // Not yet polled: nothing has happened.
    assert!(!lease.over().is_cancelled());
    assert!(ending.await.unwrap());
    assert_eq!(lease.check(house.now()), Err(Ended::Logout));
    assert!(lease.over().is_cancelled());
    assert_eq!(untouched.check(house.now()), Ok(()));
    // A tombstone: also for who opens the store afresh, and for who had it open.
    assert!(house.beside().find(&cell.sid).is_none());
    // The first reason stays.
    assert!(!house.sessions.end(&cell.sid, Ended::Revoked).await.unwrap());
    assert_eq!(cell.ended(), Some(Ended::Logout));
}

#[tokio::test]
async fn an_end_flips_before_the_store_is_even_asked() {
    let house = House::open();
    let (_, cell) = house.sign_in().await;
    let sessions = Arc::clone(&house.sessions);
    let mut ending = Box::pin(sessions.end(&cell.sid, Ended::Logout));
    let first = futures_util::poll!(&mut ending);
    // Whether or not the store has answered by now.
    assert_eq!(cell.ended(), Some(Ended::Logout));
    if first.is_pending() {
        ending.await.unwrap();
    }
}

#[tokio::test]
async fn an_end_that_the_store_could_not_take_stays_and_is_written_later() {
    let house = House::open();
    let (_, cell) = house.sign_in().await;
    // As when the store failed: flipped, and the tombstone owed.
    house.sessions.flip_for_test(&cell, Ended::Revoked);
    let read = house.sessions.find_or_read(&cell.sid).await.unwrap();
    assert_eq!(
        read.unwrap().ended(),
        Some(Ended::Revoked),
        "reading it does not revive it"
    );
    house.sessions.sweep(house.now().plus(minutes(600)));
    assert!(
        house.sessions.find(&cell.sid).is_some(),
        "and it is not forgotten"
    );
    assert_eq!(house.sessions.flush().await.unwrap(), 1);
    let sid = cell.sid;
    let record = house.store.call(move |store| store.session(&sid)).await;
    assert_eq!(record.unwrap().unwrap().ended.unwrap().0, "revoked");
    assert_eq!(house.sessions.flush().await.unwrap(), 0);
}

#[tokio::test]
async fn b4_the_end_of_a_grant_ends_that_host_alone() {
    let house = House::open();
    let (_, cell) = house.sign_in().await;
    grant(&house, &cell, "a.example.net", "t1").await.unwrap();
    grant(&house, &cell, "b.example.net", "t2").await.unwrap();
    let on_a = cell
        .lease(&host("a.example.net"), &"t1".into(), 2, 1)
        .unwrap();
    let on_b = cell
        .lease(&host("b.example.net"), &"t2".into(), 2, 1)
        .unwrap();
    for _ in 0..3 {
        house
            .sessions
            .end_grant(&cell.sid, &host("a.example.net"))
            .await
            .unwrap();
    }
    assert_eq!(on_a.check(house.now()), Err(Ended::Grant));
    assert!(on_a.over().is_cancelled());
    assert_eq!(on_b.check(house.now()), Ok(()));
    assert_eq!(portal_lease(&cell).check(house.now()), Ok(()));
    assert!(!on_b.over().is_cancelled());
    let again = cell.lease(&host("a.example.net"), &"t1".into(), 2, 1);
    assert_eq!(again.unwrap_err(), LeaseRefused::Ended(Ended::Grant));
    // Granted anew, it is a new part: what was open stays closed.
    grant(&house, &cell, "a.example.net", "t1").await.unwrap();
    let anew = cell
        .lease(&host("a.example.net"), &"t1".into(), 2, 1)
        .unwrap();
    assert_eq!(anew.check(house.now()), Ok(()));
    assert_eq!(on_a.check(house.now()), Err(Ended::Grant));
}

#[tokio::test]
async fn d4_a_host_that_is_another_tenant_now_needs_a_new_grant() {
    let house = House::open();
    let (_, cell) = house.sign_in().await;
    grant(&house, &cell, "a.example.net", "t1").await.unwrap();
    let old = cell
        .lease(&host("a.example.net"), &"t1".into(), 2, 1)
        .unwrap();
    let refused = cell.lease(&host("a.example.net"), &"t9".into(), 2, 1);
    assert_eq!(refused.unwrap_err(), LeaseRefused::NotGranted);
    grant(&house, &cell, "a.example.net", "t9").await.unwrap();
    assert!(
        cell.lease(&host("a.example.net"), &"t9".into(), 2, 1)
            .is_ok()
    );
    assert_eq!(old.check(house.now()), Err(Ended::Grant));
}

#[tokio::test]
async fn a_confined_login_stays_on_its_host() {
    let house = House::open();
    let mut login = house.login();
    (login.host, login.tenant) = (host("a.example.net"), "t1".into());
    login.confined_to = Some(login.host.clone());
    let (_, cell) = house.sessions.begin(login).await.unwrap();
    assert!(
        cell.lease(&host("a.example.net"), &"t1".into(), 2, 1)
            .is_ok()
    );
    assert!(grant(&house, &cell, "b.example.net", "t2").await.is_none());
    let portal = cell.lease(&host("auth.example.net"), &"portal".into(), 2, 1);
    assert_eq!(portal.unwrap_err(), LeaseRefused::NotGranted);
}

#[tokio::test]
async fn a_user_who_is_disabled_is_out_everywhere() {
    let house = House::open();
    let (_, one) = house.sign_in().await;
    let (_, two) = house.sign_in().await;
    let lease = portal_lease(&one);
    change_user(&house, UserChange::Disabled(true)).await;
    for cell in [&one, &two] {
        assert_eq!(cell.ended(), Some(Ended::Disabled));
    }
    assert!(lease.over().is_cancelled());
    assert_eq!(house.beside().live(), 0);
}

#[tokio::test]
async fn a_role_change_ends_and_a_new_name_does_not() {
    let house = House::open();
    let (_, cell) = house.sign_in().await;
    let before = cell.revision();
    let profile = |groups: Vec<GroupName>| UserChange::Profile {
        email: "new@example.net".to_owned(),
        display_name: "New".to_owned(),
        groups,
    };
    change_user(&house, profile(house.user.groups.clone())).await;
    assert_eq!(cell.check(house.now()), Ok(()));
    assert_eq!(cell.standing.load().profile.email, "new@example.net");
    assert_ne!(cell.revision(), before);
    change_user(&house, profile(Vec::new())).await;
    assert_eq!(cell.ended(), Some(Ended::Credentials));
    // Who signs in after it has the new role, and stays.
    let (_, after) = house.sign_in().await;
    house
        .sessions
        .apply(Change::User(house.user.id.clone()))
        .await
        .unwrap();
    assert_eq!(after.ended(), None);
}

#[tokio::test]
async fn a_changed_password_ends_all_but_the_one_that_changed_it() {
    let house = House::open();
    let (_, here) = house.sign_in().await;
    let (_, there) = house.sign_in().await;
    let ended = house
        .sessions
        .end_user(&house.user.id, Ended::Credentials, Some(&here.sid));
    assert_eq!(ended.await.unwrap(), 1);
    assert_eq!(here.ended(), None);
    assert_eq!(there.ended(), Some(Ended::Credentials));
    assert_eq!(house.sessions.end_all(Ended::Revoked).await.unwrap(), 1);
    assert_eq!(here.ended(), Some(Ended::Revoked));
}

#[tokio::test]
async fn what_another_process_did_is_applied() {
    let house = House::open();
    let (_, cell) = house.sign_in().await;
    let other = house.beside();
    // Begun there, met here.
    let (_, theirs) = other.begin(house.login()).await.unwrap();
    assert!(house.sessions.find(&theirs.sid).is_none());
    house
        .sessions
        .apply(Change::Session(theirs.sid))
        .await
        .unwrap();
    assert!(
        house.sessions.find(&theirs.sid).is_none(),
        "nobody asked for it here"
    );
    let met = house
        .sessions
        .find_or_read(&theirs.sid)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(met.check(house.now()), Ok(()));
    // Ended there.
    other.end(&cell.sid, Ended::Revoked).await.unwrap();
    assert_eq!(cell.ended(), None);
    house
        .sessions
        .apply(Change::Session(cell.sid))
        .await
        .unwrap();
    assert_eq!(cell.ended(), Some(Ended::Revoked));
    // Raised there.
    other
        .raise(&theirs.sid, 3, vec!["hwk".to_owned()])
        .await
        .unwrap()
        .unwrap();
    house
        .sessions
        .apply(Change::Session(theirs.sid))
        .await
        .unwrap();
    assert_eq!(met.standing.load().level, 3);
    assert_eq!(met.standing.load().generation, 2);
    let nobody = house.sessions.find_or_read(&[0; 32]).await.unwrap();
    assert!(nobody.is_none());
}

#[tokio::test]
async fn k4_a_step_up_raises_the_login_and_not_the_older_token() {
    let house = House::open();
    let mut login = house.login();
    login.level = 1;
    let (_, cell) = house.sessions.begin(login).await.unwrap();
    house.clock.advance(minutes(1));
    let raised = house.sessions.raise(&cell.sid, 2, vec!["mfa".to_owned()]);
    assert!(raised.await.unwrap().is_some());
    let standing = cell.standing.load_full();
    assert_eq!((standing.level, standing.generation), (2, 2));
    assert_eq!(standing.auth_time, house.now());
    let lease = |level, generation| {
        cell.lease(
            &host("auth.example.net"),
            &"portal".into(),
            level,
            generation,
        )
    };
    assert_eq!(
        lease(1, 1).unwrap().level(),
        1,
        "the old token keeps its level"
    );
    assert_eq!(lease(2, 2).unwrap().level(), 2);
    assert_eq!(
        lease(3, 2).unwrap().level(),
        2,
        "a token never raises the login"
    );
    assert_eq!(lease(2, 3).unwrap_err(), LeaseRefused::Generation);
    house.sessions.end(&cell.sid, Ended::Logout).await.unwrap();
    let raised = house.sessions.raise(&cell.sid, 3, Vec::new());
    assert!(raised.await.unwrap().is_none());
}

#[tokio::test]
async fn w3_idle_and_the_hard_limit_end_it_and_only_idle_is_extended_by_use() {
    let house = House::open();
    let (_, cell) = house.sign_in().await;
    let lease = portal_lease(&cell);
    for _ in 0..25 {
        house.clock.advance(minutes(28));
        house.sessions.sweep(house.now());
        assert_eq!(house.sessions.renew(&cell, house.now()), Ok(()));
    }
    house.sessions.flush().await.unwrap();
    let other = house.beside();
    let there = other.find(&cell.sid).unwrap();
    assert_eq!(
        there.idle_expires(),
        cell.idle_expires(),
        "the store knows of the use"
    );
    assert!(cell.idle_expires() <= cell.login_exp);
    house.clock.advance(minutes(20));
    // Known at once, flipped by the sweeper.
    assert_eq!(lease.check(house.now()), Err(Ended::LoginExpired));
    assert!(!lease.over().is_cancelled());
    house.sessions.touch(&cell, house.now());
    assert!(house.sessions.renew(&cell, house.now()).is_err());
    house.sessions.sweep(house.now());
    assert!(lease.over().is_cancelled());

    let (_, quiet) = house.sign_in().await;
    house.clock.advance(minutes(30));
    assert_eq!(quiet.check(house.now()), Err(Ended::Idle));
    house.sessions.sweep(house.now());
    assert_eq!(quiet.ended(), Some(Ended::Idle));
    house.sessions.flush().await.unwrap();
    house.sessions.sweep(house.now().plus(minutes(60)));
    assert!(
        house.sessions.find(&quiet.sid).is_none(),
        "forgotten in the end"
    );
}

#[tokio::test]
async fn a_use_that_crosses_an_end_elsewhere_does_not_undo_it() {
    let house = House::open();
    let (_, cell) = house.sign_in().await;
    house.beside().end(&cell.sid, Ended::Logout).await.unwrap();
    house.clock.advance(minutes(1));
    house.sessions.touch(&cell, house.now());
    house.sessions.flush().await.unwrap();
    assert_eq!(cell.ended(), Some(Ended::Logout));
}

#[test]
fn an_address_binds_as_far_as_asked() {
    let cell = cell(&user("alice"), 2, "a.example.net", "t1");
    let allows = |address: &str, bind| cell.allows_address(address.parse().unwrap(), bind);
    assert!(allows("2001:db8::1", BindAddress::Off));
    assert!(allows("192.0.2.99", BindAddress::Prefix));
    assert!(allows("::ffff:192.0.2.99", BindAddress::Prefix));
    assert!(!allows("192.0.3.7", BindAddress::Prefix));
    assert!(!allows("2001:db8::1", BindAddress::Prefix));
    assert!(allows("192.0.2.7", BindAddress::Exact));
    assert!(!allows("192.0.2.8", BindAddress::Exact));
}

#[test]
fn every_reason_has_one_word_and_reads_back() {
    for code in 1..=8 {
        let ended = Ended::from_code(code).unwrap();
        assert_eq!(Ended::parse(ended.as_str()), ended);
    }
    assert_eq!(Ended::from_code(0), None);
    assert_eq!(Ended::parse("?"), Ended::Revoked);
}
