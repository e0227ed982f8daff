//! Tells when a file or a folder changed: by the kernel's notes on its folder (so that a
//! rename over it is seen), and by looking every two seconds (so that a file mounted into a
//! container, a network disk or a lost note is seen too).

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// How long nothing may happen before a change counts as done.
const QUIET: Duration = Duration::from_millis(200);
/// How long a change that never comes to rest is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the paths are looked at without being asked.
const LOOK: Duration = Duration::from_secs(2);

/// Watches until it is dropped.
#[derive(Debug)]
pub struct ConfigWatch {
    notes: Sender<Note>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Note {
    Stirred,
    Stop,
}

impl ConfigWatch {
    /// Watches `paths` (files, or folders with what lies directly in them; they need not
    /// exist yet) on a thread of its own, which calls `on_change` with those that changed.
    /// `on_change` may block; what changes meanwhile is told afterwards.
    pub fn start(
        paths: &[PathBuf],
        on_change: impl FnMut(&[PathBuf]) + Send + 'static,
    ) -> io::Result<Self> {
        let (notes, inbox) = mpsc::channel();
        let watcher = watcher(paths, notes.clone());
        // Seen before this returns: whatever changes from here on is told.
        let seen = paths.iter().map(|it| (it.clone(), look_at(it))).collect();
        let thread = thread::Builder::new()
            .name("config-watch".to_owned())
            .spawn(move || {
                watch(&inbox, seen, on_change);
                drop(watcher);
            })?;
        Ok(Self {
            notes,
            thread: Some(thread),
        })
    }
}

impl Drop for ConfigWatch {
    fn drop(&mut self) {
        let _ = self.notes.send(Note::Stop);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// The kernel's notes, as far as they are to be had.
fn watcher(paths: &[PathBuf], notes: Sender<Note>) -> Option<RecommendedWatcher> {
    let stir = move |event: notify::Result<notify::Event>| {
        // Reading a file beside ours is no change; and on a busy folder there is a lot of it.
        if !event.is_ok_and(|it| it.kind.is_access()) {
            let _ = notes.send(Note::Stirred);
        }
    };
    let mut watcher = notify::recommended_watcher(stir)
        .inspect_err(|error| tracing::warn!(%error, "files are looked at every two seconds only"))
        .ok()?;
    for path in paths {
        let parent = path.parent().map(|it| {
            let here = it.as_os_str().is_empty();
            if here { Path::new(".") } else { it }
        });
        for folder in [Some(path.as_path()), parent].into_iter().flatten() {
            // What cannot be watched is looked at.
            if folder.is_dir() {
                let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
            }
        }
    }
    Some(watcher)
}

fn watch(
    inbox: &Receiver<Note>,
    mut seen: BTreeMap<PathBuf, Look>,
    mut on_change: impl FnMut(&[PathBuf]),
) {
    loop {
        match inbox.recv_timeout(LOOK) {
            Ok(Note::Stirred) => {
                if !comes_to_rest(inbox) {
                    return;
                }
            }
            Ok(Note::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => (),
        }
        let mut changed = Vec::new();
        for (path, before) in &mut seen {
            let now = look_at(path);
            if now != *before {
                *before = now;
                changed.push(path.clone());
            }
        }
        if !changed.is_empty() {
            on_change(&changed);
        }
    }
}

/// Waits until nothing stirs any more; `false`: told to stop meanwhile.
fn comes_to_rest(inbox: &Receiver<Note>) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match inbox.recv_timeout(QUIET) {
            Ok(Note::Stirred) => (),
            Ok(Note::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
    true
}

/// What a path looks like from outside: what changes when what it holds changes.
type Look = BTreeMap<PathBuf, Mark>;
type Mark = (u64, u64, u64, i64, i64, i64, i64);

fn look_at(path: &Path) -> Look {
    let mut look = Look::new();
    let Ok(own) = fs::metadata(path) else {
        return look;
    };
    if own.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            if let Ok(it) = fs::metadata(entry.path()) {
                look.insert(entry.path(), mark(&it));
            }
        }
    }
    look.insert(path.to_path_buf(), mark(&own));
    look
}

fn mark(of: &Metadata) -> Mark {
    (
        of.dev(),
        of.ino(),
        of.size(),
        of.mtime(),
        of.mtime_nsec(),
        of.ctime(),
        of.ctime_nsec(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn watched(paths: &[PathBuf]) -> (ConfigWatch, Receiver<Vec<PathBuf>>) {
        let (tell, told) = mpsc::channel();
        let watch = ConfigWatch::start(paths, move |it| {
            let _ = tell.send(it.to_vec());
        });
        (watch.unwrap(), told)
    }

    #[test]
    fn a_write_a_rename_over_and_a_new_certificate_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("portcullis.toml");
        let certs = folder.path().join("certs");
        fs::write(&file, "a").unwrap();
        fs::create_dir(&certs).unwrap();
        let (_watch, told) = watched(&[file.clone(), certs.clone()]);

        fs::write(&file, "b").unwrap();
        assert_eq!(
            told.recv_timeout(LONG).unwrap(),
            std::slice::from_ref(&file)
        );

        let beside = folder.path().join("new");
        fs::write(&beside, "c").unwrap();
        fs::rename(&beside, &file).unwrap();
        assert_eq!(
            told.recv_timeout(LONG).unwrap(),
            std::slice::from_ref(&file)
        );

        fs::write(certs.join("a.crt"), "x").unwrap();
        assert_eq!(told.recv_timeout(LONG).unwrap(), [certs]);

        fs::remove_file(&file).unwrap();
        assert_eq!(told.recv_timeout(LONG).unwrap(), [file]);
    }

    #[test]
    fn a_folder_that_comes_later_is_told_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("not/yet/portcullis.toml");
        let (_watch, told) = watched(std::slice::from_ref(&file));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "a").unwrap();
        assert_eq!(told.recv_timeout(LONG).unwrap(), [file]);
    }

    #[test]
    fn dropping_it_ends_its_thread() {
        let (watch, told) = watched(&[PathBuf::from("/nowhere")]);
        drop(watch);
        assert_eq!(told.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    }
}
