//! People and their one-time links.

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, named_params, params};

use super::{changes::append, columns, credentials, sessions};
use crate::{
    clock::Timestamp,
    name::{UserId, UserName},
    store::{Change, Digest, LinkRecord, StoreError, UserChange, UserRecord},
};

const COLUMNS: &str = "id, name, email, display_name, group_names, disabled, password_hash, \
                       totp_sealed, totp_last_step, created, \
                       (SELECT count(*) FROM credentials WHERE user_id = users.id)";

fn record(row: &Row<'_>) -> rusqlite::Result<UserRecord> {
    Ok(UserRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        email: row.get(2)?,
        display_name: row.get(3)?,
        groups: row.get::<_, columns::Names>(4)?.0,
        disabled: row.get(5)?,
        password_hash: row.get(6)?,
        totp_sealed: row.get(7)?,
        totp_last_step: row.get(8)?,
        created: row.get(9)?,
        keys: row.get(10)?,
    })
}

pub(super) fn add(db: &Connection, user: &UserRecord) -> Result<(), StoreError> {
    let taken = db
        .prepare_cached("SELECT 1 FROM users WHERE name_key = ?1 OR id = ?2")?
        .exists(params![user.name.key(), user.id])?;
    if taken {
        return Err(StoreError::Conflict);
    }
    db.prepare_cached(
        "INSERT INTO users (id, name, name_key, email, display_name, group_names, disabled,
             password_hash, totp_sealed, totp_last_step, created)
         VALUES (:id, :name, :key, :email, :display_name, :groups, :disabled,
             :password_hash, :totp_sealed, :totp_last_step, :created)",
    )?
    .execute(named_params! {
        ":id": user.id,
        ":name": user.name,
        ":key": user.name.key(),
        ":email": user.email,
        ":display_name": user.display_name,
        ":groups": columns::join(&user.groups),
        ":disabled": user.disabled,
        ":password_hash": user.password_hash,
        ":totp_sealed": user.totp_sealed,
        ":totp_last_step": user.totp_last_step,
        ":created": user.created,
    })?;
    append(db, &Change::User(user.id.clone()))?;
    Ok(())
}

pub(super) fn by_name(db: &Connection, name: &UserName) -> Result<Option<UserRecord>, StoreError> {
    let user = db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE name_key = ?1"))?
        .query_row([name.key()], record)
        .optional()?;
    Ok(user)
}

pub(super) fn by_id(db: &Connection, id: &UserId) -> Result<Option<UserRecord>, StoreError> {
    let user = db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE id = ?1"))?
        .query_row([id], record)
        .optional()?;
    Ok(user)
}

pub(super) fn all(db: &Connection) -> Result<Vec<UserRecord>, StoreError> {
    let mut select =
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM users ORDER BY name_key"))?;
    let users = select.query_map([], record)?.collect::<Result<_, _>>()?;
    Ok(users)
}

/// One statement on one user, which must be there.
fn update(db: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<(), StoreError> {
    match db.prepare_cached(sql)?.execute(values)? {
        0 => Err(StoreError::NotFound),
        _ => Ok(()),
    }
}

pub(super) fn change(db: &Connection, id: &UserId, change: &UserChange) -> Result<(), StoreError> {
    match change {
        UserChange::Profile {
            email,
            display_name,
            groups,
        } => update(
            db,
            "UPDATE users SET email = ?2, display_name = ?3, group_names = ?4 WHERE id = ?1",
            &[id, email, display_name, &columns::join(groups)],
        ),
        UserChange::Password(hash) => update(
            db,
            "UPDATE users SET password_hash = ?2 WHERE id = ?1",
            &[id, hash],
        ),
        UserChange::Totp(sealed, step) => update(
            db,
            "UPDATE users SET totp_sealed = ?2, totp_last_step = ?3 WHERE id = ?1",
            &[id, sealed, step],
        ),
        UserChange::NoKeys => credentials::forget(db, id),
        UserChange::Disabled(disabled) => update(
            db,
            "UPDATE users SET disabled = ?2 WHERE id = ?1",
            &[id, disabled],
        ),
    }?;
    append(db, &Change::User(id.clone()))?;
    Ok(())
}

pub(super) fn change_credentials(
    db: &Connection,
    id: &UserId,
    changes: &[UserChange],
    reason: &str,
    now: Timestamp,
) -> Result<usize, StoreError> {
    for it in changes {
        change(db, id, it)?;
    }
    sessions::end_of_user(db, id, reason, None, now)
}

pub(super) fn rehash(db: &Connection, id: &UserId, old: &str, new: &str) -> Result<(), StoreError> {
    let changed = db
        .prepare_cached("UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2")?
        .execute(params![id, old, new])?;
    if changed > 0 {
        append(db, &Change::User(id.clone()))?;
    }
    Ok(())
}

pub(super) fn remove(db: &Connection, id: &UserId, now: Timestamp) -> Result<(), StoreError> {
    update(db, "DELETE FROM users WHERE id = ?1", &[id])?;
    append(db, &Change::User(id.clone()))?;
    sessions::end_of_user(db, id, "disabled", None, now)?;
    Ok(())
}

pub(super) fn take_totp_step(db: &Connection, id: &UserId, step: i64) -> Result<bool, StoreError> {
    let changed = db
        .prepare_cached(
            "UPDATE users SET totp_last_step = ?2 WHERE id = ?1 AND totp_last_step < ?2",
        )?
        .execute(params![id, step])?;
    if changed > 0 {
        append(db, &Change::User(id.clone()))?;
    }
    Ok(changed > 0)
}

pub(super) fn put_link(
    db: &Connection,
    link: &Digest,
    record: &LinkRecord,
) -> Result<(), StoreError> {
    if by_id(db, &record.user)?.is_none() {
        return Err(StoreError::NotFound);
    }
    forget_links(db, &record.user)?;
    db.prepare_cached(
        "INSERT INTO links (id, user_id, expires, enrol_totp) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        link,
        record.user,
        record.expires,
        record.enrol_totp
    ])?;
    Ok(())
}

pub(super) fn link(
    db: &Connection,
    link: &Digest,
    now: Timestamp,
) -> Result<Option<LinkRecord>, StoreError> {
    let record = db
        .prepare_cached(
            "SELECT user_id, expires, enrol_totp FROM links WHERE id = ?1 AND expires > ?2",
        )?
        .query_row(params![link, now], |row| {
            Ok(LinkRecord {
                user: row.get(0)?,
                expires: row.get(1)?,
                enrol_totp: row.get(2)?,
            })
        })
        .optional()?;
    Ok(record)
}

fn forget_links(db: &Connection, user: &UserId) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM links WHERE user_id = ?1")?
        .execute([user])?;
    Ok(())
}

pub(super) fn complete_setup(
    db: &Connection,
    id: &Digest,
    password_hash: &str,
    totp: Option<(&[u8], i64)>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(record) = link(db, id, now)? else {
        return Ok(false);
    };
    forget_links(db, &record.user)?;
    change(
        db,
        &record.user,
        &UserChange::Password(Some(password_hash.to_owned())),
    )?;
    if let Some((sealed, step)) = totp {
        change(
            db,
            &record.user,
            &UserChange::Totp(Some(sealed.to_vec()), step),
        )?;
    }
    sessions::end_of_user(db, &record.user, "credentials", None, now)?;
    Ok(true)
}
