//! Failures, counted. Each one opens the window anew: a lock lasts its whole time from the
//! last failure that was counted.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{clock::Timestamp, store::StoreError};

pub(super) fn count(
    db: &Connection,
    key: &str,
    now: Timestamp,
    window_secs: i64,
) -> Result<u32, StoreError> {
    let window = Duration::from_secs(u64::try_from(window_secs).unwrap_or(0));
    let count = db
        .prepare_cached(
            "INSERT INTO failures (key, count, ends) VALUES (?1, 1, ?3)
             ON CONFLICT (key) DO UPDATE
             SET count = iif(ends > ?2, count + 1, 1), ends = ?3
             RETURNING count",
        )?
        .query_row(params![key, now, now.plus(window)], |row| row.get(0))?;
    Ok(count)
}

pub(super) fn look(
    db: &Connection,
    key: &str,
    now: Timestamp,
) -> Result<(u32, Timestamp), StoreError> {
    let found = db
        .prepare_cached("SELECT count, ends FROM failures WHERE key = ?1 AND ends > ?2")?
        .query_row(params![key, now], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.unwrap_or((0, now)))
}

pub(super) fn all(
    db: &Connection,
    now: Timestamp,
) -> Result<Vec<(String, u32, Timestamp)>, StoreError> {
    let mut select =
        db.prepare_cached("SELECT key, count, ends FROM failures WHERE ends > ?1 ORDER BY key")?;
    let found = select
        .query_map([now], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

pub(super) fn clear(db: &Connection, key: &str) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM failures WHERE key = ?1")?
        .execute([key])?;
    Ok(())
}
