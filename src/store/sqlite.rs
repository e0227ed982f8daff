//! The house's memory in one `SQLite` file.
//!
//! What was acknowledged survives `kill -9` and a power cut: WAL with `synchronous=FULL`. Every
//! verb that writes is one immediate transaction, and writes down in `changes` what it changed.
//! Several processes of one host may have the file open at once; two hosts may not.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params};

use super::{
    AuditFilter, CeremonyRecord, Change, ClaimRecord, CredentialRecord, Digest, KeyRecord,
    LinkRecord, Removed, SessionRecord, Store, StoreError, TicketRecord, UserChange, UserRecord,
    Work,
    failpoint::{self, Point},
};
use crate::{
    clock::Timestamp,
    name::{HostName, TenantId, UserId, UserName},
    telemetry::audit::Event,
};

mod audit;
mod changes;
mod claims;
mod columns;
mod credentials;
mod failures;
mod host;
mod recovery;
mod schema;
mod sessions;
mod tickets;
mod users;

#[cfg(test)]
mod credential_tests;
#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod verb_tests;

/// How long a writer waits for another process to finish.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long what has ended is remembered, beyond the moment at which it would have ended anyway.
const TOMBSTONE: Duration = Duration::from_hours(1);

/// A [`Store`] in a file.
#[derive(Debug)]
pub struct SqliteStore {
    db: Connection,
    host: host::Host,
}

impl SqliteStore {
    /// Opens the database, makes it (and its folder) where there is none, and brings its schema
    /// up to date. The file is for its owner alone (0600).
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, StoreError> {
        Self::open_as(path, now, host::Host::this())
    }

    fn open_as(path: &Path, now: Timestamp, host: host::Host) -> Result<Self, StoreError> {
        let unusable = |it: io::Error| StoreError::Unusable(format!("{}: {it}", path.display()));
        let folder = match path.parent() {
            Some(it) if !it.as_os_str().is_empty() => it,
            _ => Path::new("."),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(unusable)?;
        host::refuse_network(folder)?;
        // Made by us, so that it is never open to others; WAL and shared memory take its mode.
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(unusable)?;
        let mode = file.metadata().map_err(unusable)?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(unusable)?;
        }
        drop(file);

        let mut db = Connection::open(path)?;
        db.busy_timeout(PATIENCE)?;
        db.set_prepared_statement_cache_capacity(128);
        db.pragma_update(None, "trusted_schema", false)?;
        db.pragma_update(None, "foreign_keys", true)?;
        let mode: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode != "wal" {
            db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        }
        db.pragma_update(None, "synchronous", "FULL")?;
        schema::migrate(&mut db)?;
        let mut store = Self { db, host };
        store.write("open", |tx, host| host.beat(tx, now))?;
        Ok(store)
    }

    /// One verb that writes: all of it or nothing, and its failpoints.
    fn write<T>(
        &mut self,
        verb: &str,
        work: impl FnOnce(&Connection, &host::Host) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if !self.db.is_autocommit() {
            // A part of what [`Store::atomically`] does, which commits: whole or not at all too.
            let part = self.db.savepoint()?;
            let done = work(&part, &self.host)?;
            part.commit()?;
            return Ok(done);
        }
        failpoint::hit(verb, Point::Before);
        let done = (|| {
            let tx = self
                .db
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&tx, &self.host)?;
            failpoint::hit(verb, Point::Inside);
            tx.commit()?;
            Ok(done)
        })()
        .map_err(busy)?;
        failpoint::hit(verb, Point::After);
        Ok(done)
    }
}

/// A database that another process holds is busy, not broken.
fn busy(error: StoreError) -> StoreError {
    let held = matches!(
        &error,
        StoreError::Database(rusqlite::Error::SqliteFailure(it, _))
            if matches!(it.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    );
    if held { StoreError::Busy } else { error }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // A note that stays behind is only worth a minute of somebody else's patience.
        let _ = self.host.leave(&self.db);
    }
}

impl Store for SqliteStore {
    fn add_user(&mut self, user: &UserRecord) -> Result<(), StoreError> {
        self.write("add_user", |tx, _| users::add(tx, user))
    }

    fn user_by_name(&mut self, name: &UserName) -> Result<Option<UserRecord>, StoreError> {
        users::by_name(&self.db, name).map_err(busy)
    }

    fn user(&mut self, id: &UserId) -> Result<Option<UserRecord>, StoreError> {
        users::by_id(&self.db, id).map_err(busy)
    }

    fn users(&mut self) -> Result<Vec<UserRecord>, StoreError> {
        users::all(&self.db).map_err(busy)
    }

    fn change_user(&mut self, id: &UserId, change: &UserChange) -> Result<(), StoreError> {
        self.write("change_user", |tx, _| users::change(tx, id, change))
    }

    fn change_credentials(
        &mut self,
        id: &UserId,
        changes: &[UserChange],
        reason: &str,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        self.write("change_credentials", |tx, _| {
            users::change_credentials(tx, id, changes, reason, now)
        })
    }

    fn rehash(&mut self, id: &UserId, old: &str, new: &str) -> Result<(), StoreError> {
        self.write("rehash", |tx, _| users::rehash(tx, id, old, new))
    }

    fn remove_user(&mut self, id: &UserId, now: Timestamp) -> Result<(), StoreError> {
        self.write("remove_user", |tx, _| users::remove(tx, id, now))
    }

    fn take_totp_step(&mut self, id: &UserId, step: i64) -> Result<bool, StoreError> {
        self.write("take_totp_step", |tx, _| {
            users::take_totp_step(tx, id, step)
        })
    }

    fn add_credential(&mut self, credential: &CredentialRecord) -> Result<(), StoreError> {
        self.write("add_credential", |tx, _| credentials::add(tx, credential))
    }

    fn credentials(&mut self, user: &UserId) -> Result<Vec<CredentialRecord>, StoreError> {
        credentials::of_user(&self.db, user).map_err(busy)
    }

    fn credential(&mut self, id: &[u8]) -> Result<Option<CredentialRecord>, StoreError> {
        credentials::one(&self.db, id).map_err(busy)
    }

    fn rename_credential(
        &mut self,
        user: &UserId,
        id: &[u8],
        name: &str,
    ) -> Result<bool, StoreError> {
        self.write("rename_credential", |tx, _| {
            credentials::rename(tx, user, id, name)
        })
    }

    fn touch_credential(
        &mut self,
        id: &[u8],
        counter: u32,
        backed_up: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write("touch_credential", |tx, _| {
            credentials::touch(tx, id, counter, backed_up, now)
        })
    }

    fn remove_credential(&mut self, user: &UserId, id: &[u8]) -> Result<Removed, StoreError> {
        self.write("remove_credential", |tx, _| {
            credentials::remove(tx, user, id)
        })
    }

    fn remove_totp(&mut self, user: &UserId) -> Result<Removed, StoreError> {
        self.write("remove_totp", |tx, _| credentials::remove_totp(tx, user))
    }

    fn put_ceremony(&mut self, id: &Digest, record: &CeremonyRecord) -> Result<(), StoreError> {
        self.write("put_ceremony", |tx, _| {
            credentials::put_ceremony(tx, id, record)
        })
    }

    fn take_ceremony(
        &mut self,
        id: &Digest,
        purpose: &str,
        binding: &Digest,
        now: Timestamp,
    ) -> Result<Option<CeremonyRecord>, StoreError> {
        self.write("take_ceremony", |tx, _| {
            credentials::take_ceremony(tx, id, purpose, binding, now)
        })
    }

    fn put_link(&mut self, link: &Digest, record: &LinkRecord) -> Result<(), StoreError> {
        self.write("put_link", |tx, _| users::put_link(tx, link, record))
    }

    fn link(&mut self, link: &Digest, now: Timestamp) -> Result<Option<LinkRecord>, StoreError> {
        users::link(&self.db, link, now).map_err(busy)
    }

    fn complete_setup(
        &mut self,
        link: &Digest,
        password_hash: &str,
        totp: Option<(&[u8], i64)>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write("complete_setup", |tx, _| {
            users::complete_setup(tx, link, password_hash, totp, now)
        })
    }

    fn put_recovery_codes(&mut self, user: &UserId, codes: &[Digest]) -> Result<(), StoreError> {
        self.write("put_recovery_codes", |tx, _| recovery::put(tx, user, codes))
    }

    fn take_recovery_code(
        &mut self,
        user: &UserId,
        code: &Digest,
    ) -> Result<Option<u32>, StoreError> {
        self.write("take_recovery_code", |tx, _| recovery::take(tx, user, code))
    }

    fn recovery_codes_left(&mut self, user: &UserId) -> Result<u32, StoreError> {
        recovery::left(&self.db, user).map_err(busy)
    }

    fn put_notice(&mut self, user: &UserId, what: &str, at: Timestamp) -> Result<(), StoreError> {
        self.write("put_notice", |tx, _| {
            recovery::put_notice(tx, user, what, at)
        })
    }

    fn notices(&mut self, user: &UserId) -> Result<Vec<(String, Timestamp)>, StoreError> {
        recovery::notices(&self.db, user).map_err(busy)
    }

    fn clear_notices(&mut self, user: &UserId) -> Result<(), StoreError> {
        self.write("clear_notices", |tx, _| recovery::clear_notices(tx, user))
    }

    fn count_failure(
        &mut self,
        key: &str,
        now: Timestamp,
        window_secs: i64,
    ) -> Result<u32, StoreError> {
        self.write("count_failure", |tx, _| {
            failures::count(tx, key, now, window_secs)
        })
    }

    fn failures(
        &mut self,
        key: &str,
        now: Timestamp,
        _window_secs: i64,
    ) -> Result<(u32, Timestamp), StoreError> {
        failures::look(&self.db, key, now).map_err(busy)
    }

    fn all_failures(
        &mut self,
        now: Timestamp,
    ) -> Result<Vec<(String, u32, Timestamp)>, StoreError> {
        failures::all(&self.db, now).map_err(busy)
    }

    fn clear_failures(&mut self, key: &str) -> Result<(), StoreError> {
        self.write("clear_failures", |tx, _| failures::clear(tx, key))
    }

    fn begin_session(&mut self, session: &SessionRecord) -> Result<(), StoreError> {
        self.write("begin_session", |tx, _| sessions::begin(tx, session))
    }

    fn session(&mut self, sid: &Digest) -> Result<Option<SessionRecord>, StoreError> {
        sessions::one(&self.db, sid).map_err(busy)
    }

    fn live_sessions(&mut self, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError> {
        sessions::live(&self.db, now).map_err(busy)
    }

    fn extend_session(
        &mut self,
        sid: &Digest,
        idle_expires: Timestamp,
        last_used: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write("extend_session", |tx, _| {
            sessions::extend(tx, sid, idle_expires, last_used)
        })
    }

    fn extend_sessions(
        &mut self,
        uses: &[(Digest, Timestamp, Timestamp)],
    ) -> Result<Vec<Digest>, StoreError> {
        if uses.is_empty() {
            return Ok(Vec::new());
        }
        self.write("extend_sessions", |tx, _| sessions::extend_all(tx, uses))
    }

    fn raise_session(
        &mut self,
        sid: &Digest,
        level: u8,
        amr: &[String],
        auth_time: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write("raise_session", |tx, _| {
            sessions::raise(tx, sid, level, amr, auth_time)
        })
    }

    fn grant(
        &mut self,
        sid: &Digest,
        host: &HostName,
        tenant: &TenantId,
    ) -> Result<bool, StoreError> {
        self.write("grant", |tx, _| sessions::grant(tx, sid, host, tenant))
    }

    fn end_grant(&mut self, sid: &Digest, host: &HostName) -> Result<(), StoreError> {
        self.write("end_grant", |tx, _| sessions::end_grant(tx, sid, host))
    }

    fn end_session(
        &mut self,
        sid: &Digest,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write("end_session", |tx, _| sessions::end(tx, sid, reason, now))
    }

    fn end_user_sessions(
        &mut self,
        user: &UserId,
        reason: &str,
        except: Option<&Digest>,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        self.write("end_user_sessions", |tx, _| {
            sessions::end_of_user(tx, user, reason, except, now)
        })
    }

    fn end_all_sessions(&mut self, reason: &str, now: Timestamp) -> Result<usize, StoreError> {
        self.write("end_all_sessions", |tx, _| {
            sessions::end_all(tx, reason, now)
        })
    }

    fn put_ticket(&mut self, ticket: &Digest, record: &TicketRecord) -> Result<(), StoreError> {
        self.write("put_ticket", |tx, _| tickets::put(tx, ticket, record))
    }

    fn claim_ticket(
        &mut self,
        ticket: &Digest,
        host: &HostName,
        tenant: &TenantId,
        challenge: &str,
        now: Timestamp,
    ) -> Result<Option<SessionRecord>, StoreError> {
        self.write("claim_ticket", |tx, _| {
            tickets::claim(tx, ticket, host, tenant, challenge, now)
        })
    }

    fn keys(&mut self) -> Result<Vec<KeyRecord>, StoreError> {
        claims::keys(&self.db).map_err(busy)
    }

    fn add_key(&mut self, key: &KeyRecord) -> Result<(), StoreError> {
        self.write("add_key", |tx, _| claims::add_key(tx, key))
    }

    fn retire_key(&mut self, id: &str, at: Timestamp) -> Result<(), StoreError> {
        self.write("retire_key", |tx, _| claims::retire_key(tx, id, at))
    }

    fn claims(&mut self) -> Result<Vec<ClaimRecord>, StoreError> {
        claims::all(&self.db).map_err(busy)
    }

    fn claim(
        &mut self,
        host: &str,
        owner: &str,
        now: Timestamp,
    ) -> Result<ClaimRecord, StoreError> {
        self.write("claim", |tx, _| claims::claim(tx, host, owner, now))
    }

    fn release_claim(&mut self, host: &str, now: Timestamp) -> Result<(), StoreError> {
        self.write("release_claim", |tx, _| claims::release(tx, host, now))
    }

    fn atomically(&mut self, verb: &str, work: &mut Work<'_>) -> Result<(), StoreError> {
        if !self.db.is_autocommit() {
            return work(self);
        }
        failpoint::hit(verb, Point::Before);
        self.db
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(|it| busy(it.into()))?;
        let done = work(self).and_then(|()| {
            failpoint::hit(verb, Point::Inside);
            Ok(self.db.execute_batch("COMMIT")?)
        });
        if done.is_err() && !self.db.is_autocommit() {
            self.db.execute_batch("ROLLBACK")?;
        }
        done.map_err(busy)?;
        failpoint::hit(verb, Point::After);
        Ok(())
    }

    fn append_audit(&mut self, event: &Event) -> Result<(), StoreError> {
        self.write("append_audit", |tx, _| audit::append(tx, event))
    }

    fn audit(&mut self, filter: &AuditFilter) -> Result<Vec<Event>, StoreError> {
        audit::read(&self.db, filter).map_err(busy)
    }

    fn note(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self
            .db
            .prepare_cached("SELECT value FROM notes WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        Ok(value)
    }

    fn set_note(&mut self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.write("set_note", |tx, _| {
            tx.prepare_cached("INSERT OR REPLACE INTO notes (name, value) VALUES (?1, ?2)")?
                .execute(params![name, value])?;
            Ok(())
        })
    }

    fn changes_since(&mut self, seq: i64) -> Result<Vec<(i64, Change)>, StoreError> {
        // One snapshot for all the questions it asks.
        let tx = self.db.transaction()?;
        changes::since(&tx, seq).map_err(busy)
    }

    fn last_change(&mut self) -> Result<i64, StoreError> {
        changes::last(&self.db).map_err(busy)
    }

    fn sweep(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.write("sweep", |tx, host| {
            host.beat(tx, now)?;
            for (sql, before) in [
                ("DELETE FROM tickets WHERE expires <= ?1", now),
                ("DELETE FROM links WHERE expires <= ?1", now),
                ("DELETE FROM ceremonies WHERE expires <= ?1", now),
                ("DELETE FROM failures WHERE ends <= ?1", now),
                (
                    "DELETE FROM sessions WHERE login_exp <= ?1",
                    now.minus(TOMBSTONE),
                ),
                ("DELETE FROM keys WHERE retires <= ?1", now.minus(TOMBSTONE)),
            ] {
                tx.prepare_cached(sql)?.execute([before])?;
            }
            audit::sweep(tx, now)?;
            changes::sweep(tx)
        })
    }
}
