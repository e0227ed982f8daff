//! Logins, their grants, their tombstones.

use rusqlite::{
    Connection, OptionalExtension as _, Params, Row, named_params, params, types::Type,
};

use super::{changes::append, users};
use crate::{
    clock::Timestamp,
    name::{HostName, TenantId, UserId},
    store::{Change, Digest, GrantRecord, SessionRecord, StoreError},
};

const COLUMNS: &str = "sid, user_id, device, amr, level, generation, auth_time, created, \
                       idle_expires, login_exp, last_used, address, agent, confined_to, \
                       ended_reason, ended_at";

fn record(row: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    let amr: String = row.get(3)?;
    let amr = serde_json::from_str(&amr)
        .map_err(|it| rusqlite::Error::FromSqlConversionFailure(3, Type::Text, Box::new(it)))?;
    let reason: Option<String> = row.get(14)?;
    let ended_at: Option<Timestamp> = row.get(15)?;
    Ok(SessionRecord {
        sid: row.get(0)?,
        user: row.get(1)?,
        device: row.get(2)?,
        amr,
        level: row.get(4)?,
        generation: row.get(5)?,
        auth_time: row.get(6)?,
        created: row.get(7)?,
        idle_expires: row.get(8)?,
        login_exp: row.get(9)?,
        last_used: row.get(10)?,
        address: row.get(11)?,
        agent: row.get(12)?,
        confined_to: row.get(13)?,
        ended: ended_at.map(|at| (reason.unwrap_or_default(), at)),
        grants: Vec::new(),
    })
}

fn amr_text(amr: &[String]) -> String {
    serde_json::Value::from(amr.to_vec()).to_string()
}

fn changed(db: &Connection, sid: &Digest) -> rusqlite::Result<()> {
    append(db, &Change::Session(*sid))
}

pub(super) fn begin(db: &Connection, session: &SessionRecord) -> Result<(), StoreError> {
    // Whoever was disabled while they typed their code does not get in behind it.
    if users::by_id(db, &session.user)?.is_none_or(|it| it.disabled) {
        return Err(StoreError::NotFound);
    }
    let taken = db
        .prepare_cached("SELECT 1 FROM sessions WHERE sid = ?1")?
        .exists([session.sid])?;
    if taken {
        return Err(StoreError::Conflict);
    }
    db.prepare_cached(
        "INSERT INTO sessions (sid, user_id, device, amr, level, generation, auth_time, created,
             idle_expires, login_exp, last_used, address, agent, confined_to, ended_reason,
             ended_at)
         VALUES (:sid, :user, :device, :amr, :level, :generation, :auth_time, :created,
             :idle_expires, :login_exp, :last_used, :address, :agent, :confined_to,
             :ended_reason, :ended_at)",
    )?
    .execute(named_params! {
        ":sid": session.sid,
        ":user": session.user,
        ":device": session.device,
        ":amr": amr_text(&session.amr),
        ":level": session.level,
        ":generation": session.generation,
        ":auth_time": session.auth_time,
        ":created": session.created,
        ":idle_expires": session.idle_expires,
        ":login_exp": session.login_exp,
        ":last_used": session.last_used,
        ":address": session.address,
        ":agent": session.agent,
        ":confined_to": session.confined_to,
        ":ended_reason": session.ended.as_ref().map(|it| &it.0),
        ":ended_at": session.ended.as_ref().map(|it| it.1),
    })?;
    for grant in &session.grants {
        put_grant(db, &session.sid, grant)?;
    }
    changed(db, &session.sid)?;
    Ok(())
}

fn put_grant(db: &Connection, sid: &Digest, grant: &GrantRecord) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO grants (sid, host, tenant, ended) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (sid, host) DO UPDATE SET tenant = excluded.tenant, ended = excluded.ended",
    )?
    .execute(params![sid, grant.host, grant.tenant, grant.ended])?;
    Ok(())
}

fn grants(db: &Connection, sid: &Digest) -> rusqlite::Result<Vec<GrantRecord>> {
    db.prepare_cached("SELECT host, tenant, ended FROM grants WHERE sid = ?1 ORDER BY host")?
        .query_map([sid], |row| {
            Ok(GrantRecord {
                host: row.get(0)?,
                tenant: row.get(1)?,
                ended: row.get(2)?,
            })
        })?
        .collect()
}

pub(super) fn one(db: &Connection, sid: &Digest) -> Result<Option<SessionRecord>, StoreError> {
    let found = db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE sid = ?1"))?
        .query_row([sid], record)
        .optional()?;
    let Some(mut session) = found else {
        return Ok(None);
    };
    session.grants = grants(db, sid)?;
    Ok(Some(session))
}

pub(super) fn live(db: &Connection, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM sessions
         WHERE ended_at IS NULL AND login_exp > ?1 AND idle_expires > ?1 ORDER BY created, sid"
    ))?;
    let mut sessions: Vec<SessionRecord> =
        select.query_map([now], record)?.collect::<Result<_, _>>()?;
    for session in &mut sessions {
        session.grants = grants(db, &session.sid)?;
    }
    Ok(sessions)
}

pub(super) fn extend(
    db: &Connection,
    sid: &Digest,
    idle_expires: Timestamp,
    last_used: Timestamp,
) -> Result<bool, StoreError> {
    // Another gateway may have seen a later use; what ended stays ended.
    let lives = db
        .prepare_cached(
            "UPDATE sessions
             SET idle_expires = max(idle_expires, ?2), last_used = max(last_used, ?3)
             WHERE sid = ?1 AND ended_at IS NULL",
        )?
        .execute(params![sid, idle_expires, last_used])?
        > 0;
    if lives {
        changed(db, sid)?;
    }
    Ok(lives)
}

pub(super) fn extend_all(
    db: &Connection,
    uses: &[(Digest, Timestamp, Timestamp)],
) -> Result<Vec<Digest>, StoreError> {
    let mut over = Vec::new();
    for (sid, idle_expires, last_used) in uses {
        if !extend(db, sid, *idle_expires, *last_used)? {
            over.push(*sid);
        }
    }
    Ok(over)
}

pub(super) fn raise(
    db: &Connection,
    sid: &Digest,
    level: u8,
    amr: &[String],
    auth_time: Timestamp,
) -> Result<bool, StoreError> {
    let lives = db
        .prepare_cached(
            "UPDATE sessions
             SET level = ?2, amr = ?3, auth_time = ?4, generation = generation + 1
             WHERE sid = ?1 AND ended_at IS NULL AND level <= ?2",
        )?
        .execute(params![sid, level, amr_text(amr), auth_time])?
        > 0;
    if lives {
        changed(db, sid)?;
    }
    Ok(lives)
}

fn has_not_ended(db: &Connection, sid: &Digest) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM sessions WHERE sid = ?1 AND ended_at IS NULL")?
        .exists([sid])
}

pub(super) fn grant(
    db: &Connection,
    sid: &Digest,
    host: &HostName,
    tenant: &TenantId,
) -> Result<bool, StoreError> {
    if !has_not_ended(db, sid)? {
        return Ok(false);
    }
    let grant = GrantRecord {
        host: host.clone(),
        tenant: tenant.clone(),
        ended: false,
    };
    put_grant(db, sid, &grant)?;
    changed(db, sid)?;
    Ok(true)
}

pub(super) fn end_grant(db: &Connection, sid: &Digest, host: &HostName) -> Result<(), StoreError> {
    let ended = db
        .prepare_cached("UPDATE grants SET ended = 1 WHERE sid = ?1 AND host = ?2 AND ended = 0")?
        .execute(params![sid, host])?;
    if ended > 0 {
        changed(db, sid)?;
    }
    Ok(())
}

/// Ends what `filter` names; how many.
fn end_where(db: &Connection, filter: &str, values: impl Params) -> Result<usize, StoreError> {
    let ended: Vec<Digest> = db
        .prepare_cached(&format!(
            "UPDATE sessions SET ended_reason = ?1, ended_at = ?2
             WHERE ended_at IS NULL AND {filter} RETURNING sid"
        ))?
        .query_map(values, |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for sid in &ended {
        changed(db, sid)?;
    }
    Ok(ended.len())
}

pub(super) fn end(
    db: &Connection,
    sid: &Digest,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(end_where(db, "sid = ?3", params![reason, now, sid])? > 0)
}

pub(super) fn end_of_user(
    db: &Connection,
    user: &UserId,
    reason: &str,
    except: Option<&Digest>,
    now: Timestamp,
) -> Result<usize, StoreError> {
    end_where(
        db,
        "user_id = ?3 AND sid IS NOT ?4",
        params![reason, now, user, except],
    )
}

pub(super) fn end_all(db: &Connection, reason: &str, now: Timestamp) -> Result<usize, StoreError> {
    end_where(db, "TRUE", params![reason, now])
}
