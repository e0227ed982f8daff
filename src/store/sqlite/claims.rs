//! Which tenant owns which host name, and what signs tokens.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::changes::append;
use crate::{
    clock::Timestamp,
    name::TenantId,
    store::{Change, ClaimRecord, KeyRecord, StoreError},
};

const COLUMNS: &str = "host, tenant, owner, since, changed_hands, released";

fn record(row: &Row<'_>) -> rusqlite::Result<ClaimRecord> {
    Ok(ClaimRecord {
        host: row.get(0)?,
        tenant: row.get(1)?,
        owner: row.get(2)?,
        since: row.get(3)?,
        changed_hands: row.get(4)?,
        released: row.get(5)?,
    })
}

pub(super) fn all(db: &Connection) -> Result<Vec<ClaimRecord>, StoreError> {
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} FROM claims ORDER BY host"))?;
    let claims = select.query_map([], record)?.collect::<Result<_, _>>()?;
    Ok(claims)
}

fn one(db: &Connection, host: &str) -> Result<Option<ClaimRecord>, StoreError> {
    let claim = db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM claims WHERE host = ?1"))?
        .query_row([host], record)
        .optional()?;
    Ok(claim)
}

pub(super) fn claim(
    db: &Connection,
    host: &str,
    owner: &str,
    now: Timestamp,
) -> Result<ClaimRecord, StoreError> {
    let claim = match one(db, host)? {
        None => ClaimRecord {
            host: host.to_owned(),
            tenant: TenantId::fresh(),
            owner: owner.to_owned(),
            since: now,
            changed_hands: false,
            released: None,
        },
        Some(held) if held.owner == owner && held.released.is_none() => return Ok(held),
        Some(held) if held.owner == owner => ClaimRecord {
            released: None,
            ..held
        },
        Some(held) if held.rested().is_none_or(|it| it > now) => return Ok(held),
        Some(held) => ClaimRecord {
            tenant: TenantId::fresh(),
            owner: owner.to_owned(),
            since: now,
            changed_hands: true,
            released: None,
            ..held
        },
    };
    db.prepare_cached(
        "INSERT OR REPLACE INTO claims (host, tenant, owner, since, changed_hands, released)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        claim.host,
        claim.tenant,
        claim.owner,
        claim.since,
        claim.changed_hands,
        claim.released
    ])?;
    append(db, &Change::Claims)?;
    Ok(claim)
}

pub(super) fn release(db: &Connection, host: &str, now: Timestamp) -> Result<(), StoreError> {
    let released = db
        .prepare_cached("UPDATE claims SET released = ?2 WHERE host = ?1")?
        .execute(params![host, now])?;
    if released == 0 {
        return Err(StoreError::NotFound);
    }
    append(db, &Change::Claims)?;
    Ok(())
}

pub(super) fn keys(db: &Connection) -> Result<Vec<KeyRecord>, StoreError> {
    let mut select =
        db.prepare_cached("SELECT id, kind, sealed, created, retires FROM keys ORDER BY created")?;
    let keys = select
        .query_map([], |row| {
            Ok(KeyRecord {
                id: row.get(0)?,
                kind: row.get(1)?,
                sealed: row.get(2)?,
                created: row.get(3)?,
                retires: row.get(4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(keys)
}

pub(super) fn add_key(db: &Connection, key: &KeyRecord) -> Result<(), StoreError> {
    let added = db
        .prepare_cached(
            "INSERT INTO keys (id, kind, sealed, created, retires) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            key.id,
            key.kind,
            key.sealed,
            key.created,
            key.retires
        ])?;
    if added == 0 {
        return Err(StoreError::Conflict);
    }
    append(db, &Change::Keys)?;
    Ok(())
}

pub(super) fn retire_key(db: &Connection, id: &str, at: Timestamp) -> Result<(), StoreError> {
    let retired = db
        .prepare_cached("UPDATE keys SET retires = ?2 WHERE id = ?1")?
        .execute(params![id, at])?;
    if retired == 0 {
        return Err(StoreError::NotFound);
    }
    append(db, &Change::Keys)?;
    Ok(())
}
