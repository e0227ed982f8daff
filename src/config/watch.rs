//! Tells when a file or a folder changed: by the kernel's notes on its folder (so that a
//! rename over it is seen), and by looking every two seconds (so that a file mounted into a
//! container, a network disk or a lost note is seen too).

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, Reader, WatchFlags},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};

/// How long nothing may happen before a change counts as done.
const QUIET: Duration = Duration::from_millis(200);
/// How long a change that never comes to rest is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the paths are looked at without being asked.
const LOOK: Duration = Duration::from_secs(2);
/// What is a change. Reading a file beside ours is none, and on a busy folder there is a lot of
/// it: the kernel is not even to wake us for it.
const CHANGES: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Watches until it is dropped.
#[derive(Debug)]
pub struct ConfigWatch {
    /// Closed to stop the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl ConfigWatch {
    /// Watches `paths` (files, or folders with what lies directly in them; they need not
    /// exist yet) on a thread of its own, which calls `on_change` with those that changed.
    /// `on_change` may block; what changes meanwhile is told afterwards.
    pub fn start(
        paths: &[PathBuf],
        on_change: impl FnMut(&[PathBuf]) + Send + 'static,
    ) -> io::Result<Self> {
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let notes = Notes {
            folders: watcher(paths),
            stopped,
        };
        // Seen before this returns: whatever changes from here on is told.
        let seen = paths.iter().map(|it| (it.clone(), look_at(it))).collect();
        let thread = thread::Builder::new()
            .name("config-watch".to_owned())
            .spawn(move || watch(&notes, seen, on_change))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for ConfigWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// The kernel's notes, as far as they are to be had.
fn watcher(paths: &[PathBuf]) -> Option<OwnedFd> {
    let watcher = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .inspect_err(|error| tracing::warn!(%error, "files are looked at every two seconds only"))
        .ok()?;
    for path in paths {
        let parent = path.parent().map(|it| {
            let here = it.as_os_str().is_empty();
            if here { Path::new(".") } else { it }
        });
        for folder in [Some(path.as_path()), parent].into_iter().flatten() {
            // What cannot be watched is looked at.
            let _ = inotify::add_watch(&watcher, folder, CHANGES);
        }
    }
    Some(watcher)
}

/// Where it is told that something happened.
struct Notes {
    folders: Option<OwnedFd>,
    /// The end of a pipe; readable once the other end is closed.
    stopped: OwnedFd,
}

/// What waiting for notes came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    Stirred,
    Nothing,
    Stop,
}

impl Notes {
    /// Waits for the next note, at most for `patience`.
    fn next(&self, patience: Duration) -> Note {
        let mut wanted = vec![PollFd::new(&self.stopped, PollFlags::IN)];
        wanted.extend(self.folders.iter().map(|it| PollFd::new(it, PollFlags::IN)));
        let patience = Timespec::try_from(patience).ok();
        match poll(&mut wanted, patience.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Note::Nothing,
            Ok(_) => (),
            Err(_) => return Note::Stop,
        }
        if wanted.first().is_some_and(|it| !it.revents().is_empty()) {
            return Note::Stop;
        }
        self.take_away();
        Note::Stirred
    }

    /// What exactly happened does not matter: the paths are looked at.
    fn take_away(&self) {
        if let Some(folders) = &self.folders {
            let mut room = [MaybeUninit::uninit(); 4096];
            let mut reader = Reader::new(folders, &mut room);
            while reader.next().is_ok() {}
        }
    }
}

fn watch(notes: &Notes, mut seen: BTreeMap<PathBuf, Look>, mut on_change: impl FnMut(&[PathBuf])) {
    loop {
        match notes.next(LOOK) {
            Note::Stirred => {
                if !comes_to_rest(notes) {
                    return;
                }
            }
            Note::Stop => return,
            Note::Nothing => (),
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
fn comes_to_rest(notes: &Notes) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match notes.next(QUIET) {
            Note::Stirred => (),
            Note::Stop => return false,
            Note::Nothing => return true,
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
    use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

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
    fn reading_a_file_beside_ours_wakes_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let beside = folder.path().join("beside");
        fs::write(&beside, "a").unwrap();
        let folders = watcher(&[folder.path().join("portcullis.toml")]);
        let (stopped, _stop) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let notes = Notes { folders, stopped };
        fs::read(&beside).unwrap();
        assert!(notes.next(Duration::ZERO) == Note::Nothing);
        fs::write(&beside, "b").unwrap();
        assert!(notes.next(LONG) == Note::Stirred);
    }

    #[test]
    fn dropping_it_ends_its_thread() {
        let (watch, told) = watched(&[PathBuf::from("/nowhere")]);
        drop(watch);
        assert_eq!(told.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    }
}
