//! How a command tells running gateways that something changed, and hears that it is applied.
//!
//! Each gateway listens on a socket of its own in `<database>.sock.d/`, a folder for its owner
//! alone. The command writes `apply N`, N the number of its change; the gateway answers `ok N`
//! when everything up to it is applied there.
//!
//! A gateway must listen *before* it reads the store: then a change is either read by it or
//! poked to it.

use std::{
    fs::{self, DirBuilder, Permissions},
    future::Future,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::{DirBuilderExt as _, PermissionsExt as _},
        net::UnixStream as BlockingStream,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    time::timeout,
};

use crate::random;

/// How long a command may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the gateway waits after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// The folder of sockets beside the database at `path`.
fn folder(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sock.d");
    PathBuf::from(name)
}

fn sockets(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries
            .filter_map(Result::ok)
            .map(|it| it.path())
            .filter(|it| it.extension().is_some_and(|it| it == "sock"))
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A gateway's ear. Its socket goes away with it.
#[derive(Debug)]
pub struct Poke {
    listener: UnixListener,
    socket: PathBuf,
}

impl Poke {
    /// Listens beside the database at `path`. Within a tokio runtime.
    pub fn listen(path: &Path) -> io::Result<Self> {
        let folder = folder(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for stale in sockets(&folder)? {
            // Nobody listens behind the socket of a process that was killed.
            if let Err(error) = BlockingStream::connect(&stale)
                && error.kind() == io::ErrorKind::ConnectionRefused
            {
                fs::remove_file(&stale)?;
            }
        }
        // Containers have many a process 1: the number alone is not a name.
        let name = format!("{}-{}", std::process::id(), random::id());
        let socket = folder.join(format!("{name}.sock"));
        let draft = folder.join(format!("{name}.new"));
        let listener = UnixListener::bind(&draft)?;
        // From here on it listens; nobody ever sees a socket that refuses before it does.
        fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
        fs::rename(&draft, &socket)?;
        Ok(Self { listener, socket })
    }

    /// Answers commands for as long as it is polled. `apply(n)` is ready when every change up to
    /// `n` is applied on this gateway, and says whether it is.
    pub async fn serve<F, Fut>(&self, apply: F)
    where
        F: Fn(i64) -> Fut,
        Fut: Future<Output = bool>,
    {
        let mut talks = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => talks.push(talk(stream, &apply)),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a command");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(done) = talks.next(), if !talks.is_empty() => {
                    if let Err(error) = done {
                        tracing::debug!(%error, "a command went away");
                    }
                }
            }
        }
    }
}

impl Drop for Poke {
    fn drop(&mut self) {
        // What stays behind is taken away by the next gateway.
        let _ = fs::remove_file(&self.socket);
    }
}

async fn talk<F, Fut>(mut stream: UnixStream, apply: &F) -> io::Result<()>
where
    F: Fn(i64) -> Fut,
    Fut: Future<Output = bool>,
{
    let mut line = Vec::with_capacity(32);
    let read = async {
        while !line.ends_with(b"\n") && line.len() < 64 {
            if stream.read_buf(&mut line).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    timeout(PATIENCE, read)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    let asked = std::str::from_utf8(&line)
        .ok()
        .and_then(|it| it.trim_end().strip_prefix("apply "))
        .and_then(|it| it.parse().ok());
    let answer = match asked {
        Some(seq) if apply(seq).await => format!("ok {seq}\n"),
        Some(seq) => format!("failed {seq}\n"),
        None => "what?\n".to_owned(),
    };
    timeout(PATIENCE, stream.write_all(answer.as_bytes()))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
}

/// What the running gateways said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// Every one has applied it.
    ByAll,
    /// None runs.
    NobodyRuns,
    /// These processes have not said so.
    NotBy(Vec<u32>),
}

/// Waits until every gateway on the database at `path` has applied everything up to `seq`, for
/// at most `patience` in all. Blocks.
pub fn confirm(path: &Path, seq: i64, patience: Duration) -> io::Result<Confirmed> {
    let deadline = Instant::now() + patience;
    // All are asked before the first is listened to.
    let asked: Vec<(PathBuf, Asked)> = sockets(&folder(path))?
        .into_iter()
        .map(|socket| {
            let asked = ask(&socket, seq, deadline);
            (socket, asked)
        })
        .collect();
    let mut missing = Vec::new();
    let mut applied = false;
    for (socket, asked) in asked {
        match answer(&socket, asked, seq, deadline) {
            Answer::Applied => applied = true,
            Answer::Gone => {}
            Answer::Missing => missing.push(pid(&socket)),
        }
    }
    Ok(if !missing.is_empty() {
        Confirmed::NotBy(missing)
    } else if applied {
        Confirmed::ByAll
    } else {
        Confirmed::NobodyRuns
    })
}

fn pid(socket: &Path) -> u32 {
    socket
        .file_name()
        .and_then(|it| it.to_str())
        .and_then(|it| it.split('-').next())
        .and_then(|it| it.parse().ok())
        .unwrap_or(0)
}

/// The time left, at least a little: a timeout of zero would be an error.
fn left(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

/// A question on its way.
enum Asked {
    Waiting(BlockingStream),
    /// Nobody listens there any more.
    Gone,
    /// There is somebody, and we could not ask.
    Failed,
}

/// What became of it.
enum Answer {
    Applied,
    Gone,
    Missing,
}

fn ask(socket: &Path, seq: i64, deadline: Instant) -> Asked {
    let asked = BlockingStream::connect(socket).and_then(|mut stream| {
        stream.set_write_timeout(Some(left(deadline)))?;
        stream.write_all(format!("apply {seq}\n").as_bytes())?;
        Ok(stream)
    });
    match asked {
        Ok(stream) => Asked::Waiting(stream),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            Asked::Gone
        }
        Err(_) => Asked::Failed,
    }
}

/// Waits for the answer. Who hangs up without one is asked again: a gateway that died in
/// between no longer listens, and one that is gone has nothing left to apply it to.
fn answer(socket: &Path, mut asked: Asked, seq: i64, deadline: Instant) -> Answer {
    loop {
        let stream = match asked {
            Asked::Waiting(stream) => stream,
            Asked::Gone => return Answer::Gone,
            Asked::Failed => return Answer::Missing,
        };
        match heard(stream, deadline) {
            Some(line) if line == format!("ok {seq}\n") => return Answer::Applied,
            Some(line) if line.is_empty() && Instant::now() < deadline => {
                asked = ask(socket, seq, deadline);
            }
            Some(_) | None => return Answer::Missing,
        }
    }
}

/// One line; empty when the other side hung up; `None` when it said nothing in time.
fn heard(stream: BlockingStream, deadline: Instant) -> Option<String> {
    stream.set_read_timeout(Some(left(deadline))).ok()?;
    let mut line = String::new();
    match BufReader::new(stream.take(64)).read_line(&mut line) {
        Ok(_) => Some(line),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Some(String::new()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    async fn confirmed(path: &Path, patience: Duration) -> Confirmed {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || confirm(&path, 7, patience))
            .await
            .unwrap()
            .unwrap()
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_command_returns_when_every_gateway_has_applied_its_change() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("p.db");
        assert_eq!(confirmed(&db, LONG).await, Confirmed::NobodyRuns);
        let first = Poke::listen(&db).unwrap();
        let second = Poke::listen(&db).unwrap();
        let applied = RefCell::new(Vec::new());
        let apply = |seq| {
            applied.borrow_mut().push(seq);
            async { true }
        };
        tokio::select! {
            () = first.serve(apply) => unreachable!(),
            () = second.serve(apply) => unreachable!(),
            it = confirmed(&db, LONG) => assert_eq!(it, Confirmed::ByAll),
        }
        assert_eq!(*applied.borrow(), [7, 7]);
        drop((first, second));
        assert_eq!(confirmed(&db, LONG).await, Confirmed::NobodyRuns);
    }

    #[tokio::test]
    async fn a_gateway_that_does_not_answer_or_could_not_apply_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("p.db");
        let poke = Poke::listen(&db).unwrap();
        let missing = Confirmed::NotBy(vec![std::process::id()]);
        assert_eq!(confirmed(&db, Duration::from_millis(50)).await, missing);
        tokio::select! {
            () = poke.serve(|_| async { false }) => unreachable!(),
            it = confirmed(&db, LONG) => assert_eq!(it, missing),
        }
    }

    #[tokio::test]
    async fn the_socket_of_a_killed_gateway_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("p.db");
        let poke = Poke::listen(&db).unwrap();
        let socket = poke.socket.clone();
        // A second name for it survives, as the file of a killed process does.
        fs::hard_link(&socket, socket.with_file_name("1-dead.sock")).unwrap();
        drop(poke);
        assert_eq!(confirmed(&db, LONG).await, Confirmed::NobodyRuns);
        let _poke = Poke::listen(&db).unwrap();
        assert_eq!(sockets(&super::folder(&db)).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn nobody_else_can_poke() {
        let folder = tempfile::tempdir().unwrap();
        let poke = Poke::listen(&folder.path().join("p.db")).unwrap();
        let mode = |it: &Path| fs::metadata(it).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&poke.socket), 0o600);
        assert_eq!(mode(poke.socket.parent().unwrap()), 0o700);
    }
}
