//! Who is told apart from whom, and what is asked again each time.

use std::time::Duration;

use http::{HeaderMap, Method};

use super::*;
use crate::{
    body::Body,
    intake::{Arrival, Repeated, path::Decided},
    session::{
        Cell, Ended,
        fixture::{House, START, host},
    },
    store::Store,
};

/// A house, Alice's login and what a browser would send of it.
struct Visit {
    house: House,
    sid: String,
    cell: Arc<Cell>,
    remembered: Remembered,
    bind: BindAddress,
    client: &'static str,
    place: &'static str,
    tenant: &'static str,
}

const PORTAL: (&str, &str) = ("auth.example.net", "portal");

impl Visit {
    async fn begin() -> Self {
        let house = House::open();
        let (sid, cell) = house.sign_in().await;
        Self {
            house,
            sid,
            cell,
            remembered: Remembered::default(),
            bind: BindAddress::Off,
            client: "192.0.2.7",
            place: PORTAL.0,
            tenant: PORTAL.1,
        }
    }

    fn token(&self, usage: Use) -> String {
        self.house
            .token(&self.sid, &self.cell, PORTAL.0, PORTAL.1, usage)
    }

    fn ask(&mut self, credentials: Credentials, websocket: bool) -> Result<Identity, NotSignedIn> {
        let inbound = inbound(credentials, websocket, self.client);
        let (host, tenant) = (host(self.place), TenantId::from(self.tenant));
        let audience = Audience {
            host: &host,
            tenant: &tenant,
        };
        identify(
            &inbound,
            audience,
            &self.house.tokens,
            &self.house.sessions,
            &mut self.remembered,
            self.bind,
            self.house.now(),
        )
    }

    fn cookie(&mut self, token: &str) -> Result<Identity, NotSignedIn> {
        self.ask(cookie(token), false)
    }
}

fn inbound(credentials: Credentials, websocket: bool, client: &str) -> Inbound {
    Inbound {
        id: "id".to_owned(),
        arrival: Arrival {
            peer: "192.0.2.7:5000".parse().unwrap(),
            local: "192.0.2.1:443".parse().unwrap(),
            tls: None,
        },
        client: client.parse().unwrap(),
        https: true,
        host: host("auth.example.net"),
        port: None,
        method: Method::GET,
        target: http::uri::PathAndQuery::from_static("/"),
        path: Decided::Plain("/".to_owned()),
        headers: HeaderMap::new(),
        forwarded: None,
        credentials,
        websocket,
        http2: false,
        body: Body::Empty,
        upgrade: None,
    }
}

fn cookie(token: &str) -> Credentials {
    Credentials {
        cookie: Some(Ok(token.to_owned())),
        ..Credentials::default()
    }
}

fn bearer(token: &str) -> Credentials {
    Credentials {
        bearer: Some(token.to_owned()),
        ..Credentials::default()
    }
}

fn subprotocol(token: &str) -> Credentials {
    Credentials {
        subprotocol: Some(token.to_owned()),
        ..Credentials::default()
    }
}

#[tokio::test]
async fn each_way_of_showing_a_token_works() {
    let mut visit = Visit::begin().await;
    let (in_cookie, by_hand) = (visit.token(Use::Cookie), visit.token(Use::Bearer));
    let identity = visit.cookie(&in_cookie).unwrap();
    assert_eq!(identity.shown(), Shown::Cookie);
    assert_eq!(identity.profile().name.as_str(), "alice");
    assert_eq!((identity.level(), identity.sid()), (2, visit.sid.as_str()));
    assert_eq!(identity.amr(), ["pwd", "otp", "mfa"]);
    assert!(!identity.wants_renewal());
    assert_eq!(
        visit.ask(bearer(&by_hand), false).unwrap().shown(),
        Shown::Bearer
    );
    let socket = visit.ask(subprotocol(&by_hand), true).unwrap();
    assert_eq!(socket.shown(), Shown::Subprotocol);
    // Not a handshake: a subprotocol is nothing.
    let none = visit.ask(subprotocol(&by_hand), false);
    assert_eq!(none.unwrap_err(), NotSignedIn::Missing);
    assert_eq!(
        visit.ask(Credentials::default(), true).unwrap_err(),
        NotSignedIn::Missing
    );
}

#[tokio::test]
async fn k1_each_kind_is_refused_in_each_others_place() {
    let mut visit = Visit::begin().await;
    let now = visit.house.now();
    let identity = {
        let token = visit.token(Use::Cookie);
        visit.cookie(&token).unwrap()
    };
    let assertion = visit.house.tokens.assertion(
        identity.profile().subject(),
        &host(PORTAL.0),
        &PORTAL.1.into(),
        &[],
        now,
        now,
    );
    let elsewhere = |place, tenant, usage| {
        visit
            .house
            .token(&visit.sid, &visit.cell, place, tenant, usage)
    };
    let (in_cookie, by_hand) = (visit.token(Use::Cookie), visit.token(Use::Bearer));
    let wrong_as_cookie = [
        by_hand.clone(),
        assertion.clone(),
        elsewhere("a.example.net", "t1", Use::Cookie),
        elsewhere("auth.example.net", "t1", Use::Cookie),
        elsewhere("a.example.net", "portal", Use::Cookie),
        "nonsense".to_owned(),
        String::new(),
    ];
    let wrong_by_hand = [
        in_cookie.clone(),
        assertion,
        elsewhere("a.example.net", "t1", Use::Bearer),
        elsewhere("auth.example.net", "t1", Use::Bearer),
    ];
    for token in &wrong_as_cookie {
        assert!(visit.cookie(token).is_err(), "{token}");
    }
    for token in &wrong_by_hand {
        assert!(visit.ask(bearer(token), false).is_err(), "{token}");
        assert!(visit.ask(subprotocol(token), true).is_err(), "{token}");
        // A bad one of ours decides: a good cookie beside it does not help.
        let both = Credentials {
            bearer: Some(token.clone()),
            ..cookie(&in_cookie)
        };
        assert!(visit.ask(both, false).is_err());
        let both = Credentials {
            subprotocol: Some(token.clone()),
            ..cookie(&in_cookie)
        };
        assert!(visit.ask(both, true).is_err());
    }
    assert!(visit.cookie(&in_cookie).is_ok());
}

#[tokio::test]
async fn c1_a_repeated_credential_is_refused() {
    let mut visit = Visit::begin().await;
    let twice = Credentials {
        cookie: Some(Err(Repeated)),
        ..Credentials::default()
    };
    assert_eq!(visit.ask(twice, false).unwrap_err(), NotSignedIn::Repeated);
    let by_hand = visit.token(Use::Bearer);
    let both = Credentials {
        subprotocol: Some(by_hand.clone()),
        ..bearer(&by_hand)
    };
    assert_eq!(visit.ask(both, true).unwrap_err(), NotSignedIn::Repeated);
}

#[tokio::test]
async fn c3_a_token_of_one_tenant_is_nothing_to_another() {
    let mut visit = Visit::begin().await;
    let portal = visit.token(Use::Cookie);
    for (place, tenant) in [
        ("a.example.net", "t1"),
        (PORTAL.0, "t1"),
        ("a.example.net", PORTAL.1),
    ] {
        (visit.place, visit.tenant) = (place, tenant);
        assert_eq!(visit.cookie(&portal).unwrap_err(), NotSignedIn::Audience);
    }
    // Well made for the place, but the login was never granted to it.
    let token = visit
        .house
        .token(&visit.sid, &visit.cell, "a.example.net", "t1", Use::Cookie);
    (visit.place, visit.tenant) = ("a.example.net", "t1");
    assert_eq!(visit.cookie(&token).unwrap_err(), NotSignedIn::Audience);
}

#[tokio::test]
async fn k2_a_cookie_from_before_the_logout_is_worth_nothing_fresh_or_stale() {
    let mut visit = Visit::begin().await;
    let token = visit.token(Use::Cookie);
    assert!(visit.cookie(&token).is_ok());
    let sid = visit.cell.sid;
    visit.house.sessions.end(&sid, Ended::Logout).await.unwrap();
    let over = NotSignedIn::Session(Ended::Logout);
    assert_eq!(visit.cookie(&token).unwrap_err(), over);
    visit.remembered = Remembered::default();
    assert_eq!(visit.cookie(&token).unwrap_err(), over);
    visit.house.clock.advance(Duration::from_secs(301));
    assert_eq!(visit.cookie(&token).unwrap_err(), over);
}

#[tokio::test]
async fn k3_a_remembered_signature_is_all_that_is_remembered() {
    // Each check, flipped on a token that was good a moment ago on the same connection.
    let mut visit = Visit::begin().await;
    let token = visit.token(Use::Cookie);
    let by_hand = visit.token(Use::Bearer);
    let good = |visit: &mut Visit| assert!(visit.cookie(&token).is_ok());

    good(&mut visit);
    visit.place = "a.example.net";
    assert_eq!(
        visit.cookie(&token).unwrap_err(),
        NotSignedIn::Audience,
        "aud"
    );
    visit.place = PORTAL.0;
    good(&mut visit);
    visit.tenant = "t1";
    assert_eq!(
        visit.cookie(&token).unwrap_err(),
        NotSignedIn::Audience,
        "tid"
    );
    visit.tenant = PORTAL.1;
    good(&mut visit);
    assert_eq!(
        visit.ask(bearer(&token), false).unwrap_err(),
        NotSignedIn::Malformed,
        "use"
    );
    good(&mut visit);
    (visit.bind, visit.client) = (BindAddress::Exact, "192.0.2.8");
    assert_eq!(
        visit.cookie(&token).unwrap_err(),
        NotSignedIn::Address,
        "address"
    );
    (visit.bind, visit.client) = (BindAddress::Off, "192.0.2.7");
    good(&mut visit);

    // The grant.
    let (sid, portal) = (visit.cell.sid, host(PORTAL.0));
    visit.house.sessions.end_grant(&sid, &portal).await.unwrap();
    let over = NotSignedIn::Session(Ended::Grant);
    assert_eq!(visit.cookie(&token).unwrap_err(), over, "grant");
    visit
        .house
        .sessions
        .grant(&sid, &portal, &PORTAL.1.into())
        .await
        .unwrap();
    good(&mut visit);

    // A Bearer's `exp`, to the second.
    assert!(visit.ask(bearer(&by_hand), false).is_ok());
    visit.house.clock.advance(Duration::from_mins(5));
    let late = visit.ask(bearer(&by_hand), false);
    assert_eq!(late.unwrap_err(), NotSignedIn::Expired, "exp");

    // A cookie past `exp`: only while the session is sure to be up to date.
    assert!(visit.cookie(&token).unwrap().wants_renewal());
    visit.house.sessions.set_authoritative(false);
    assert_eq!(
        visit.cookie(&token).unwrap_err(),
        NotSignedIn::Expired,
        "stale"
    );
    visit.house.sessions.set_authoritative(true);
    good(&mut visit);

    // The key.
    let (key, now) = (visit.house.key.clone(), visit.house.now());
    let path = visit.house.folder.path().join("a.db");
    let mut store = crate::store::sqlite::SqliteStore::open(&path, now).unwrap();
    let kid = {
        let keys = store.keys().unwrap();
        keys.into_iter().find(|it| it.kind == "session").unwrap().id
    };
    store.retire_key(&kid, now).unwrap();
    visit.house.tokens.reload(&mut store, now).unwrap();
    assert_eq!(
        visit.cookie(&token).unwrap_err(),
        NotSignedIn::Signature,
        "key"
    );
    drop(key);
}

#[tokio::test]
async fn k3_a_generation_that_the_session_never_had_is_refused() {
    let mut visit = Visit::begin().await;
    let old = visit.token(Use::Cookie);
    assert!(visit.cookie(&old).is_ok());
    let mut ahead = visit.cookie(&old).unwrap().claims().clone();
    ahead.generation += 1;
    let now = visit.house.now();
    let life = Duration::from_mins(5);
    let ahead = visit.house.tokens.renew_session(&ahead, life, now);
    assert_eq!(visit.cookie(&ahead).unwrap_err(), NotSignedIn::Unknown);
    assert!(visit.cookie(&old).is_ok());
}

#[tokio::test]
async fn k3_a_session_of_somebody_else_is_not_taken_for_ones_own() {
    let mut visit = Visit::begin().await;
    let old = visit.token(Use::Cookie);
    let mut bent = visit.cookie(&old).unwrap().claims().clone();
    bent.sub = "somebody-else".to_owned();
    let now = visit.house.now();
    let life = Duration::from_mins(5);
    let bent = visit.house.tokens.renew_session(&bent, life, now);
    assert_eq!(visit.cookie(&bent).unwrap_err(), NotSignedIn::Malformed);
    visit.house.clock.advance(Duration::from_hours(1));
    let idle = NotSignedIn::Session(Ended::Idle);
    assert_eq!(visit.cookie(&old).unwrap_err(), idle);
}

#[tokio::test]
async fn a_token_of_a_generation_that_is_not_known_is_looked_for() {
    let visit = Visit::begin().await;
    let (house, sid) = (&visit.house, visit.cell.sid);
    // Raised on another gateway, whose token arrives before the news does.
    let other = house.beside();
    let theirs = other
        .raise(&sid, 3, vec!["hwk".to_owned()])
        .await
        .unwrap()
        .unwrap();
    let token = house.token(&visit.sid, &theirs, PORTAL.0, PORTAL.1, Use::Cookie);
    let inbound = inbound(cookie(&token), false, "192.0.2.7");
    let (host, tenant) = (host(PORTAL.0), TenantId::from(PORTAL.1));
    let audience = Audience {
        host: &host,
        tenant: &tenant,
    };
    let (tokens, sessions, now) = (&house.tokens, &house.sessions, house.now());
    let mut remembered = Remembered::default();
    let bind = BindAddress::Off;
    let first = identify(
        &inbound,
        audience,
        tokens,
        sessions,
        &mut remembered,
        bind,
        now,
    );
    assert_eq!(first.unwrap_err(), NotSignedIn::Unknown);
    let read = identify_or_read(
        &inbound,
        audience,
        tokens,
        sessions,
        &mut remembered,
        bind,
        now,
    );
    assert_eq!(read.await.unwrap().unwrap().level(), 3);
}

#[tokio::test]
async fn k4_a_token_from_before_the_step_up_keeps_its_level_and_its_age() {
    let mut visit = Visit::begin().await;
    let old = visit.token(Use::Cookie);
    visit.house.clock.advance(Duration::from_mins(1));
    let sid = visit.cell.sid;
    visit
        .house
        .sessions
        .raise(&sid, 3, vec!["hwk".to_owned()])
        .await
        .unwrap();
    let new = visit.token(Use::Cookie);
    let (before, after) = (visit.cookie(&old).unwrap(), visit.cookie(&new).unwrap());
    assert_eq!((before.level(), after.level()), (2, 3));
    assert_eq!(before.auth_time(), START);
    assert_eq!(after.auth_time(), visit.house.now());
    assert_eq!(after.amr(), ["hwk"]);
    // Nor does renewing it raise it.
    let now = visit.house.now();
    let tokens = &visit.house.tokens;
    let renewed = tokens.renew_session(before.claims(), Duration::from_mins(5), now);
    assert_eq!(visit.cookie(&renewed).unwrap().level(), 2);
}

#[tokio::test]
async fn a_token_planted_from_another_device_is_refused() {
    let mut visit = Visit::begin().await;
    let now = visit.house.now();
    let (portal, tenant) = (host(PORTAL.0), TenantId::from(PORTAL.1));
    let new = crate::token::NewToken {
        user: &visit.cell.user,
        host: &portal,
        tenant: &tenant,
        sid: &visit.sid,
        device: &[8; 32],
        generation: 1,
        level: 2,
        usage: Use::Cookie,
        login_exp: visit.cell.login_exp,
        auth_time: now,
        amr: &[],
    };
    let token = visit
        .house
        .tokens
        .issue_session(&new, Duration::from_mins(5), now);
    assert_eq!(visit.cookie(&token).unwrap_err(), NotSignedIn::Malformed);
}

#[tokio::test]
async fn an_assertion_is_about_who_is_there() {
    let mut visit = Visit::begin().await;
    let token = visit.token(Use::Cookie);
    let identity = visit.cookie(&token).unwrap();
    let (cache, now) = (AssertionCache::default(), visit.house.now());
    let one = identity
        .assertion(&cache, &visit.house.tokens, now)
        .unwrap();
    let two = visit.cookie(&token).unwrap();
    assert_eq!(
        two.assertion(&cache, &visit.house.tokens, now).unwrap(),
        one
    );
    assert!(one.is_sensitive());
}
