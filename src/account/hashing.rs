//! argon2id, on a few threads of their own behind a short queue.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::{self, phc::PasswordHash},
};
use rustix::{process::setpriority_process, thread::gettid};
use tokio::sync::oneshot;

use super::{attempts, password::LONGEST};
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
    queue: Arc<Mutex<Queue>>,
}

/// Who has places in the queue.
#[derive(Debug)]
struct Queue {
    free: usize,
    /// The most that one neighbourhood may have: a stranger who asks without end finds their own
    /// share full, and everybody else goes on signing in.
    share: usize,
    held: HashMap<String, usize>,
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
            queue: Arc::new(Mutex::new(Queue {
                free: places,
                share: (places / 4).max(2),
                held: HashMap::new(),
            })),
        }
    }

    /// A place in the queue for somebody at this address, if there is one.
    pub(super) fn reserve(&self, from: Option<IpAddr>) -> Option<Slot> {
        let whose = attempts::prefix(from);
        let mut queue = lock(&self.queue);
        let free = queue.free.checked_sub(1)?;
        let share = queue.share;
        let held = queue.held.entry(whose.clone()).or_default();
        if *held >= share {
            return None;
        }
        *held += 1;
        queue.free = free;
        Some(Slot {
            jobs: self.jobs.clone(),
            place: Place {
                queue: Arc::clone(&self.queue),
                whose,
            },
        })
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
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
struct Place {
    queue: Arc<Mutex<Queue>>,
    whose: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue);
        queue.free += 1;
        if let Some(held) = queue.held.get_mut(&self.whose) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                queue.held.remove(&self.whose);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l2_one_neighbourhood_does_not_take_every_place_in_the_queue() {
        let hashers = Hashers::start(&LoginRules {
            hash_workers: 1,
            hash_queue: 11,
            ..LoginRules::default()
        });
        let from = |text: &str| hashers.reserve(text.parse().ok());
        let held: Vec<_> = (0..20)
            .filter_map(|it| from(&format!("192.0.2.{it}")))
            .collect();
        assert_eq!(held.len(), 3);
        let others: Vec<_> = (0..20)
            .filter_map(|it| from(&format!("198.51.{it}.1")))
            .collect();
        assert_eq!(others.len(), 9, "all that there are");
        drop(others);
        assert!(from("192.0.2.7").is_none());
        drop(held);
        assert!(from("192.0.2.7").is_some());
        assert!(lock(&hashers.queue).held.is_empty());
    }
}
