//! Recovery codes, by digest, and what people are to be told when they next sign in.

use rusqlite::{Connection, params};

use crate::{
    clock::Timestamp,
    name::UserId,
    store::{Digest, StoreError},
};

/// Puts `codes` in the place of all that the user had.
pub(super) fn put(db: &Connection, user: &UserId, codes: &[Digest]) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM recovery_codes WHERE user_id = ?1")?
        .execute([user])?;
    let mut insert =
        db.prepare_cached("INSERT INTO recovery_codes (user_id, code) VALUES (?1, ?2)")?;
    for code in codes {
        insert.execute(params![user, code])?;
    }
    Ok(())
}

/// Uses one up: how many are left, or `None` where it is not there (any more).
pub(super) fn take(
    db: &Connection,
    user: &UserId,
    code: &Digest,
) -> Result<Option<u32>, StoreError> {
    let taken = db
        .prepare_cached("DELETE FROM recovery_codes WHERE user_id = ?1 AND code = ?2")?
        .execute(params![user, code])?;
    if taken == 0 {
        return Ok(None);
    }
    left(db, user).map(Some)
}

pub(super) fn left(db: &Connection, user: &UserId) -> Result<u32, StoreError> {
    let left = db
        .prepare_cached("SELECT count(*) FROM recovery_codes WHERE user_id = ?1")?
        .query_row([user], |row| row.get(0))?;
    Ok(left)
}

/// Something to tell a user; once, however often it happened meanwhile.
pub(super) fn put_notice(
    db: &Connection,
    user: &UserId,
    what: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO user_notices (user_id, what, at) VALUES (?1, ?2, ?3)
         ON CONFLICT (user_id, what) DO UPDATE SET at = excluded.at",
    )?
    .execute(params![user, what, at])?;
    Ok(())
}

pub(super) fn notices(
    db: &Connection,
    user: &UserId,
) -> Result<Vec<(String, Timestamp)>, StoreError> {
    let mut select = db
        .prepare_cached("SELECT what, at FROM user_notices WHERE user_id = ?1 ORDER BY at, what")?;
    let found = select
        .query_map([user], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

pub(super) fn clear_notices(db: &Connection, user: &UserId) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM user_notices WHERE user_id = ?1")?
        .execute([user])?;
    Ok(())
}
