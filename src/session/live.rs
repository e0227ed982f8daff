//! Every live login of this gateway, by the digest of its `sid`.
//!
//! What reads the store and changes a cell by it does both on the store's own thread, in one
//! job: so cells change in the order in which the store did. An end flips the cell first, where
//! it is called, and again after the store was told, for what began in between.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use super::{Cell, Ended, Profile};
use crate::{
    clock::{Clock, Timestamp},
    config::SessionRules,
    name::{HostName, TenantId, UserId},
    random, secret,
    store::{Change, Digest, GrantRecord, SessionRecord, Store, StoreError, StoreHandle},
};

/// How long an ended cell is remembered, so that late comers are told why.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How many sessions are written in one job of the store.
const BATCH: usize = 128;

/// The browser's word for itself is cut to this many bytes.
const AGENT: usize = 200;

/// A login that is complete.
#[derive(Debug, Clone)]
pub struct NewLogin {
    /// Whose. Read again from the store before the session begins.
    pub user: UserId,
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
    cells: papaya::HashMap<Digest, Arc<Cell>>,
    store: StoreHandle,
    clock: Clock,
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
            store: store.clone(),
            clock,
            idle_millis: AtomicI64::new(0),
            absolute_millis: AtomicI64::new(0),
            authoritative: AtomicBool::new(true),
        });
        sessions.set_rules(rules);
        let loading = Arc::clone(&sessions);
        store.call_blocking(move |store| {
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
            .call(move |store| match store.session(&sid)? {
                Some(record) => sessions.take_in(store, &record),
                None => {
                    sessions.read(store, &sid)?;
                    Ok(sessions.find(&sid))
                }
            })
            .await
    }

    /// Begins a login with a new id, granted to the host it began at. Gives the plain `sid` and
    /// the cell, after the store wrote it. [`StoreError::NotFound`] when the user is gone or
    /// disabled meanwhile.
    pub async fn begin(
        self: &Arc<Self>,
        login: NewLogin,
    ) -> Result<(String, Arc<Cell>), StoreError> {
        let sid = random::ticket();
        let record = self.record(&sid, login);
        let sessions = Arc::clone(self);
        let cell = self
            .store
            .call(move |store| {
                let user = store.user(&record.user)?.filter(|it| !it.disabled);
                let user = user.ok_or(StoreError::NotFound)?;
                store.begin_session(&record)?;
                let cell = Arc::new(Cell::new(&record, Arc::new(Profile::of(&user))));
                sessions.cells.pin().insert(record.sid, Arc::clone(&cell));
                Ok(cell)
            })
            .await?;
        Ok((sid, cell))
    }

    fn record(&self, sid: &str, login: NewLogin) -> SessionRecord {
        let now = self.clock.now();
        let login_exp = now.plus(millis(&self.absolute_millis));
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

    /// A step-up: the same `sid`, the next generation, at least `level`. `None`: the login is over.
    pub async fn raise(
        self: &Arc<Self>,
        sid: &Digest,
        level: u8,
        amr: Vec<String>,
    ) -> Result<Option<Arc<Cell>>, StoreError> {
        let (sessions, sid, now) = (Arc::clone(self), *sid, self.clock.now());
        self.store
            .call(move |store| {
                let raised = store.raise_session(&sid, level, &amr, now)?;
                sessions.read(store, &sid)?;
                Ok(sessions
                    .find(&sid)
                    .filter(|it| raised && it.ended().is_none()))
            })
            .await
    }

    /// Takes in what the store gave somebody: a login begun elsewhere.
    pub async fn adopt(
        self: &Arc<Self>,
        record: SessionRecord,
    ) -> Result<Option<Arc<Cell>>, StoreError> {
        // Read again, on the store's thread: the record may be older than an end.
        self.find_or_read(&record.sid).await
    }

    /// Ends a login everywhere: flips it here at once, then writes the tombstone. When the store
    /// fails it stays flipped, the tombstone is owed and written by a later
    /// [`Sessions::flush`]; the error is given. `false`: it had ended before.
    pub async fn end(self: &Arc<Self>, sid: &Digest, why: Ended) -> Result<bool, StoreError> {
        if let Some(cell) = self.find(sid) {
            owe(&cell, why);
        }
        let (sessions, sid, now) = (Arc::clone(self), *sid, self.clock.now());
        self.store
            .call(move |store| {
                let ended = store.end_session(&sid, why.as_str(), now)?;
                if let Some(cell) = sessions.find(&sid) {
                    cell.flip(why);
                    cell.owed.store(false, Ordering::Release);
                }
                Ok(ended)
            })
            .await
    }

    /// Ends all logins of a user but `except`; how many the store had.
    pub async fn end_user(
        self: &Arc<Self>,
        user: &UserId,
        why: Ended,
        except: Option<&Digest>,
    ) -> Result<usize, StoreError> {
        self.flip_where(why, |it| it.user == *user && Some(&it.sid) != except);
        let (sessions, now) = (Arc::clone(self), self.clock.now());
        let (user, except) = (user.clone(), except.copied());
        self.store
            .call(move |store| {
                let ended = store.end_user_sessions(&user, why.as_str(), except.as_ref(), now)?;
                sessions.settle_where(why, |it| it.user == user && Some(it.sid) != except);
                Ok(ended)
            })
            .await
    }

    /// Ends every login there is; how many the store had.
    pub async fn end_all(self: &Arc<Self>, why: Ended) -> Result<usize, StoreError> {
        self.flip_where(why, |_| true);
        let (sessions, now) = (Arc::clone(self), self.clock.now());
        self.store
            .call(move |store| {
                let ended = store.end_all_sessions(why.as_str(), now)?;
                sessions.settle_where(why, |_| true);
                Ok(ended)
            })
            .await
    }

    /// Ends one host's part of a login.
    pub async fn end_grant(
        self: &Arc<Self>,
        sid: &Digest,
        host: &HostName,
    ) -> Result<(), StoreError> {
        if let Some(cell) = self.find(sid) {
            for grant in cell
                .standing
                .load()
                .grants
                .iter()
                .filter(|it| it.host == *host)
            {
                grant.owed.store(true, Ordering::Release);
                grant.flip(Ended::Grant);
            }
        }
        let (sessions, sid, host) = (Arc::clone(self), *sid, host.clone());
        self.store
            .call(move |store| {
                store.end_grant(&sid, &host)?;
                sessions.forgive_grant(&sid, &host);
                sessions.read(store, &sid)
            })
            .await
    }

    /// Applies what another process changed, or we ourselves: reads it again and flips what is over.
    pub async fn apply(self: &Arc<Self>, change: Change) -> Result<(), StoreError> {
        let sessions = Arc::clone(self);
        match change {
            Change::Session(sid) if self.find(&sid).is_some() => {
                self.store
                    .call(move |store| sessions.read(store, &sid))
                    .await
            }
            Change::User(id) => {
                self.store
                    .call(move |store| sessions.review_user(store, &id))
                    .await
            }
            Change::Session(_) | Change::Claims | Change::Keys => Ok(()),
        }
    }

    /// Notes that somebody used the login; call it after [`Cell::check`] let them.
    pub fn touch(&self, cell: &Cell, now: Timestamp) {
        if cell.ended().is_none() {
            cell.touch(self.idle(), now);
        }
    }

    /// Extends a login by use, on the way of a token's renewal. `Err`: it is over.
    pub fn renew(&self, cell: &Cell, now: Timestamp) -> Result<(), Ended> {
        cell.check(now)?;
        self.touch(cell, now);
        Ok(())
    }

    /// Flips what has expired, forgets what ended long ago. Every 250 ms.
    pub fn sweep(&self, now: Timestamp) {
        let cells = self.cells.pin();
        for (sid, cell) in &cells {
            if cell.ended().is_none() {
                if let Err(why) = cell.check(now) {
                    owe(cell, why);
                }
            } else if !cell.owed.load(Ordering::Acquire)
                && now > cell.last_used().plus(REMEMBERED).plus(self.idle())
            {
                cells.remove(sid);
            }
        }
    }

    /// Tells the store of what was used and of ends that it does not know yet. Every few
    /// seconds, and before closing. On an error the rest is tried again next time.
    pub async fn flush(self: &Arc<Self>) -> Result<usize, StoreError> {
        let due: Vec<_> = {
            let cells = self.cells.pin();
            cells.values().filter(|it| is_due(it)).cloned().collect()
        };
        for batch in due.chunks(BATCH) {
            let (sessions, batch) = (Arc::clone(self), batch.to_vec());
            self.store
                .call(move |store| sessions.write_all(store, &batch))
                .await?;
        }
        Ok(due.len())
    }

    /// Writes the news of some cells: uses in one transaction. On the store's thread.
    fn write_all(&self, store: &mut dyn Store, cells: &[Arc<Cell>]) -> Result<(), StoreError> {
        for cell in cells {
            self.write_ends(store, cell)?;
        }
        let used: Vec<_> = cells
            .iter()
            .filter(|it| it.ended().is_none() && it.used.swap(false, Ordering::AcqRel))
            .collect();
        let uses: Vec<_> = used
            .iter()
            .map(|it| (it.sid, it.idle_expires(), it.last_used()))
            .collect();
        match store.extend_sessions(&uses) {
            Ok(over) => over.iter().try_for_each(|it| self.read(store, it)),
            Err(error) => {
                for cell in used {
                    cell.used.store(true, Ordering::Release);
                }
                Err(error)
            }
        }
    }

    /// Writes the tombstones that one cell owes. On the store's thread.
    fn write_ends(&self, store: &mut dyn Store, cell: &Cell) -> Result<(), StoreError> {
        if let Some(why) = cell.ended() {
            if cell.owed.load(Ordering::Acquire) {
                store.end_session(&cell.sid, why.as_str(), self.clock.now())?;
                cell.owed.store(false, Ordering::Release);
            }
            return Ok(());
        }
        for grant in &cell.standing.load().grants {
            if grant.owed.load(Ordering::Acquire) {
                store.end_grant(&cell.sid, &grant.host)?;
                grant.owed.store(false, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Merges what the store says of a known login. On the store's thread.
    fn read(&self, store: &mut dyn Store, sid: &Digest) -> Result<(), StoreError> {
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
    fn take_in(
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

    /// Looks at a user again, and at their logins. On the store's thread.
    fn review_user(&self, store: &mut dyn Store, id: &UserId) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Some(user) = store.user(id)?.filter(|it| !it.disabled) else {
            self.flip_where(Ended::Disabled, |it| it.user == *id);
            store.end_user_sessions(id, Ended::Disabled.as_str(), None, now)?;
            self.settle_where(Ended::Disabled, |it| it.user == *id);
            return Ok(());
        };
        let profile = Arc::new(Profile::of(&user));
        let theirs: Vec<_> = {
            let cells = self.cells.pin();
            cells
                .values()
                .filter(|it| it.user == *id)
                .cloned()
                .collect()
        };
        for cell in theirs {
            let old = Arc::clone(&cell.standing.load().profile);
            if !old.has_groups_of(&user) {
                owe(&cell, Ended::Credentials);
                self.write_ends(store, &cell)?;
            } else if *old != *profile {
                cell.rename(Arc::clone(&profile));
            }
            self.read(store, &cell.sid)?;
        }
        Ok(())
    }

    fn flip_where(&self, why: Ended, which: impl Fn(&Cell) -> bool) {
        for cell in self.cells.pin().values().filter(|it| which(it)) {
            owe(cell, why);
        }
    }

    /// As [`Sessions::flip_where`], once the store has the tombstones.
    fn settle_where(&self, why: Ended, which: impl Fn(&Cell) -> bool) {
        for cell in self.cells.pin().values().filter(|it| which(it)) {
            cell.flip(why);
            cell.owed.store(false, Ordering::Release);
        }
    }

    /// A grant of `host` is what the store says, whatever ended here before.
    fn forgive_grant(&self, sid: &Digest, host: &HostName) {
        if let Some(cell) = self.find(sid) {
            for grant in cell
                .standing
                .load()
                .grants
                .iter()
                .filter(|it| it.host == *host)
            {
                grant.owed.store(false, Ordering::Release);
            }
        }
    }

    fn idle(&self) -> Duration {
        millis(&self.idle_millis)
    }
}

#[cfg(test)]
impl Sessions {
    /// As when the store could not take an end.
    #[expect(clippy::unused_self, reason = "reads as the other ends do")]
    pub(crate) fn flip_for_test(&self, cell: &Cell, why: Ended) {
        owe(cell, why);
    }
}

/// Flips a cell whose tombstone the store is still to get.
fn owe(cell: &Cell, why: Ended) {
    if cell.ended().is_none() {
        cell.owed.store(true, Ordering::Release);
        cell.flip(why);
    }
}

fn is_due(cell: &Cell) -> bool {
    if cell.ended().is_some() {
        return cell.owed.load(Ordering::Acquire);
    }
    cell.used.load(Ordering::Acquire)
        || cell
            .standing
            .load()
            .grants
            .iter()
            .any(|it| it.owed.load(Ordering::Acquire))
}

fn millis(value: &AtomicI64) -> Duration {
    Duration::from_millis(u64::try_from(value.load(Ordering::Relaxed)).unwrap_or(0))
}
