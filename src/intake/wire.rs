//! What hyper must never see: ambiguous message framing.
//!
//! [`Guarded`] stands between TLS and hyper's HTTP/1 server and follows the messages byte for
//! byte. hyper accepts more than we want (a `Content-Length` beside `Transfer-Encoding`, bare LF
//! line ends, several `Host` lines); here such a message is cut off at the offending byte and
//! poison is fed in its place, so that hyper itself answers 400 (or 431) after the answers still
//! owed, and closes. Nothing that follows is ever read.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::intake::Malformed;

mod field;
mod scan;

pub use scan::{Bounds, Fault, Wire};

/// A connection whose HTTP/1 framing is watched.
#[derive(Debug)]
pub struct Guarded<IO> {
    io: IO,
    wire: Wire,
    watch: Arc<Shared>,
    /// What hyper is given instead of the rest, and how much of it was given.
    poison: Option<(Vec<u8>, usize)>,
}

/// What the connection's own task knows of its wire.
#[derive(Debug, Clone)]
pub struct Watch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    tunnel: AtomicBool,
    fault: OnceLock<Malformed>,
}

impl Watch {
    /// From now on bytes are no longer HTTP: to be called just before a 101 is given to hyper.
    pub fn tunnel(&self) {
        self.0.tunnel.store(true, Ordering::Release);
    }

    /// What was wrong, once something was. When a request's body breaks off, this tells
    /// whether it was the visitor's doing (400).
    pub fn fault(&self) -> Option<Malformed> {
        self.0.fault.get().copied()
    }
}

impl<IO> Guarded<IO> {
    /// Watches `io` from its first byte.
    pub fn new(io: IO, bounds: Bounds) -> (Self, Watch) {
        let watch = Arc::new(Shared::default());
        let guarded = Self {
            io,
            wire: Wire::new(bounds),
            watch: watch.clone(),
            poison: None,
        };
        (guarded, Watch(watch))
    }

    /// The connection itself: after an upgrade.
    pub fn into_inner(self) -> IO {
        self.io
    }

    /// The connection itself, to look at.
    pub fn inner(&self) -> &IO {
        &self.io
    }

    /// Gives out what there is room for. Once all was given out, this is the end of the stream.
    fn pour(&mut self, buffer: &mut ReadBuf<'_>) {
        if let Some((poison, given)) = &mut self.poison {
            let rest = poison.get(*given..).unwrap_or_default();
            let now = rest.get(..buffer.remaining()).unwrap_or(rest);
            *given += now.len();
            buffer.put_slice(now);
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guarded<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.poison.is_some() {
            this.pour(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(context, buffer))?;
        if this.watch.tunnel.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        if let Err(fault) = this.wire.feed(fresh) {
            // The first fault is the one that counts; there is no second.
            this.watch.fault.get_or_init(|| fault.why);
            this.poison = Some((this.wire.poison(fault.why), 0));
            buffer.set_filled(before + fault.at);
            this.pour(buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guarded<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}
