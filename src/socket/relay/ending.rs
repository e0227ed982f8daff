//! How a socket ends: the last messages, a close frame on each leg, and a second for the peers
//! to answer before they are cut off.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::{Direction, End, Setting};
use crate::{
    authz::Over,
    session::Ended,
    socket::{
        Refused, Way,
        frame::{self, Opcode},
        lane::Mode,
        notice::{Notice, Topic, last_words},
    },
};

/// How long the closing handshake may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The close frame of an end. `None`: both sides said goodbye themselves.
fn close(end: End) -> Option<(u16, &'static str)> {
    Some(match end {
        End::Closed => return None,
        End::ClientGone | End::UpstreamGone => (1001, "the other side is gone"),
        End::Over(Over::Session(Ended::Idle | Ended::LoginExpired) | Over::Token) => {
            (1008, "the session has expired")
        }
        End::Over(Over::Session(_)) => (1008, "the session is over"),
        End::Over(Over::Policy) => (1008, "no longer admitted"),
        End::Over(Over::TenantChanged) => (1008, "another tenant is here now"),
        End::Over(Over::TenantGone) => (1001, "the tenant is gone"),
        End::Over(Over::Draining) => (1001, "the gateway is going down"),
        End::Refused(_, refused) => (refused.close_code(), "not relayed"),
        End::Unread(Way::Down) => (1008, "nothing is read"),
        End::Unread(Way::Up) => (1001, "the tenant reads nothing"),
    })
}

/// What Socket.IO is told of an end, if it is told of it.
fn words(end: End) -> Option<(Topic, &'static str)> {
    match end {
        End::Over(over) => last_words(over),
        End::Closed | End::ClientGone | End::UpstreamGone | End::Refused(..) | End::Unread(_) => {
            None
        }
    }
}

/// Says goodbye on both legs, as far as they are still there.
pub(super) async fn finish<C, U>(
    (client, upstream): (&mut C, &mut U),
    (up, down): (Direction, Direction),
    mode: &mut Mode,
    setting: &Setting<'_>,
    end: End,
) where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut amid = false;
    let (mut to_client, mut to_upstream) = (Vec::new(), Vec::new());
    if let (Some((topic, reason)), Mode::EngineIo(guard)) = (words(end), &mut *mode) {
        let notice = Notice {
            event: &setting.rules.control_event,
            topic,
            reason: Some(reason),
            login_url: setting.login_url,
            auth: None,
        };
        amid = guard.is_amid_attachments();
        (to_client, to_upstream) = guard.farewell(Some(&notice));
    }
    if let (End::Refused(Way::Up, Refused::TooFast), Mode::EngineIo(guard)) = (end, &mut *mode) {
        // It ends in the midst of what it was told of.
        to_client = guard.take_replies();
    }
    let code = close(end);
    // Between the attachments of an event no text may stand. (Upstream it may: a server that
    // falls over it takes its leave for a cut, and would recover the connection, but for whom?
    // The `pid` that this needs is sealed to the login that is over.)
    let speaks_down = |dropped: Option<Opcode>| match dropped {
        Some(opcode) => opcode == Opcode::Text,
        None => !amid,
    };
    // A client that is gone was not told to leave: its upstream leg is cut, as it would be
    // without us, so that Socket.IO may recover it.
    let is_clients = matches!(end, End::ClientGone | End::Unread(Way::Down));
    let upstream_code = code.filter(|_| !is_clients);
    let mut client_leg = Leg::new(&up, Way::Down);
    let mut upstream_leg = Leg::new(&down, Way::Up);
    let (client_closed, upstream_closed) = (down.lane.is_closed(), up.lane.is_closed());
    client_leg.say(down, client_closed, code, &to_client, speaks_down);
    upstream_leg.say(up, upstream_closed, upstream_code, &to_upstream, |_| true);
    match end {
        End::ClientGone => (client_leg.cut, upstream_leg.heard) = (true, true),
        End::UpstreamGone => upstream_leg.cut = true,
        End::Unread(Way::Down) => upstream_leg.heard = true,
        End::Closed | End::Over(_) | End::Refused(..) | End::Unread(Way::Up) => {}
    }
    let closing = poll_fn(|cx| {
        let client = client_leg.poll(client, cx);
        let upstream = upstream_leg.poll(upstream, cx);
        if client.is_ready() && upstream.is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    // Whoever is too slow is cut off when the legs are dropped.
    timeout(PATIENCE, closing).await.unwrap_or_default();
}

/// A leg on its way out.
struct Leg {
    /// What is still said on it.
    last: Vec<u8>,
    written: usize,
    /// Not even that: nothing more can be said on it.
    cut: bool,
    flushed: bool,
    /// The peer has closed, or need not.
    heard: bool,
    /// Which way what we hear from it came.
    from: Way,
    skip: u64,
    head: Vec<u8>,
}

impl Leg {
    /// The leg that `heard` comes from; what is said on it goes `way`.
    fn new(heard: &Direction, way: Way) -> Self {
        let from = match way {
            Way::Up => Way::Down,
            Way::Down => Way::Up,
        };
        Self {
            last: Vec::new(),
            written: 0,
            cut: false,
            flushed: false,
            heard: heard.lane.is_closed() || heard.eof,
            from,
            skip: heard.lane.rest(),
            head: heard.inbox.clone(),
        }
    }

    fn say(
        &mut self,
        direction: Direction,
        closed: bool,
        code: Option<(u16, &str)>,
        messages: &[String],
        speaks: impl Fn(Option<Opcode>) -> bool,
    ) {
        let way = direction.way;
        let nothing_waits = direction.outbox.is_empty();
        let remains = direction.outbox.remains();
        let Some(rest) = remains.rest else {
            self.cut = true;
            return;
        };
        self.last = rest;
        if closed && nothing_waits {
            return; // its close frame is on the wire
        }
        if speaks(remains.dropped) {
            for text in messages {
                frame::write_text(&mut self.last, way, text);
            }
        }
        if let Some((code, text)) = code {
            frame::write_close(&mut self.last, way, code, text);
        }
    }

    fn poll<I: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.cut {
            return Poll::Ready(());
        }
        while let Some(rest) = self.last.get(self.written..).filter(|it| !it.is_empty()) {
            match Pin::new(&mut *io).poll_write(cx, rest) {
                Poll::Pending => {
                    // Reads on: a peer that waits for us to read may not read before.
                    let _ = self.listen(io, cx);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(written)) if written > 0 => self.written += written,
                Poll::Ready(_) => return self.give_up(),
            }
        }
        if !self.flushed {
            match Pin::new(&mut *io).poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(_)) => return self.give_up(),
            }
        }
        ready!(self.listen(io, cx));
        Pin::new(&mut *io)
            .poll_shutdown(cx)
            .map(|_| self.cut = true)
    }

    fn give_up(&mut self) -> Poll<()> {
        self.cut = true;
        Poll::Ready(())
    }

    /// Reads and throws away until the peer has closed. Ready: it has, or it is gone.
    fn listen<I: AsyncRead + Unpin>(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
        self.hear();
        let mut buffer = [0; 4096];
        while !self.heard {
            let mut buffer = ReadBuf::new(&mut buffer);
            match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.head.extend_from_slice(buffer.filled());
                    self.hear();
                }
                Poll::Ready(_) => self.heard = true,
            }
        }
        Poll::Ready(())
    }

    /// Looks for a close frame in what was read.
    fn hear(&mut self) {
        let mut at = 0;
        loop {
            let left = self.head.len().saturating_sub(at);
            let now = usize::try_from(self.skip).unwrap_or(usize::MAX).min(left);
            self.skip -= now as u64;
            at += now;
            match frame::parse(self.head.get(at..).unwrap_or_default(), self.from) {
                Ok(Some(header)) if header.opcode != Opcode::Close => {
                    self.skip = header.total() as u64;
                }
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => {
                    self.heard = true;
                    break;
                }
            }
        }
        self.head.drain(..at.min(self.head.len()));
    }
}
