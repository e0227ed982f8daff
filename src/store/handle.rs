//! A store on a bounded thread of its own.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{Store, StoreError};

type Job = Box<dyn FnOnce(&mut dyn Store) + Send>;

/// Asks the store's thread. Cheap to clone. When the last handle is gone the thread ends.
#[derive(Clone)]
pub struct StoreHandle {
    jobs: std::sync::mpsc::SyncSender<Job>,
    thread: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreHandle")
    }
}

/// How many jobs may wait; more are refused as [`StoreError::Busy`].
const QUEUE: usize = 4096;

impl StoreHandle {
    /// Gives `store` a thread.
    pub fn start(mut store: Box<dyn Store>) -> std::io::Result<Self> {
        let (jobs, queue) = std::sync::mpsc::sync_channel::<Job>(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                while let Ok(job) = queue.recv() {
                    job(&mut *store);
                }
            })?;
        Ok(Self {
            jobs,
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// Runs `job` on the store's thread and waits for what it gives.
    pub async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            // Nobody waits any more when the caller went away: what was done stays done.
            let _ = answer.send(job(store));
        });
        self.jobs.try_send(job).map_err(|_| StoreError::Busy)?;
        wait.await.map_err(|_| StoreError::Busy)?
    }

    /// The same, for a thread that may block.
    pub fn call_blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = std::sync::mpsc::sync_channel(1);
        let job: Job = Box::new(move |store| {
            let _ = answer.send(job(store));
        });
        self.jobs.send(job).map_err(|_| StoreError::Busy)?;
        wait.recv().map_err(|_| StoreError::Busy)?
    }

    /// Waits for the thread to finish what it has, once every other handle is gone.
    pub fn close(self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(self.jobs);
        if let Some(thread) = thread {
            // A panic on the store's thread has been printed by the thread itself.
            let _ = thread.join();
        }
    }
}
