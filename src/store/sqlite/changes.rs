//! The list that others follow: one row per change, written with the change itself.

use rusqlite::{Connection, OptionalExtension as _, params, types::Null};

use crate::{
    name::UserId,
    store::{Change, Digest, StoreError},
};

/// How many changes are kept for who follows.
const KEPT: i64 = 100_000;

/// Writes down a change, in the caller's transaction.
pub(super) fn append(db: &Connection, change: &Change) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached("INSERT INTO changes (kind, id) VALUES (?1, ?2)")?;
    match change {
        Change::Session(sid) => insert.execute(params!["session", sid])?,
        Change::User(id) => insert.execute(params!["user", id.as_str().as_bytes()])?,
        Change::Claims => insert.execute(params!["claims", Null])?,
        Change::Keys => insert.execute(params!["keys", Null])?,
    };
    Ok(())
}

/// What changed after `seq`.
pub(super) fn since(db: &Connection, seq: i64) -> Result<Vec<(i64, Change)>, StoreError> {
    let oldest: Option<i64> = db
        .prepare_cached("SELECT min(seq) FROM changes")?
        .query_row([], |row| row.get(0))?;
    if oldest.is_some_and(|oldest| oldest > seq.saturating_add(1)) {
        return everything(db);
    }
    let mut select =
        db.prepare_cached("SELECT seq, kind, id FROM changes WHERE seq > ?1 ORDER BY seq")?;
    let rows = select.query_map([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut changes = Vec::new();
    for row in rows {
        let (seq, kind, id): (i64, String, Option<Vec<u8>>) = row?;
        // A kind that this version does not know comes from a newer one; nothing here follows it.
        if let Some(change) = read(&kind, id) {
            changes.push((seq, change));
        }
    }
    Ok(changes)
}

fn read(kind: &str, id: Option<Vec<u8>>) -> Option<Change> {
    match kind {
        "session" => Some(Change::Session(id?.try_into().ok()?)),
        "user" => Some(Change::User(UserId::from(
            String::from_utf8(id?).ok()?.as_str(),
        ))),
        "claims" => Some(Change::Claims),
        "keys" => Some(Change::Keys),
        _ => None,
    }
}

/// All there is, for who missed something.
fn everything(db: &Connection) -> Result<Vec<(i64, Change)>, StoreError> {
    let seq = last(db)?;
    let mut changes = vec![(seq, Change::Keys), (seq, Change::Claims)];
    let mut users = db.prepare_cached("SELECT id FROM users")?;
    for id in users.query_map([], |row| row.get::<_, UserId>(0))? {
        changes.push((seq, Change::User(id?)));
    }
    let mut sessions = db.prepare_cached("SELECT sid FROM sessions")?;
    for sid in sessions.query_map([], |row| row.get::<_, Digest>(0))? {
        changes.push((seq, Change::Session(sid?)));
    }
    Ok(changes)
}

/// The last number given.
pub(super) fn last(db: &Connection) -> Result<i64, StoreError> {
    let seq = db
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'changes'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(seq.unwrap_or(0))
}

/// Throws the oldest away.
pub(super) fn sweep(db: &Connection) -> Result<(), StoreError> {
    let last = last(db)?;
    db.prepare_cached("DELETE FROM changes WHERE seq <= ?1")?
        .execute([last.saturating_sub(KEPT)])?;
    Ok(())
}
