//! What is done now and then: expiry, and telling the store of uses and of ends that it missed.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{Cell, Ended, Sessions, ending::owe};
use crate::{
    clock::Timestamp,
    store::{Store, StoreError},
};

/// How long an ended cell is remembered, so that late comers are told why.
const REMEMBERED: Duration = Duration::from_mins(10);

/// How many sessions are written in one job of the store.
const BATCH: usize = 128;

impl Sessions {
    /// Notes that somebody used the login; call it after [`Cell::check`] let them.
    pub fn touch(&self, cell: &Cell, now: Timestamp) {
        if cell.ended().is_none() {
            cell.touch(self.idle(), now);
        }
    }

    /// Extends a login by use, on the way of a token's renewal. `Err`: it is over.
    pub fn renew(&self, cell: &Cell, now: Timestamp) -> Result<(), Ended> {
        cell.check(now)?;
        self.touch(cell, now);
        Ok(())
    }

    /// Flips what has expired, forgets what ended long ago. Every 250 ms.
    pub fn sweep(&self, now: Timestamp) {
        let cells = self.cells.pin();
        for (sid, cell) in &cells {
            if cell.ended().is_none() {
                if let Err(why) = cell.check(now) {
                    owe(cell, why);
                }
            } else if !cell.owed.load(Ordering::Acquire)
                && now > cell.last_used().plus(REMEMBERED).plus(self.idle())
            {
                cells.remove(sid);
            }
        }
    }

    /// Tells the store of what was used and of ends that it does not know yet. Every few
    /// seconds, and before closing. On an error the rest is tried again next time.
    pub async fn flush(self: &Arc<Self>) -> Result<usize, StoreError> {
        let due: Vec<_> = {
            let cells = self.cells.pin();
            cells.values().filter(|it| is_due(it)).cloned().collect()
        };
        for batch in due.chunks(BATCH) {
            let (sessions, batch) = (Arc::clone(self), batch.to_vec());
            self.store
                .call(move |store| sessions.write_all(store, &batch))
                .await?;
        }
        Ok(due.len())
    }

    /// Writes the news of some cells: uses in one transaction. On the store's thread.
    fn write_all(&self, store: &mut dyn Store, cells: &[Arc<Cell>]) -> Result<(), StoreError> {
        for cell in cells {
            self.write_ends(store, cell)?;
        }
        let used: Vec<_> = cells
            .iter()
            .filter(|it| it.ended().is_none() && it.used.swap(false, Ordering::AcqRel))
            .collect();
        let extensions: Vec<_> = used
            .iter()
            .map(|it| (it.sid, it.idle_expires(), it.last_used()))
            .collect();
        match store.extend_sessions(&extensions) {
            Ok(over) => over.iter().try_for_each(|it| self.read(store, it)),
            Err(error) => {
                for cell in used {
                    cell.used.store(true, Ordering::Release);
                }
                Err(error)
            }
        }
    }

    /// Writes the tombstones that one cell owes. On the store's thread.
    pub(super) fn write_ends(&self, store: &mut dyn Store, cell: &Cell) -> Result<(), StoreError> {
        if let Some(why) = cell.ended() {
            if cell.owed.load(Ordering::Acquire) {
                store.end_session(&cell.sid, why.as_str(), self.clock.now())?;
                cell.owed.store(false, Ordering::Release);
            }
            return Ok(());
        }
        for grant in &cell.standing.load().grants {
            if grant.owed.load(Ordering::Acquire) {
                store.end_grant(&cell.sid, &grant.host)?;
                grant.owed.store(false, Ordering::Release);
            }
        }
        Ok(())
    }
}

fn is_due(cell: &Cell) -> bool {
    if cell.ended().is_some() {
        return cell.owed.load(Ordering::Acquire);
    }
    cell.used.load(Ordering::Acquire)
        || cell
            .standing
            .load()
            .grants
            .iter()
            .any(|it| it.owed.load(Ordering::Acquire))
}
