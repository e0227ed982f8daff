//! Connections to upstreams, kept for the next request. One pool per core: no locks.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::AbortHandle, time::Instant};
use tokio_util::task::TaskTracker;

use crate::{
    body::Body,
    config::Limits,
    forward::{ForwardError, stream::Broke},
    route::{PathRoute, Upstream},
};

/// How long an idle connection is kept. Node closes its own after 5 s: ours must be the first
/// to go, or requests would be lost on the way.
const IDLE: Duration = Duration::from_secs(4);

/// Most idle connections to one address.
const MOST_IDLE: usize = 128;

/// Most header lines in an answer.
const ANSWER_LINES: usize = 256;

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Connecting.
    pub connect: Duration,
    /// The answer's head, after the last piece of the request.
    pub response: Duration,
    /// Between two pieces of an answer.
    pub stream: Duration,
    /// Between two pieces of a request's body.
    pub body: Duration,
    /// Largest request body, in bytes; 0: any.
    pub largest: u64,
}

impl From<&Limits> for Patience {
    fn from(limits: &Limits) -> Self {
        Self {
            connect: limits.connect_timeout,
            response: limits.response_timeout,
            stream: limits.stream_timeout,
            body: limits.body_timeout,
            largest: limits.body,
        }
    }
}

/// The idle connections of one core.
#[derive(Debug)]
pub struct Pool {
    idle: RefCell<HashMap<SocketAddr, Vec<Kept>>>,
    patience: Cell<Patience>,
    turn: Cell<usize>,
    closing: Cell<bool>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Kept {
    conn: Conn,
    since: Instant,
}

/// A connection in use. Dropping it closes it, whatever is under way.
#[derive(Debug)]
pub(super) struct Conn {
    sender: SendRequest<Body>,
    driver: Option<AbortHandle>,
    address: SocketAddr,
    used: bool,
    /// The request's body, while it may still be on its way.
    pub(super) upload: Option<Rc<Broke>>,
}

impl Drop for Conn {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

impl Conn {
    /// One that serves a single exchange and never goes back.
    pub(super) fn single<T>(
        sender: SendRequest<Body>,
        driver: &tokio::task::JoinHandle<T>,
        address: SocketAddr,
    ) -> Self {
        Self {
            sender,
            driver: Some(driver.abort_handle()),
            address,
            used: false,
            // Never finished: so the pool will not take it.
            upload: Some(Rc::default()),
        }
    }

    /// Lets go of it without closing it.
    pub(super) fn release(mut self) {
        self.driver = None;
    }
}

/// How one of several upstreams is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Each in turn.
    Turn,
    /// The same for the same client: what Engine.IO's polling needs.
    Sticky(IpAddr),
}

impl Pool {
    /// An empty one. Its connections' tasks are counted by `tasks`.
    pub fn new(limits: &Limits, tasks: TaskTracker) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            patience: Cell::new(limits.into()),
            turn: Cell::new(0),
            closing: Cell::new(false),
            tasks,
        })
    }

    /// Goes by these limits from now on.
    pub fn adopt(&self, limits: &Limits) {
        self.patience.set(limits.into());
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience.get()
    }

    /// Picks an upstream of a path; `None`: nobody answers there just now.
    pub fn choose<'a>(&self, path: &'a PathRoute, choice: Choice) -> Option<&'a Upstream> {
        let upstreams = &path.upstreams;
        if upstreams.len() < 2 {
            return upstreams.first();
        }
        let at = match choice {
            Choice::Turn => {
                let turn = self.turn.get().wrapping_add(1);
                self.turn.set(turn);
                turn
            }
            Choice::Sticky(client) => {
                // The same on every core: where a client goes must not depend on who accepts it.
                let mut hasher = DefaultHasher::new();
                client.hash(&mut hasher);
                usize::try_from(hasher.finish() >> 1).unwrap_or(0)
            }
        };
        upstreams.get(at % upstreams.len())
    }

    /// Closes what has been idle for too long. To be called every second or so.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, kept| {
            kept.retain(|it| it.is_good(now));
            !kept.is_empty()
        });
    }

    /// Closes every idle connection, and keeps none from now on: the gateway goes down.
    pub fn close(&self) {
        self.closing.set(true);
        self.idle.borrow_mut().clear();
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Sends a request on an idle connection or a new one. A request of which nothing was sent,
    /// because the connection had just been closed, goes on the next.
    pub(super) async fn exchange(
        &self,
        address: SocketAddr,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Conn), ForwardError> {
        loop {
            let mut conn = match self.take(address) {
                Some(conn) => conn,
                None => Box::pin(self.connect(address)).await?,
            };
            match conn.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, conn)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if conn.used => request = unsent,
                    Some(_) | None => return Err(ForwardError::Broken(error.into_error())),
                },
            }
        }
    }

    /// The connection that was given back last, if any is still good.
    fn take(&self, address: SocketAddr) -> Option<Conn> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(&address)?;
        let now = Instant::now();
        while let Some(last) = kept.pop() {
            if last.is_good(now) {
                return Some(last.conn);
            }
        }
        None
    }

    async fn connect(&self, address: SocketAddr) -> Result<Conn, ForwardError> {
        let stream = dial(address, self.patience().connect).await?;
        let (sender, driver) = http1::Builder::new()
            .max_headers(ANSWER_LINES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ForwardError::Broken)?;
        // How it ended is told to whoever awaits an answer on it.
        let driver = self.tasks.spawn_local(async move { drop(driver.await) });
        Ok(Conn {
            sender,
            driver: Some(driver.abort_handle()),
            address,
            used: false,
            upload: None,
        })
    }

    /// Takes a connection back after an answer that ended cleanly. One whose request is not
    /// finished is closed: what the visitor sends next would land in the middle of it.
    pub(super) fn put(&self, mut conn: Conn) {
        let uploaded = conn.upload.take().is_none_or(|it| it.is_finished());
        if !uploaded || conn.sender.is_closed() || self.closing.get() {
            return;
        }
        conn.used = true;
        let mut idle = self.idle.borrow_mut();
        let kept = idle.entry(conn.address).or_default();
        if kept.len() < MOST_IDLE {
            let since = Instant::now();
            kept.push(Kept { conn, since });
        }
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }
}

impl Kept {
    fn is_good(&self, now: Instant) -> bool {
        self.conn.sender.is_ready() && now.duration_since(self.since) < IDLE
    }
}

/// A fresh connection.
pub(super) async fn dial(
    address: SocketAddr,
    patience: Duration,
) -> Result<TcpStream, ForwardError> {
    let stream = tokio::time::timeout(patience, TcpStream::connect(address))
        .await
        .map_err(|_| ForwardError::ConnectTimeout)?
        .map_err(ForwardError::Unreachable)?;
    stream
        .set_nodelay(true)
        .map_err(ForwardError::Unreachable)?;
    Ok(stream)
}
