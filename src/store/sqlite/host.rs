//! One file, one host. `SQLite`'s locks and its shared memory reach no further than a kernel;
//! two hosts on one file would each believe that they are alone.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, store::StoreError};

/// A host that has not said that it is there for so long is taken to be gone.
const STALE: Duration = Duration::from_mins(1);

const NOTE: &str = "host";

/// File systems that reach over a network, by their magic numbers: NFS, SMB, CIFS, SMB 2 and 3,
/// AFS, Ceph, Coda, Lustre, GPFS, OCFS2, GFS2.
const NETWORKED: [u64; 11] = [
    0x6969,
    0x517B,
    0xFF53_4D42,
    0xFE53_4D42,
    0x5346_414F,
    0x00C3_6400,
    0x7375_7245,
    0x0BD0_0BD0,
    0x4750_4653,
    0x7461_636F,
    0x0116_1970,
];

/// This host, as it writes itself down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Host {
    /// The kernel's boot id: the same in every container of one host.
    boot: String,
    /// `/etc/machine-id`: the same after a reboot. May be empty.
    machine: String,
    /// Its name, for people, and to know a container again after a reboot.
    name: String,
    /// The process that wrote.
    pid: u32,
    /// When it wrote, in milliseconds.
    beat: Timestamp,
}

impl Host {
    /// The one that we run on.
    pub(super) fn this() -> Self {
        let read = |path: &str| {
            std::fs::read_to_string(path)
                .map(|it| it.trim().to_owned())
                .unwrap_or_default()
        };
        Self {
            boot: read("/proc/sys/kernel/random/boot_id"),
            machine: read("/etc/machine-id"),
            name: read("/proc/sys/kernel/hostname"),
            pid: std::process::id(),
            beat: Timestamp(0),
        }
    }

    /// Whether the other is the same machine, rebooted perhaps.
    fn is(&self, other: &Self) -> bool {
        if self.boot == other.boot {
            return true;
        }
        if self.machine.is_empty() && other.machine.is_empty() {
            return self.name == other.name;
        }
        self.machine == other.machine
    }

    /// Says that this host uses the store; refuses when another does.
    pub(super) fn beat(&self, db: &Connection, now: Timestamp) -> Result<(), StoreError> {
        if let Some(other) = written(db)?
            && !self.is(&other)
            && other.beat.plus(STALE) > now
        {
            return Err(StoreError::Unusable(format!(
                "another host ({}) is using this database; one SQLite file serves one host (use \
                 Redis for several). If it no longer runs, try again in {} s",
                other.name,
                STALE.as_secs()
            )));
        }
        let note = Self {
            beat: now,
            ..self.clone()
        };
        let value = serde_json::to_vec(&note)
            .map_err(|it| StoreError::Unusable(format!("the host's note: {it}")))?;
        db.prepare_cached("INSERT OR REPLACE INTO notes (name, value) VALUES (?1, ?2)")?
            .execute(params![NOTE, value])?;
        Ok(())
    }

    /// Takes the note away again, if it is this process's.
    pub(super) fn leave(&self, db: &Connection) -> Result<(), StoreError> {
        let ours = written(db)?.is_some_and(|it| it.boot == self.boot && it.pid == self.pid);
        if ours {
            db.execute("DELETE FROM notes WHERE name = ?1", [NOTE])?;
        }
        Ok(())
    }
}

fn written(db: &Connection) -> Result<Option<Host>, StoreError> {
    let note: Option<Vec<u8>> = db
        .prepare_cached("SELECT value FROM notes WHERE name = ?1")?
        .query_row([NOTE], |row| row.get(0))
        .optional()?;
    // A note that we cannot read says nothing that we could act on.
    Ok(note.and_then(|it| serde_json::from_slice(&it).ok()))
}

/// Refuses a folder on a network file system.
pub(super) fn refuse_network(folder: &Path) -> Result<(), StoreError> {
    let Ok(found) = rustix::fs::statfs(folder) else {
        return Ok(());
    };
    let magic = u64::try_from(found.f_type).unwrap_or(0) & 0xFFFF_FFFF;
    if NETWORKED.contains(&magic) {
        return Err(StoreError::Unusable(format!(
            "{} is on a network file system, where SQLite is not safe: put the database on a \
             local disk",
            folder.display()
        )));
    }
    Ok(())
}
