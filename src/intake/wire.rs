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

#[cfg(test)]
mod tests {
    use std::{cell::Cell, convert::Infallible, rc::Rc};

    use http::{Request, Response};
    use http_body_util::BodyExt as _;
    use hyper::{body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::body::Body;

    const BOUNDS: Bounds = Bounds {
        head: 16 << 10,
        line: 8 << 10,
        lines: 100,
    };

    /// Sends `bytes` in pieces of `step` to a real hyper behind a guard. What it answers, and
    /// how many requests with a whole body reached the service.
    async fn answer(bytes: &[u8], step: usize) -> (String, usize) {
        let (mut client, server) = duplex(1 << 20);
        let (guarded, _) = Guarded::new(server, BOUNDS);
        let reached = Rc::new(Cell::new(0));
        let count = reached.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let count = count.clone();
            async move {
                let mut response = Response::new(Body::full("fine"));
                match request.into_body().collect().await {
                    Ok(_) => count.set(count.get() + 1),
                    Err(_) => *response.status_mut() = http::StatusCode::BAD_REQUEST,
                }
                Ok::<_, Infallible>(response)
            }
        });
        let server = http1::Builder::new().serve_connection(TokioIo::new(guarded), service);
        let talk = async {
            for piece in bytes.chunks(step) {
                if client.write_all(piece).await.is_err() {
                    break; // closed already, as it should be
                }
                tokio::task::yield_now().await;
            }
            let mut out = String::new();
            // Not shut down: it is the gateway that must close.
            let _ = client.read_to_string(&mut out).await;
            out
        };
        let (_, out) = tokio::join!(server, talk);
        (out, reached.get())
    }

    /// What follows a fault, and must never be taken for a request.
    const SMUGGLED: &str = "\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    async fn is_refused(head: &str, status: &str) {
        let bytes = [head, SMUGGLED].concat();
        for step in [1, 7, bytes.len()] {
            let (out, reached) = answer(bytes.as_bytes(), step).await;
            let start = format!("HTTP/1.1 {status}");
            assert!(out.starts_with(&start), "{head:?} by {step}: {out:?}");
            assert_eq!(reached, 0, "{head:?} by {step}");
            assert_eq!(out.matches("HTTP/1.1").count(), 1, "{head:?} by {step}");
        }
    }

    #[tokio::test]
    async fn hyper_answers_400_to_poison_wherever_the_head_breaks() {
        for head in [
            "G\0",
            "GET\n",
            "GET /#",
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\rX",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a",
            "GET / HTTP/1.1\r\nHost: a\n",
            "GET / HTTP/1.1\r\nHost: a\rX",
            "GET / HTTP/1.1\r\nHost: a\r\n folded",
            "GET / HTTP/1.1\r\nHost: a\r\n\rX",
            "GET / HTTP/1.1\r\nHost : a",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5",
            "PRI * HTTP/2.0",
            "CONNECT a:80 HTTP/1.1",
            "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM / HTTP/1.1",
        ] {
            is_refused(head, "400").await;
        }
    }

    #[tokio::test]
    async fn h12_hyper_answers_431_to_a_head_too_large() {
        let long = "a".repeat(9 << 10);
        for head in [
            format!("GET /{long} HTTP/1.1"),
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}"),
            format!("GET / HTTP/1.1\r\nHost: a\r\n{long}: x"),
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X: y\r\n".repeat(200)),
            format!(
                "GET / HTTP/1.1\r\n{}",
                format!("X: {}\r\n", "a".repeat(7000)).repeat(3)
            ),
        ] {
            let bytes = [head.as_str(), SMUGGLED].concat();
            for step in [1000, bytes.len()] {
                let (out, reached) = answer(bytes.as_bytes(), step).await;
                assert!(out.starts_with("HTTP/1.1 431"), "{}: {out:?}", &head[..40]);
                assert_eq!((reached, out.matches("HTTP/1.1").count()), (0, 1));
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_is_never_taken_for_whole() {
        for body in [
            "5\nhello",
            "5 \r\nhello",
            "5;x\nhello",
            "0;x\n",
            "0;x\0\r\n",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "5\r\nhello\rX",
            "X",
            "0\r\n\n",
            "0\r\n\rX",
            "0\r\nHost: b",
            "0\r\nX: a\0",
            "0\r\nX: a\n",
            "0\r\nX: a\rX",
            "0\r\nContent-Length: 3",
        ] {
            let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            is_refused(&[head, body].concat(), "400").await;
        }
    }

    #[tokio::test]
    async fn what_was_asked_before_the_fault_is_still_answered() {
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let bytes = [good, good, "GET /#", SMUGGLED].concat();
        for step in [1, 40, bytes.len()] {
            let (out, reached) = answer(bytes.as_bytes(), step).await;
            assert_eq!(reached, 2, "by {step}");
            assert_eq!(out.matches("HTTP/1.1 200").count(), 2, "by {step}");
            assert_eq!(out.matches("HTTP/1.1 400").count(), 1, "by {step}");
        }
    }

    #[tokio::test]
    async fn a_tunnel_is_not_read_as_http() {
        let (mut client, server): (DuplexStream, DuplexStream) = duplex(1024);
        let (mut guarded, watch) = Guarded::new(server, BOUNDS);
        watch.tunnel();
        client.write_all(b"\x81\x00\n\0").await.unwrap();
        let mut out = [0; 4];
        guarded.read_exact(&mut out).await.unwrap();
        assert_eq!((&out, watch.fault()), (b"\x81\x00\n\0", None));
        let _: DuplexStream = guarded.into_inner();
    }

    /// Takes one piece at a time, and says so.
    struct OneByOne(Vec<u8>);

    impl AsyncWrite for OneByOne {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().0.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_is_written_goes_out_as_it_is() {
        let (mut client, server) = duplex(1024);
        let (mut guarded, _) = Guarded::new(tokio::io::BufWriter::new(server), BOUNDS);
        assert!(guarded.is_write_vectored());
        assert_eq!(guarded.write(b"one ").await.unwrap(), 4);
        let pieces = [io::IoSlice::new(b"two "), io::IoSlice::new(b"three")];
        assert_eq!(guarded.write_vectored(&pieces).await.unwrap(), 9);
        guarded.flush().await.unwrap();
        let mut out = [0; 13];
        client.read_exact(&mut out).await.unwrap();
        assert_eq!(&out, b"one two three");
        guarded.shutdown().await.unwrap();
        assert_eq!(client.read(&mut out).await.unwrap(), 0);
        let (mut guarded, _) = Guarded::new(OneByOne(Vec::new()), BOUNDS);
        assert!(!guarded.is_write_vectored());
        guarded.write_all(b"one").await.unwrap();
        assert_eq!(guarded.inner().0, b"one");
    }

    #[tokio::test]
    async fn a_fault_is_told() {
        let (mut client, server) = duplex(1024);
        let (mut guarded, watch) = Guarded::new(server, BOUNDS);
        client.write_all(b"GET /#").await.unwrap();
        let mut out = Vec::new();
        guarded.read_to_end(&mut out).await.unwrap();
        assert_eq!(out, b"GET \0\r\n\r\n");
        assert_eq!(watch.fault(), Some(Malformed::Target));
    }
}
