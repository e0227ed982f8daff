//! One core's connections to the upstreams: last in, first out; what rests too long is closed.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::{body::Body, forward::ForwardError};

/// A connection that rests longer is not used again. Node.js closes after 5 s: we go first, so
/// that no request meets a connection that is just being closed.
const REST: Duration = Duration::from_secs(4);

/// At most so many rest per upstream.
const MOST: usize = 128;

/// The connections of one core.
#[derive(Debug)]
pub struct Pool {
    resting: RefCell<HashMap<SocketAddr, Vec<Resting>>>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Resting {
    sender: SendRequest<Body>,
    since: Instant,
}

impl Pool {
    /// An empty pool, whose connections run as `tasks`.
    pub fn new(tasks: TaskTracker) -> Self {
        Self {
            resting: RefCell::default(),
            tasks,
        }
    }

    /// The connection that rested last, if one can be used at once.
    pub(super) fn take(&self, address: SocketAddr) -> Option<SendRequest<Body>> {
        let mut all = self.resting.borrow_mut();
        let list = all.get_mut(&address)?;
        while let Some(resting) = list.pop() {
            if resting.sender.is_ready() && resting.since.elapsed() < REST {
                return Some(resting.sender);
            }
            // Closed, or still busy with a request body that nobody read: not to be used again.
        }
        None
    }

    /// A new connection.
    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        patience: Duration,
    ) -> Result<SendRequest<Body>, ForwardError> {
        let stream = dial(address, patience).await?;
        let (sender, connection) = http1::Builder::new()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ForwardError::Broken)?;
        self.tasks.spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, error = &error as &dyn std::error::Error, "upstream connection broke off");
            }
        });
        Ok(sender)
    }

    /// Lays a connection to rest whose answer was read to its end.
    pub(super) fn put(&self, address: SocketAddr, sender: SendRequest<Body>) {
        let mut all = self.resting.borrow_mut();
        let list = all.entry(address).or_default();
        if !sender.is_closed() && list.len() < MOST {
            list.push(Resting {
                sender,
                since: Instant::now(),
            });
        }
    }

    /// Closes what rests too long. Called every second or so.
    pub fn reap(&self) {
        self.resting.borrow_mut().retain(|_, list| {
            list.retain(|it| !it.sender.is_closed() && it.since.elapsed() < REST);
            !list.is_empty()
        });
    }
}

/// Connects, in time.
pub(super) async fn dial(
    address: SocketAddr,
    patience: Duration,
) -> Result<TcpStream, ForwardError> {
    let stream = tokio::time::timeout(patience, TcpStream::connect(address))
        .await
        .map_err(|_| ForwardError::Unreachable(std::io::ErrorKind::TimedOut.into()))?
        .map_err(ForwardError::Unreachable)?;
    stream
        .set_nodelay(true)
        .map_err(ForwardError::Unreachable)?;
    Ok(stream)
}
