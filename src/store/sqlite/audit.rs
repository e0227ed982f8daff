//! Audit events: only ever added. Triggers see to it that none is changed, and that none goes
//! before its time.

use rusqlite::{Connection, Row, named_params, params, types::Type};

use crate::{
    clock::Timestamp,
    store::{AUDIT_KEPT, AUDIT_LEAST, AuditFilter, StoreError},
    telemetry::audit::{Actor, Event},
};

pub(super) fn append(db: &Connection, event: &Event) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO audit (at, what, user_id, user_name, by, address, device, details)
         VALUES (:at, :what, :user, :name, :by, :address, :device, :details)",
    )?
    .execute(named_params! {
        ":at": event.at,
        ":what": event.what,
        ":user": event.user,
        ":name": event.name,
        ":by": event.actor.by,
        ":address": event.actor.address.map(|it| it.to_string()).unwrap_or_default(),
        ":device": event.actor.device,
        ":details": serde_json::Value::Object(event.details.clone()).to_string(),
    })?;
    Ok(())
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let details: String = row.get(7)?;
    let details = serde_json::from_str(&details)
        .map_err(|it| rusqlite::Error::FromSqlConversionFailure(7, Type::Text, Box::new(it)))?;
    Ok(Event {
        at: row.get(0)?,
        what: row.get(1)?,
        user: row.get(2)?,
        name: row.get(3)?,
        actor: Actor {
            by: row.get(4)?,
            address: row.get::<_, String>(5)?.parse().ok(),
            device: row.get(6)?,
        },
        details,
    })
}

/// The newest that fit, oldest first.
pub(super) fn read(db: &Connection, filter: &AuditFilter) -> Result<Vec<Event>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT at, what, user_id, user_name, by, address, device, details FROM audit
         WHERE (:user IS NULL OR user_id = :user) AND at >= :since
         ORDER BY seq DESC LIMIT :most",
    )?;
    let mut events: Vec<Event> = select
        .query_map(
            named_params! {
                ":user": filter.user,
                ":since": filter.since,
                ":most": i64::try_from(filter.most).unwrap_or(i64::MAX),
            },
            event,
        )?
        .collect::<Result<_, _>>()?;
    events.reverse();
    Ok(events)
}

/// Lets go of what is older than it is kept.
pub(super) fn sweep(db: &Connection, now: Timestamp) -> Result<(), StoreError> {
    // The newest event holds it back: a clock that runs wild takes nothing recent away.
    let newest: Option<Timestamp> = db
        .prepare_cached("SELECT max(at) FROM audit")?
        .query_row([], |row| row.get(0))?;
    let Some(newest) = newest else { return Ok(()) };
    let before = now.minus(AUDIT_KEPT).min(newest.minus(AUDIT_LEAST));
    db.prepare_cached("UPDATE audit_horizon SET before = ?1 WHERE before < ?1")?
        .execute([before])?;
    db.prepare_cached("DELETE FROM audit WHERE at < (SELECT before FROM audit_horizon)")?
        .execute(params![])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{
        super::{Store as _, together},
        SqliteStore,
        verb_tests::{NOW, later, person},
    };
    use super::*;
    use crate::telemetry::audit::What;

    fn open() -> (tempfile::TempDir, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("p.db"), NOW).unwrap();
        (folder, store)
    }

    fn said(at: Timestamp) -> Event {
        Event::new(What::UserAdded, at, Actor::operator())
            .about(&"id-alice".into(), &person("alice").name)
            .with("why", "a test")
    }

    #[test]
    fn an_event_is_read_as_it_was_written_and_found_by_user_and_time() {
        let (_folder, mut store) = open();
        store.append_audit(&said(NOW)).unwrap();
        store.append_audit(&said(later(60))).unwrap();
        let other = Event::new(What::ConfigReloaded, later(70), Actor::gateway());
        store.append_audit(&other).unwrap();
        let all = store.audit(&AuditFilter::default()).unwrap();
        assert_eq!(all, [said(NOW), said(later(60)), other]);
        let hers = AuditFilter {
            user: Some("id-alice".into()),
            since: later(1),
            ..AuditFilter::default()
        };
        assert_eq!(store.audit(&hers).unwrap(), [said(later(60))]);
    }

    #[test]
    fn nobody_changes_an_event_or_takes_one_away_before_its_time() {
        let (_folder, mut store) = open();
        store.append_audit(&said(NOW)).unwrap();
        for sql in [
            "UPDATE audit SET what = 'x'",
            "DELETE FROM audit",
            "INSERT OR REPLACE INTO audit SELECT * FROM audit",
            "UPDATE audit_horizon SET before = 9000000000000000",
            "DELETE FROM audit_horizon",
            "INSERT INTO audit_horizon VALUES (2, 9000000000000000)",
        ] {
            let error = store.db.execute(sql, []).unwrap_err();
            assert!(error.to_string().contains("audit"), "{sql}: {error}");
        }
        store.sweep(NOW.plus(AUDIT_KEPT)).unwrap();
        let day = std::time::Duration::from_hours(24);
        store.sweep(NOW.plus(AUDIT_KEPT).plus(day)).unwrap();
        assert_eq!(store.audit(&AuditFilter::default()).unwrap(), [said(NOW)]);
        let fresh = NOW.plus(AUDIT_KEPT).plus(day);
        store.append_audit(&said(fresh)).unwrap();
        store.sweep(fresh).unwrap();
        assert_eq!(store.audit(&AuditFilter::default()).unwrap(), [said(fresh)]);
    }

    #[test]
    fn what_belongs_together_is_written_together_or_not_at_all() {
        let (_folder, mut store) = open();
        let failed = together(&mut store, "test", |store| {
            store.add_user(&person("alice"))?;
            store.append_audit(&said(NOW))?;
            Err::<(), _>(StoreError::NotFound)
        });
        assert!(matches!(failed, Err(StoreError::NotFound)));
        assert!(store.users().unwrap().is_empty());
        assert!(store.audit(&AuditFilter::default()).unwrap().is_empty());
        let done = together(&mut store, "test", |store| {
            store.add_user(&person("alice"))?;
            // One inside another is a part of it.
            together(store, "inner", |store| store.append_audit(&said(NOW)))?;
            Ok(7)
        });
        assert_eq!(done.unwrap(), 7);
        assert_eq!(store.users().unwrap().len(), 1);
        assert_eq!(store.audit(&AuditFilter::default()).unwrap().len(), 1);
    }
}
