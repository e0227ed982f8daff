//! Every live login of this gateway, by the digest of its `sid`.
//!
//! What reads the store and changes a cell by it does both on the store's own thread, in one
//! job: so cells change in the order in which the store did.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use super::{Cell, Ended, Profile, ending::owe};
use crate::{
    clock::{Clock, Timestamp},
    config::SessionRules,
    name::{HostName, TenantId, UserId},
    random, secret,
    store::{Digest, GrantRecord, SessionRecord, Store, StoreError, StoreHandle, together},
    telemetry::audit::{Actor, Event, What, session_word},
};

/// The browser's word for itself is cut to this many bytes.
const AGENT: usize = 200;

/// A login that is complete.
#[derive(Debug, Clone)]
pub struct NewLogin {
    /// Whose. Read again from the store before the session begins.
    pub user: UserId,
    /// What they were judged by ([`crate::store::UserRecord::credentials`]).
    pub credentials: Digest,
    /// SHA-256 of the device id.
    pub device: Digest,
    /// The factors, RFC 8176.
    pub amr: Vec<String>,
    /// 1 one factor, 2 two, 3 a hardware key among them.
    pub level: u8,
    /// Where from.
    pub address: IpAddr,
    /// The browser's own word for itself.
    pub agent: String,
    /// The host at which it begins: the portal, or a tenant with the login API.
    pub host: HostName,
    /// What that host is.
    pub tenant: TenantId,
    /// `Some`: the session stays on that host.
    pub confined_to: Option<HostName>,
}

/// All live logins. Reading takes no lock.
pub struct Sessions {
    pub(super) cells: papaya::HashMap<Digest, Arc<Cell>>,
    pub(super) store: StoreHandle,
    pub(super) clock: Clock,
    idle_millis: AtomicI64,
    absolute_millis: AtomicI64,
    authoritative: AtomicBool,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("cells", &self.cells.len())
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// Loads the live ones. Blocks on the store: for start-up.
    pub fn open(
        store: StoreHandle,
        clock: Clock,
        rules: &SessionRules,
    ) -> Result<Arc<Self>, StoreError> {
        let sessions = Arc::new(Self {
            cells: papaya::HashMap::new(),
            store,
            clock,
            idle_millis: AtomicI64::new(0),
            absolute_millis: AtomicI64::new(0),
            authoritative: AtomicBool::new(true),
        });
        sessions.set_rules(rules);
        let loading = Arc::clone(&sessions);
        sessions.store.call_blocking(move |store| {
            for record in store.live_sessions(loading.clock.now())? {
                loading.take_in(store, &record)?;
            }
            Ok(())
        })?;
        Ok(sessions)
    }

    /// New rules, for what begins or is used from now on.
    pub fn set_rules(&self, rules: &SessionRules) {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.idle_millis
            .store(millis(rules.idle), Ordering::Relaxed);
        self.absolute_millis
            .store(millis(rules.absolute), Ordering::Relaxed);
    }

    /// Whether what stands here is what the store says. While it is not (the store is away)
    /// nothing is renewed.
    pub fn is_authoritative(&self) -> bool {
        self.authoritative.load(Ordering::Relaxed)
    }

    /// Says whether the store can be followed.
    pub fn set_authoritative(&self, is: bool) {
        self.authoritative.store(is, Ordering::Relaxed);
    }

    /// How many have not ended.
    pub fn live(&self) -> usize {
        let cells = self.cells.pin();
        cells.values().filter(|it| it.ended().is_none()).count()
    }

    /// A login that is known here, ended or not.
    pub fn find(&self, sid: &Digest) -> Option<Arc<Cell>> {
        self.cells.pin().get(sid).cloned()
    }

    /// Reads a login from the store, also when it is known here: another process may have begun
    /// or raised it just now. Only for a `sid` from a token of ours.
    pub async fn find_or_read(
        self: &Arc<Self>,
        sid: &Digest,
    ) -> Result<Option<Arc<Cell>>, StoreError> {
        let (sessions, sid) = (Arc::clone(self), *sid);
        self.store
            .call(move |store| {
                if let Some(record) = store.session(&sid)? {
                    return sessions.take_in(store, &record);
                }
                sessions.read(store, &sid)?;
                Ok(sessions.find(&sid))
            })
            .await
    }

    /// Begins a login with a new id, granted to the host it began at. Gives the plain `sid` and
    /// the cell, after the store wrote it. [`StoreError::NotFound`] when the user is gone or
    /// disabled meanwhile, or signs in with something else now.
    pub async fn begin(
        self: &Arc<Self>,
        login: NewLogin,
    ) -> Result<(String, Arc<Cell>), StoreError> {
        let sid = random::ticket();
        let actor = Actor::visitor(login.address, &login.agent);
        let (host, credentials) = (login.host.clone(), login.credentials);
        let record = self.record(&sid, login);
        let sessions = Arc::clone(self);
        let cell = self
            .store
            .call(move |store| {
                let user = store.user(&record.user)?.filter(|it| !it.disabled);
                let user = user.filter(|it| it.credentials() == credentials);
                let user = user.ok_or(StoreError::NotFound)?;
                let event = told(What::SignedIn, record.created, actor, &record.sid)
                    .about(&user.id, &user.name)
                    .with("factors", record.amr.join(" "))
                    .with("host", host.as_str());
                together(store, "begin_session", |store| {
                    store.begin_session(&record)?;
                    store.append_audit(&event)
                })?;
                let cell = Arc::new(Cell::new(&record, Arc::new(Profile::of(&user))));
                sessions.cells.pin().insert(record.sid, Arc::clone(&cell));
                Ok(cell)
            })
            .await?;
        Ok((sid, cell))
    }

    fn record(&self, sid: &str, login: NewLogin) -> SessionRecord {
        let now = self.clock.now();
        // Whole seconds: what the API and the tokens say is exactly what holds.
        let login_exp = Timestamp::from_secs(now.plus(millis(&self.absolute_millis)).secs());
        let mut agent: String = login.agent.chars().filter(|it| !it.is_control()).collect();
        agent.truncate(agent.floor_char_boundary(AGENT));
        SessionRecord {
            sid: secret::digest(sid),
            user: login.user,
            device: login.device,
            amr: login.amr,
            level: login.level,
            generation: 1,
            auth_time: now,
            created: now,
            idle_expires: now.plus(self.idle()).min(login_exp),
            login_exp,
            last_used: now,
            address: login.address.to_canonical().to_string(),
            agent,
            grants: vec![GrantRecord {
                host: login.host,
                tenant: login.tenant,
                ended: false,
            }],
            confined_to: login.confined_to,
            ended: None,
        }
    }

    /// Claims a ticket: the one atomic operation of the store, and the cell with the new grant.
    /// `None`: it was not good for this, and is used up.
    pub async fn claim(
        self: &Arc<Self>,
        ticket: Digest,
        host: &HostName,
        tenant: &TenantId,
        challenge: &str,
    ) -> Result<Option<Arc<Cell>>, StoreError> {
        let sessions = Arc::clone(self);
        let (host, tenant, challenge) = (host.clone(), tenant.clone(), challenge.to_owned());
        let now = self.clock.now();
        self.store
            .call(move |store| {
                let claimed = store.claim_ticket(&ticket, &host, &tenant, &challenge, now)?;
                let Some(record) = claimed else {
                    return Ok(None);
                };
                sessions.forgive_grant(&record.sid, &host);
                Ok(sessions
                    .take_in(store, &record)?
                    .filter(|it| it.ended().is_none()))
            })
            .await
    }

    /// Grants a host directly. `None`: the login is over.
    pub async fn grant(
        self: &Arc<Self>,
        sid: &Digest,
        host: &HostName,
        tenant: &TenantId,
    ) -> Result<Option<Arc<Cell>>, StoreError> {
        let sessions = Arc::clone(self);
        let (sid, host, tenant) = (*sid, host.clone(), tenant.clone());
        self.store
            .call(move |store| {
                if !store.grant(&sid, &host, &tenant)? {
                    return sessions.read(store, &sid).map(|()| None);
                }
                sessions.forgive_grant(&sid, &host);
                let record = store.session(&sid)?.ok_or(StoreError::NotFound)?;
                Ok(sessions
                    .take_in(store, &record)?
                    .filter(|it| it.ended().is_none()))
            })
            .await
    }

    /// A step-up by `actor`: the same `sid`, the next generation, now of `level`. `None`:
    /// the login is over, or has more than that.
    pub async fn raise_by(
        self: &Arc<Self>,
        sid: &Digest,
        level: u8,
        amr: Vec<String>,
        actor: Actor,
    ) -> Result<Option<Arc<Cell>>, StoreError> {
        let (sessions, sid, now) = (Arc::clone(self), *sid, self.clock.now());
        self.store
            .call(move |store| {
                let event = told(What::SteppedUp, now, actor, &sid).with("factors", amr.join(" "));
                let raised = together(store, "raise_session", |store| {
                    let raised = store.raise_session(&sid, level, &amr, now)?;
                    if raised {
                        append_about_session(store, event, &sid)?;
                    }
                    Ok(raised)
                })?;
                sessions.read(store, &sid)?;
                Ok(sessions
                    .find(&sid)
                    .filter(|it| raised && it.ended().is_none()))
            })
            .await
    }

    /// As [`Sessions::raise_by`], by the gateway itself.
    pub async fn raise(
        self: &Arc<Self>,
        sid: &Digest,
        level: u8,
        amr: Vec<String>,
    ) -> Result<Option<Arc<Cell>>, StoreError> {
        self.raise_by(sid, level, amr, Actor::gateway()).await
    }

    /// Takes in what the store gave somebody: a login begun elsewhere.
    pub async fn adopt(
        self: &Arc<Self>,
        record: SessionRecord,
    ) -> Result<Option<Arc<Cell>>, StoreError> {
        // Read again, on the store's thread: the record may be older than an end.
        self.find_or_read(&record.sid).await
    }

    /// Merges what the store says of a known login. On the store's thread.
    pub(super) fn read(&self, store: &mut dyn Store, sid: &Digest) -> Result<(), StoreError> {
        let Some(cell) = self.find(sid) else {
            return Ok(());
        };
        match store.session(sid)? {
            Some(record) => cell.merge(&record),
            None => cell.flip(Ended::Revoked),
        }
        Ok(())
    }

    /// Makes the cell of a record, or merges it. `None`: its user is gone. On the store's thread.
    pub(super) fn take_in(
        &self,
        store: &mut dyn Store,
        record: &SessionRecord,
    ) -> Result<Option<Arc<Cell>>, StoreError> {
        if let Some(cell) = self.find(&record.sid) {
            cell.merge(record);
            return Ok(Some(cell));
        }
        let Some(user) = store.user(&record.user)? else {
            return Ok(None);
        };
        let cell = Arc::new(Cell::new(record, Arc::new(Profile::of(&user))));
        if user.disabled {
            owe(&cell, Ended::Disabled);
        }
        self.cells.pin().insert(record.sid, Arc::clone(&cell));
        Ok(Some(cell))
    }

    pub(super) fn idle(&self) -> Duration {
        millis(&self.idle_millis)
    }
}

fn millis(value: &AtomicI64) -> Duration {
    Duration::from_millis(u64::try_from(value.load(Ordering::Relaxed)).unwrap_or(0))
}

/// An event about a session.
pub(super) fn told(what: What, at: Timestamp, actor: Actor, sid: &Digest) -> Event {
    Event::new(what, at, actor).with("session", session_word(sid))
}

/// Writes an event about whoever's session `sid` is.
pub(super) fn append_about_session(
    store: &mut dyn Store,
    event: Event,
    sid: &Digest,
) -> Result<(), StoreError> {
    let user = match store.session(sid)? {
        Some(session) => store.user(&session.user)?,
        None => None,
    };
    store.append_audit(&match user {
        Some(user) => event.about(&user.id, &user.name),
        None => event,
    })
}
