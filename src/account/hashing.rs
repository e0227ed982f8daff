//! argon2id, on a few threads of their own behind a short queue.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::{self, phc::PasswordHash},
};
use rustix::{process::setpriority_process, thread::gettid};
use tokio::sync::oneshot;

use super::password::LONGEST;
use crate::{config::LoginRules, random, secret::Secret, store::StoreError};

type Job = Box<dyn FnOnce(&Argon2<'static>) + Send>;

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the password.
    Right,
    /// It is, and the hash is weaker than what is asked now: here is a new one.
    Outdated(String),
    /// It is not.
    Wrong,
}

/// The threads, and how many may still come.
#[derive(Debug)]
pub(super) struct Hashers {
    jobs: mpsc::Sender<Job>,
    free: Arc<AtomicUsize>,
}

impl Hashers {
    pub(super) fn start(rules: &LoginRules) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let mut workers = 0;
        for number in 0..rules.hash_workers.max(1) {
            let queue = Arc::clone(&queue);
            let argon2 = argon2(rules);
            let started = std::thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || work(&queue, &argon2));
            match started {
                Ok(_) => workers += 1,
                Err(error) => tracing::error!(%error, "cannot start a hashing thread"),
            }
        }
        // Without a single thread there is no place in the queue either.
        let places = if workers == 0 {
            0
        } else {
            rules.hash_queue + workers
        };
        Self {
            jobs,
            free: Arc::new(AtomicUsize::new(places)),
        }
    }

    /// A place in the queue, if there is one.
    pub(super) fn reserve(&self) -> Option<Slot> {
        self.free
            .try_update(Ordering::AcqRel, Ordering::Acquire, |it| it.checked_sub(1))
            .ok()?;
        Some(Slot {
            jobs: self.jobs.clone(),
            place: Place(Arc::clone(&self.free)),
        })
    }
}

/// How far a hashing thread steps back (`nice`): a hash takes a whole core for tens of
/// milliseconds, and whoever is served meanwhile must not notice. Ten, not nineteen: on a host
/// without an idle core people still sign in.
const NICENESS: i32 = 10;

fn work(queue: &Mutex<mpsc::Receiver<Job>>, argon2: &Argon2<'static>) {
    // On Linux a thread has a priority of its own, by its own id (sched(7)).
    if let Err(error) = setpriority_process(Some(gettid()), NICENESS) {
        tracing::debug!(%error, "hashing threads keep their priority");
    }
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(argon2),
            Err(_) => return,
        }
    }
}

/// Given back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Leave to hash one password.
pub(super) struct Slot {
    jobs: mpsc::Sender<Job>,
    place: Place,
}

impl Slot {
    /// Compares with a hash; with none it takes the same time and is wrong.
    pub(super) async fn verify(
        self,
        password: Secret,
        hash: Option<String>,
    ) -> Result<Verdict, StoreError> {
        self.run(move |argon2| match hash {
            Some(hash) => verify(argon2, &password, &hash),
            None => hash_with(argon2, &password).map(|_| Verdict::Wrong),
        })
        .await
    }

    /// A new hash, as a PHC string.
    pub(super) async fn hash(self, password: Secret) -> Result<String, StoreError> {
        self.run(move |argon2| hash_with(argon2, &password)).await
    }

    async fn run<T: Send + 'static>(
        self,
        job: impl FnOnce(&Argon2<'static>) -> Result<T, password_hash::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Self { jobs, place } = self;
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move |argon2| {
            // Nobody waits for what a closed connection asked.
            if !answer.is_closed() {
                let _ = answer.send(job(argon2));
            }
            drop(place);
        });
        jobs.send(job).map_err(|_| StoreError::Busy)?;
        wait.await
            .map_err(|_| StoreError::Busy)?
            .map_err(|it| StoreError::Unusable(format!("cannot hash a password: {it}")))
    }
}

/// As the rules ask; what argon2 does not accept becomes its own defaults.
fn argon2(rules: &LoginRules) -> Argon2<'static> {
    let params = Params::new(rules.argon2_memory_kib, rules.argon2_passes, 1, None);
    Argon2::new(
        Algorithm::Argon2id,
        Version::V0x13,
        params.unwrap_or_default(),
    )
}

/// At most as much of it as may be a password.
fn cut(password: &Secret) -> &[u8] {
    let bytes = password.reveal().as_bytes();
    bytes.get(..LONGEST).unwrap_or(bytes)
}

fn hash_with(argon2: &Argon2<'_>, password: &Secret) -> Result<String, password_hash::Error> {
    let hash: PasswordHash =
        argon2.hash_password_with_salt(cut(password), &random::bytes::<16>())?;
    Ok(hash.to_string())
}

fn verify(
    argon2: &Argon2<'_>,
    password: &Secret,
    hash: &str,
) -> Result<Verdict, password_hash::Error> {
    let hash = PasswordHash::new(hash).map_err(|_| password_hash::Error::EncodingInvalid)?;
    match argon2.verify_password(cut(password), &hash) {
        Ok(()) if password.reveal().len() > LONGEST => Ok(Verdict::Wrong),
        Ok(()) if weaker(&hash, argon2.params()) => {
            hash_with(argon2, password).map(Verdict::Outdated)
        }
        Ok(()) => Ok(Verdict::Right),
        Err(password_hash::Error::PasswordInvalid) => Ok(Verdict::Wrong),
        Err(error) => Err(error),
    }
}

/// Whether a hash was made with less than what is asked now.
fn weaker(hash: &PasswordHash, asked: &Params) -> bool {
    match Params::try_from(hash) {
        Ok(had) => {
            hash.algorithm.as_str() != Algorithm::Argon2id.as_str()
                || had.m_cost() < asked.m_cost()
                || had.t_cost() < asked.t_cost()
        }
        Err(_) => true,
    }
}

/// Hashes on the caller's own thread: for the command line.
pub(super) fn hash_here(rules: &LoginRules, password: &Secret) -> Result<String, StoreError> {
    hash_with(&argon2(rules), password)
        .map_err(|it| StoreError::Unusable(format!("cannot hash a password: {it}")))
}
