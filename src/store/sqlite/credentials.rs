//! Keys and passkeys, and ceremonies under way.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::changes::append;
use crate::{
    clock::Timestamp,
    name::UserId,
    store::{
        CeremonyRecord, Change, CredentialKind, CredentialRecord, Digest, Removed, StoreError,
    },
};

const COLUMNS: &str = "id, user_id, kind, name, sealed, counter, backup_eligible, backed_up, \
                       user_verified, created, last_used";

/// How many challenges to strangers wait at most: whoever asks for more drops the oldest.
const STRANGERS: i64 = 10_000;

fn record(row: &Row<'_>) -> rusqlite::Result<CredentialRecord> {
    let kind: String = row.get(2)?;
    Ok(CredentialRecord {
        id: row.get(0)?,
        user: row.get(1)?,
        // What a newer version wrote is the least that it could be.
        kind: CredentialKind::parse(&kind).unwrap_or(CredentialKind::Key),
        name: row.get(3)?,
        sealed: row.get(4)?,
        counter: row.get(5)?,
        backup_eligible: row.get(6)?,
        backed_up: row.get(7)?,
        user_verified: row.get(8)?,
        created: row.get(9)?,
        last_used: row.get(10)?,
    })
}

pub(super) fn add(db: &Connection, it: &CredentialRecord) -> Result<(), StoreError> {
    let taken = db
        .prepare_cached("SELECT 1 FROM credentials WHERE id = ?1")?
        .exists([&it.id])?;
    if taken {
        return Err(StoreError::Conflict);
    }
    let owned = db
        .prepare_cached("SELECT 1 FROM users WHERE id = ?1")?
        .exists([&it.user])?;
    if !owned {
        return Err(StoreError::NotFound);
    }
    db.prepare_cached(
        "INSERT INTO credentials (id, user_id, kind, name, sealed, counter, backup_eligible,
             backed_up, user_verified, created, last_used)
         VALUES (:id, :user, :kind, :name, :sealed, :counter, :eligible, :backed_up, :verified,
             :created, :last_used)",
    )?
    .execute(named_params! {
        ":id": it.id,
        ":user": it.user,
        ":kind": it.kind.as_str(),
        ":name": it.name,
        ":sealed": it.sealed,
        ":counter": it.counter,
        ":eligible": it.backup_eligible,
        ":backed_up": it.backed_up,
        ":verified": it.user_verified,
        ":created": it.created,
        ":last_used": it.last_used,
    })?;
    append(db, &Change::User(it.user.clone()))?;
    Ok(())
}

pub(super) fn of_user(db: &Connection, user: &UserId) -> Result<Vec<CredentialRecord>, StoreError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM credentials WHERE user_id = ?1 ORDER BY created, id"
    ))?;
    let all = select
        .query_map([user], record)?
        .collect::<Result<_, _>>()?;
    Ok(all)
}

pub(super) fn one(db: &Connection, id: &[u8]) -> Result<Option<CredentialRecord>, StoreError> {
    let found = db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM credentials WHERE id = ?1"))?
        .query_row([id], record)
        .optional()?;
    Ok(found)
}

pub(super) fn rename(
    db: &Connection,
    user: &UserId,
    id: &[u8],
    name: &str,
) -> Result<bool, StoreError> {
    let changed = db
        .prepare_cached("UPDATE credentials SET name = ?3 WHERE id = ?2 AND user_id = ?1")?
        .execute(params![user, id, name])?;
    if changed > 0 {
        append(db, &Change::User(user.clone()))?;
    }
    Ok(changed > 0)
}

pub(super) fn touch(
    db: &Connection,
    id: &[u8],
    counter: u32,
    backed_up: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    // Of two answers with one counter, the second finds the first one's.
    let changed = db
        .prepare_cached(
            "UPDATE credentials SET counter = ?2, backed_up = ?3, last_used = ?4
             WHERE id = ?1 AND (counter < ?2 OR (counter = 0 AND ?2 = 0))",
        )?
        .execute(params![id, counter, backed_up, now])?;
    Ok(changed > 0)
}

pub(super) fn remove(db: &Connection, user: &UserId, id: &[u8]) -> Result<Removed, StoreError> {
    if one(db, id)?.is_none_or(|it| it.user != *user) {
        return Ok(Removed::NotThere);
    }
    // The question and the act are one statement: of two at once, one finds itself the last.
    let gone = db
        .prepare_cached(
            "DELETE FROM credentials WHERE id = ?2 AND user_id = ?1 AND (
                 (SELECT count(*) FROM credentials WHERE user_id = ?1) > 1
                 OR EXISTS (SELECT 1 FROM users WHERE id = ?1 AND totp_sealed IS NOT NULL))",
        )?
        .execute(params![user, id])?;
    told(db, user, gone)
}

pub(super) fn remove_totp(db: &Connection, user: &UserId) -> Result<Removed, StoreError> {
    let has = db
        .prepare_cached("SELECT 1 FROM users WHERE id = ?1 AND totp_sealed IS NOT NULL")?
        .exists([user])?;
    if !has {
        return Ok(Removed::NotThere);
    }
    let gone = db
        .prepare_cached(
            "UPDATE users SET totp_sealed = NULL WHERE id = ?1
             AND EXISTS (SELECT 1 FROM credentials WHERE user_id = ?1)",
        )?
        .execute([user])?;
    told(db, user, gone)
}

fn told(db: &Connection, user: &UserId, gone: usize) -> Result<Removed, StoreError> {
    if gone == 0 {
        return Ok(Removed::Last);
    }
    append(db, &Change::User(user.clone()))?;
    Ok(Removed::Done)
}

/// Every one of a user's.
pub(super) fn forget(db: &Connection, user: &UserId) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM credentials WHERE user_id = ?1")?
        .execute([user])?;
    Ok(())
}

pub(super) fn put_ceremony(
    db: &Connection,
    id: &Digest,
    it: &CeremonyRecord,
) -> Result<(), StoreError> {
    if it.user.is_none() {
        db.prepare_cached(
            "DELETE FROM ceremonies WHERE user_id IS NULL AND id IN (
                 SELECT id FROM ceremonies WHERE user_id IS NULL
                 ORDER BY expires DESC LIMIT -1 OFFSET ?1)",
        )?
        .execute([STRANGERS - 1])?;
    }
    db.prepare_cached(
        "INSERT INTO ceremonies (id, purpose, binding, user_id, sealed, expires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        id, it.purpose, it.binding, it.user, it.sealed, it.expires
    ])?;
    Ok(())
}

pub(super) fn take_ceremony(
    db: &Connection,
    id: &Digest,
    purpose: &str,
    binding: &Digest,
    now: Timestamp,
) -> Result<Option<CeremonyRecord>, StoreError> {
    let found = db
        .prepare_cached(
            "DELETE FROM ceremonies WHERE id = ?1
             RETURNING purpose, binding, user_id, sealed, expires",
        )?
        .query_row([id], |row| {
            Ok(CeremonyRecord {
                purpose: row.get(0)?,
                binding: row.get(1)?,
                user: row.get(2)?,
                sealed: row.get(3)?,
                expires: row.get(4)?,
            })
        })
        .optional()?;
    Ok(found.filter(|it| it.purpose == purpose && it.binding == *binding && now < it.expires))
}
