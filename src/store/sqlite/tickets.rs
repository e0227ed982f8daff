//! One-time sign-ins on their way from the portal to a tenant's host.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::sessions;
use crate::{
    clock::Timestamp,
    name::{HostName, TenantId},
    secret,
    store::{Digest, SessionRecord, StoreError, TicketRecord},
};

pub(super) fn put(
    db: &Connection,
    ticket: &Digest,
    record: &TicketRecord,
) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO tickets (id, sid, host, tenant, challenge, expires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        ticket,
        record.sid,
        record.host,
        record.tenant,
        record.challenge,
        record.expires
    ])?;
    Ok(())
}

pub(super) fn claim(
    db: &Connection,
    ticket: &Digest,
    host: &HostName,
    tenant: &TenantId,
    challenge: &str,
    now: Timestamp,
) -> Result<Option<SessionRecord>, StoreError> {
    let record = db
        .prepare_cached(
            "DELETE FROM tickets WHERE id = ?1 RETURNING sid, host, tenant, challenge, expires",
        )?
        .query_row([ticket], |row| {
            Ok(TicketRecord {
                sid: row.get(0)?,
                host: row.get(1)?,
                tenant: row.get(2)?,
                challenge: row.get(3)?,
                expires: row.get(4)?,
            })
        })
        .optional()?;
    let Some(record) = record else {
        return Ok(None);
    };
    let fits = record.host == *host
        && record.tenant == *tenant
        && secret::equal(record.challenge.as_bytes(), challenge.as_bytes())
        && record.expires > now;
    if !fits || !lives(sessions::one(db, &record.sid)?.as_ref(), now) {
        return Ok(None);
    }
    sessions::grant(db, &record.sid, host, tenant)?;
    sessions::one(db, &record.sid)
}

fn lives(session: Option<&SessionRecord>, now: Timestamp) -> bool {
    session.is_some_and(|it| {
        it.ended.is_none()
            && it.confined_to.is_none()
            && it.login_exp > now
            && it.idle_expires > now
    })
}
