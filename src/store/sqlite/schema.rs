//! The tables, and how they came to be: one step per version, never edited once released.

use rusqlite::{Connection, TransactionBehavior};

use crate::store::StoreError;

/// `PRAGMA application_id`: "Prtc".
const APPLICATION: i32 = 0x5072_7463;

/// Step `n` brings the schema from version `n` to `n + 1`.
const STEPS: [&str; 4] = [
    "
CREATE TABLE users (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL,
    name_key       TEXT NOT NULL UNIQUE,
    email          TEXT NOT NULL,
    display_name   TEXT NOT NULL,
    group_names    TEXT NOT NULL,
    disabled       INTEGER NOT NULL,
    password_hash  TEXT,
    totp_sealed    BLOB,
    totp_last_step INTEGER NOT NULL,
    created        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE links (
    id         BLOB PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires    INTEGER NOT NULL,
    enrol_totp INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_user ON links (user_id);

CREATE TABLE failures (
    key   TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    ends  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX failures_by_end ON failures (ends);

-- No reference to users: a tombstone outlives its user.
CREATE TABLE sessions (
    sid          BLOB PRIMARY KEY,
    user_id      TEXT NOT NULL,
    device       BLOB NOT NULL,
    amr          TEXT NOT NULL,
    level        INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    auth_time    INTEGER NOT NULL,
    created      INTEGER NOT NULL,
    idle_expires INTEGER NOT NULL,
    login_exp    INTEGER NOT NULL,
    last_used    INTEGER NOT NULL,
    address      TEXT NOT NULL,
    agent        TEXT NOT NULL,
    confined_to  TEXT,
    ended_reason TEXT,
    ended_at     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_end ON sessions (login_exp);

CREATE TABLE grants (
    sid    BLOB NOT NULL REFERENCES sessions (sid) ON DELETE CASCADE,
    host   TEXT NOT NULL,
    tenant TEXT NOT NULL,
    ended  INTEGER NOT NULL,
    PRIMARY KEY (sid, host)
) STRICT, WITHOUT ROWID;

CREATE TABLE tickets (
    id        BLOB PRIMARY KEY,
    sid       BLOB NOT NULL,
    host      TEXT NOT NULL,
    tenant    TEXT NOT NULL,
    challenge TEXT NOT NULL,
    expires   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id      TEXT PRIMARY KEY,
    kind    TEXT NOT NULL,
    sealed  BLOB NOT NULL,
    created INTEGER NOT NULL,
    retires INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE claims (
    host          TEXT PRIMARY KEY,
    tenant        TEXT NOT NULL UNIQUE,
    owner         TEXT NOT NULL,
    since         INTEGER NOT NULL,
    changed_hands INTEGER NOT NULL,
    released      INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE notes (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a number is never given twice, not even after a sweep.
CREATE TABLE changes (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id   BLOB
) STRICT;
",
    "
CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    what      TEXT NOT NULL,
    user_id   TEXT,
    user_name TEXT,
    by        TEXT NOT NULL,
    address   TEXT NOT NULL,
    device    TEXT NOT NULL,
    details   TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_user ON audit (user_id, seq);
CREATE INDEX audit_by_time ON audit (at);

-- Events before this moment may go; nothing else may. It moves forward only, and stays thirty
-- days (2592000000 ms) behind the newest event.
CREATE TABLE audit_horizon (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    before INTEGER NOT NULL
) STRICT;
INSERT INTO audit_horizon VALUES (1, 0);

CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'audit events never change'); END;
CREATE TRIGGER audit_unreplaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)
BEGIN SELECT raise(ABORT, 'audit events never change'); END;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit
WHEN OLD.at >= (SELECT before FROM audit_horizon)
BEGIN SELECT raise(ABORT, 'audit events are kept until their time'); END;
CREATE TRIGGER audit_horizon_forward BEFORE UPDATE ON audit_horizon
WHEN NEW.before < OLD.before
    OR NEW.before > coalesce((SELECT max(at) FROM audit), 0) - 2592000000
BEGIN SELECT raise(ABORT, 'audit events are kept until their time'); END;
CREATE TRIGGER audit_horizon_one BEFORE INSERT ON audit_horizon
BEGIN SELECT raise(ABORT, 'audit events are kept until their time'); END;
CREATE TRIGGER audit_horizon_stays BEFORE DELETE ON audit_horizon
BEGIN SELECT raise(ABORT, 'audit events are kept until their time'); END;
",
    "
CREATE TABLE recovery_codes (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code    BLOB NOT NULL,
    PRIMARY KEY (user_id, code)
) STRICT, WITHOUT ROWID;

-- What a user is to be told at the next sign-in.
CREATE TABLE user_notices (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    what    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (user_id, what)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE credentials (
    id              BLOB PRIMARY KEY,
    user_id         TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind            TEXT NOT NULL,
    name            TEXT NOT NULL,
    sealed          BLOB NOT NULL,
    counter         INTEGER NOT NULL,
    backup_eligible INTEGER NOT NULL,
    backed_up       INTEGER NOT NULL,
    user_verified   INTEGER NOT NULL,
    created         INTEGER NOT NULL,
    last_used       INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX credentials_by_user ON credentials (user_id);

CREATE TABLE ceremonies (
    id      BLOB PRIMARY KEY,
    purpose TEXT NOT NULL,
    binding BLOB NOT NULL,
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    sealed  BLOB NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ceremonies_by_end ON ceremonies (user_id, expires);
",
];

/// Brings the schema up to this program's version, each step whole or not at all.
pub(super) fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    let target = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    loop {
        // Read inside the transaction: another process may be doing the same.
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > target {
            return Err(StoreError::Unusable(format!(
                "the database has schema version {version}, this program knows {target}: it was \
                 used by a newer portcullis"
            )));
        }
        if version == 0 {
            let application: i32 =
                tx.pragma_query_value(None, "application_id", |row| row.get(0))?;
            let tables: i64 =
                tx.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
            if tables > 0 && application != APPLICATION {
                return Err(StoreError::Unusable(
                    "the database belongs to another program".to_owned(),
                ));
            }
            tx.pragma_update(None, "application_id", APPLICATION)?;
        }
        let Some(step) = usize::try_from(version).ok().and_then(|it| STEPS.get(it)) else {
            return Ok(());
        };
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", version.saturating_add(1))?;
        tx.commit()?;
    }
}
