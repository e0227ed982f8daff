//! Logins for tests: a house with a store, and cells without one.

use std::{sync::Arc, time::Duration};

use super::{Cell, NewLogin, Profile, Sessions};
use crate::{
    clock::{Clock, Timestamp},
    config::SessionRules,
    name::{HostName, TenantId, UserId, UserName},
    secret::SealingKey,
    store::{GrantRecord, SessionRecord, StoreHandle, UserRecord, sqlite::SqliteStore},
    token::{Tokens, Use},
};

/// When every test begins.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_700_000_000);

/// A store with one user, sessions and tokens on it.
pub(crate) struct House {
    pub(crate) clock: Clock,
    pub(crate) key: SealingKey,
    pub(crate) store: StoreHandle,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) user: UserRecord,
    pub(crate) folder: tempfile::TempDir,
}

impl House {
    pub(crate) fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(&folder.path().join("a.db"), START).unwrap();
        let (clock, key) = (Clock::held(START), SealingKey::generate());
        let user = user("alice");
        crate::store::Store::add_user(&mut store, &user).unwrap();
        let tokens = Tokens::open(&mut store, &key, "https://auth.example.net", START).unwrap();
        let tokens = Arc::new(tokens);
        let store = StoreHandle::start(Box::new(store)).unwrap();
        let sessions =
            Sessions::open(store.clone(), clock.clone(), &SessionRules::default()).unwrap();
        Self {
            clock,
            key,
            store,
            sessions,
            tokens,
            user,
            folder,
        }
    }

    /// Another gateway on the same store.
    pub(crate) fn beside(&self) -> Arc<Sessions> {
        let store = SqliteStore::open(&self.folder.path().join("a.db"), START).unwrap();
        let store = StoreHandle::start(Box::new(store)).unwrap();
        Sessions::open(store, self.clock.clone(), &SessionRules::default()).unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Alice signs in on the portal, with two factors.
    pub(crate) async fn sign_in(&self) -> (String, Arc<Cell>) {
        self.sessions.begin(self.login()).await.unwrap()
    }

    pub(crate) fn login(&self) -> NewLogin {
        NewLogin {
            user: self.user.id.clone(),
            credentials: self.user.credentials(),
            device: [7; 32],
            amr: vec!["pwd".to_owned(), "otp".to_owned(), "mfa".to_owned()],
            level: 2,
            address: "192.0.2.7".parse().unwrap(),
            agent: "a browser".to_owned(),
            host: host("auth.example.net"),
            tenant: TenantId::from("portal"),
            confined_to: None,
        }
    }

    /// A token of that login for `place` in tenant `tenant`.
    pub(crate) fn token(
        &self,
        sid: &str,
        cell: &Cell,
        place: &str,
        tenant: &str,
        usage: Use,
    ) -> String {
        let life = Duration::from_mins(5);
        let (place, tenant) = (host(place), TenantId::from(tenant));
        cell.issue(&self.tokens, sid, &place, &tenant, usage, life, self.now())
    }
}

pub(crate) fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

pub(crate) fn user(name: &str) -> UserRecord {
    UserRecord {
        id: UserId::fresh(),
        name: UserName::parse(name).unwrap(),
        email: format!("{name}@example.net"),
        display_name: name.to_uppercase(),
        groups: vec![UserName::parse("ops").unwrap()],
        disabled: false,
        password_hash: None,
        totp_sealed: None,
        totp_last_step: 0,
        keys: 0,
        created: START,
    }
}

/// A cell of `user` at `level`, begun at [`START`], granted to `place` as `tenant`.
pub(crate) fn cell(user: &UserRecord, level: u8, place: &str, tenant: &str) -> Arc<Cell> {
    let record = record(user, level, place, tenant);
    Arc::new(Cell::new(&record, Arc::new(Profile::of(user))))
}

/// The store says of such a cell that it is at `level` now.
pub(crate) fn set_level(cell: &Cell, level: u8, place: &str, tenant: &str) {
    cell.merge(&record(&user("whoever"), level, place, tenant));
}

fn record(user: &UserRecord, level: u8, place: &str, tenant: &str) -> SessionRecord {
    SessionRecord {
        sid: crate::secret::digest("sid"),
        user: user.id.clone(),
        device: [7; 32],
        amr: vec!["pwd".to_owned()],
        level,
        generation: 1,
        auth_time: START,
        created: START,
        idle_expires: START.plus(Duration::from_mins(30)),
        login_exp: START.plus(Duration::from_hours(12)),
        last_used: START,
        address: "192.0.2.7".to_owned(),
        agent: String::new(),
        confined_to: None,
        ended: None,
        grants: vec![GrantRecord {
            host: host(place),
            tenant: TenantId::from(tenant),
            ended: false,
        }],
    }
}

/// Ends a cell that has no store.
pub(crate) fn end(cell: &Cell, why: super::Ended) {
    cell.flip(why);
}
