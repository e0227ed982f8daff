//! Moves bytes between the two legs of a socket, for as long as it may.
//!
//! One task, both directions. The vigil is asked before every write, and wakes the task when
//! there is nothing to write. What was read in one go and may pass is written in one go, from
//! where it lies; a buffer is held only while a frame is incomplete or a peer is slow, so an
//! idle socket holds none. A slow reader stops the other side's reading, not the gateway; one that
//! reads nothing for too long (`stall`) is closed.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

use crate::{
    authz::{Over, Vigil},
    clock::Timestamp,
    config::{SocketIdle, SocketRules},
    session::Ended,
    socket::{
        Refused, Way,
        conversation::News,
        lane::{Lane, Mode},
    },
    telemetry::{Kind, Metrics},
};

mod ending;
mod outbox;
mod stall;

use outbox::Outbox;
use stall::Stall;

/// Bytes read in one go.
const SCRATCH: usize = 64 << 10;
/// Reads of one direction before others get their turn.
const ROUNDS: usize = 16;
/// The bell rings no sooner, and no later.
const SOONEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_hours(1);
/// How long what was sent before one leg went away may take to reach the other.
const LINGER: Duration = Duration::from_secs(5);

thread_local! {
    /// What this core reads into; taken for the length of one read.
    static READ_INTO: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// One leg of a socket.
#[derive(Debug)]
pub struct Leg<I> {
    /// The connection.
    pub io: I,
    /// What was read from it before it was handed over.
    pub read: Bytes,
}

/// What a relay goes by.
#[derive(Debug)]
pub struct Setting<'a> {
    /// `[sockets]`
    pub rules: &'a SocketRules,
    /// How often an open socket counts as use, where it does: well within `session.idle`.
    pub touch_every: Duration,
    /// Where to sign in again.
    pub login_url: &'a str,
    /// This core's numbers.
    pub metrics: &'a Metrics,
}

/// How a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both sides said goodbye.
    Closed,
    /// The client went away.
    ClientGone,
    /// The upstream went away.
    UpstreamGone,
    /// It may no longer be open.
    Over(Over),
    /// One side sent what is not relayed.
    Refused(Way, Refused),
    /// What goes that way is not read.
    Unread(Way),
}

impl End {
    /// The name that it is counted under.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ClientGone => "client_gone",
            Self::UpstreamGone => "upstream_gone",
            Self::Over(Over::Session(ended)) => ended.as_str(),
            Self::Over(Over::Token) => "token",
            Self::Over(Over::Policy) => "policy",
            Self::Over(Over::TenantChanged) => "tenant_changed",
            Self::Over(Over::TenantGone) => "tenant_gone",
            Self::Over(Over::Draining) => "draining",
            Self::Refused(Way::Up, _) => "client_refused",
            Self::Refused(Way::Down, _) => "upstream_refused",
            Self::Unread(Way::Up) => "slow_upstream",
            Self::Unread(Way::Down) => "slow_client",
        }
    }

    /// The limit that brought it about, if it was one.
    pub fn limit(self) -> Option<&'static str> {
        match self {
            Self::Refused(_, refused) => refused.limit(),
            Self::Unread(_) => Some(self.as_str()),
            Self::Closed | Self::ClientGone | Self::UpstreamGone | Self::Over(_) => None,
        }
    }
}

/// Relays until the end, which it also brings about: the last messages, the close frames, and
/// a bounded time for the peers to answer them. `touch` is called when the session was used: with
/// the vigil, which knows under whose login the connection is now.
pub async fn relay<C, U>(
    mut client: Leg<C>,
    mut upstream: Leg<U>,
    vigil: Vigil,
    mut mode: Mode,
    setting: &Setting<'_>,
    touch: impl FnMut(&Vigil),
) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let _open = Open::new(&setting.metrics.sockets);
    let mut up = Direction::new(Way::Up, &mode, &client.read);
    let mut down = Direction::new(Way::Down, &mode, &upstream.read);
    (client.read, upstream.read) = (Bytes::new(), Bytes::new());
    let end = {
        let mut watch = Watch::new(vigil, setting, touch, &mode);
        poll_fn(|cx| {
            run(
                (&mut client.io, &mut upstream.io),
                (&mut up, &mut down),
                &mut mode,
                &mut watch,
                cx,
            )
        })
        .await
    };
    crate::telemetry::count(&setting.metrics.socket_ends, end.as_str());
    if let Some(limit) = end.limit() {
        crate::telemetry::count(&setting.metrics.socket_limits, limit);
    }
    ending::finish(
        (&mut client.io, &mut upstream.io),
        (up, down),
        &mut mode,
        setting,
        end,
    )
    .await;
    end
}

/// Counts an open socket for as long as it is held.
struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What is asked before every write, and what wakes a silent socket.
struct Watch<T> {
    vigil: Vigil,
    alarm: Pin<Box<dyn Future<Output = ()>>>,
    /// Rings when the open socket itself counts as use again, or something is due.
    bell: Option<Pin<Box<Sleep>>>,
    /// When it counts as use, if it does.
    touch_at: Option<Instant>,
    touch_every: Duration,
    touch: T,
    /// When it was last asked.
    now: Timestamp,
    /// Frames passed, changed, dropped.
    counters: [Counter; 3],
    /// What was dropped because there was too much of it.
    too_many: Counter,
    linger: Option<Pin<Box<Sleep>>>,
    stall: Stall,
    /// It has just begun to bear with an idle session: what was judged before may not be written.
    has_begun_to_bear: bool,
}

impl<T: FnMut(&Vigil)> Watch<T> {
    fn new(vigil: Vigil, setting: &Setting<'_>, touch: T, mode: &Mode) -> Self {
        let alarm = vigil.alarm();
        let touch_every = setting.touch_every.max(Duration::from_millis(100));
        let counts = setting.rules.idle == SocketIdle::Absolute;
        let touch_at = counts.then(|| Instant::now() + touch_every);
        // What is due on an Engine.IO connection is asked at once, and then the bell is set.
        let first = match mode {
            Mode::EngineIo(_) => Some(Instant::now()),
            Mode::Plain { .. } => touch_at,
        };
        let counter = |kind: &str| {
            setting
                .metrics
                .frames
                .get_or_create(&Kind {
                    kind: kind.to_owned(),
                })
                .clone()
        };
        let too_many = setting.metrics.socket_limits.get_or_create(&Kind {
            kind: "rate".to_owned(),
        });
        Self {
            now: vigil.now(),
            too_many: too_many.clone(),
            vigil,
            alarm,
            bell: first.map(|it| Box::pin(sleep_until(it))),
            touch_at,
            touch_every,
            touch,
            counters: ["passed", "changed", "dropped"].map(counter),
            linger: None,
            stall: Stall::new(setting.rules.stall_timeout),
            has_begun_to_bear: false,
        }
    }

    fn check(&mut self) -> Result<(), End> {
        self.now = self.vigil.now();
        self.vigil.check(self.now).map_err(End::Over)
    }

    /// As [`Watch::check`], but where the session went idle a connection that can be revived is
    /// held: nothing passes it meanwhile.
    fn check_or_bear(&mut self, mode: &mut Mode) -> Result<(), End> {
        let checked = self.check();
        let Err(End::Over(Over::Session(Ended::Idle))) = checked else {
            return checked;
        };
        let Mode::EngineIo(guard) = mode else {
            return checked;
        };
        if self.vigil.is_bearing() {
            return checked;
        }
        let Some(until) = guard.begin_grace(self.vigil.now()) else {
            return checked;
        };
        self.vigil.bear(until);
        self.has_begun_to_bear = true;
        self.alarm = self.vigil.alarm();
        self.ring_soon();
        Ok(())
    }

    /// Acts on what the last message told.
    fn hear(&mut self, mode: &mut Mode) -> Result<(), End> {
        let Mode::EngineIo(guard) = mode else {
            return Ok(());
        };
        match guard.take_dropped() {
            0 => {}
            dropped => _ = self.too_many.inc_by(dropped.into()),
        }
        match guard.take_news() {
            None => return Ok(()),
            Some(News::Over(over)) => return Err(End::Over(over)),
            Some(News::Due) => {}
            Some(News::Adopted(identity)) => {
                self.vigil.adopt(*identity).map_err(End::Over)?;
                self.alarm = self.vigil.alarm();
            }
        }
        self.ring_soon();
        Ok(())
    }

    fn ring_soon(&mut self) {
        if let Some(bell) = &mut self.bell {
            bell.as_mut().reset(Instant::now());
        }
    }

    /// Polls everything that wakes a silent socket.
    fn poll(&mut self, mode: &mut Mode, cx: &mut Context<'_>) -> Result<(), End> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            self.check_or_bear(mode)?;
            if self.vigil.is_draining() {
                return Err(End::Over(Over::Draining));
            }
            self.alarm = self.vigil.alarm();
        }
        if let Some(bell) = &mut self.bell
            && bell.as_mut().poll(cx).is_ready()
        {
            let next = self.ring(mode)?;
            match (&mut self.bell, next) {
                (Some(bell), Some(next)) => {
                    bell.as_mut().reset(next);
                    // Registers the new deadline; mostly it lies ahead.
                    if bell.as_mut().poll(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                }
                _ => self.bell = None,
            }
        }
        Ok(())
    }

    /// Does what is due. When to ring again.
    fn ring(&mut self, mode: &mut Mode) -> Result<Option<Instant>, End> {
        let now = Instant::now();
        if self.touch_at.is_some_and(|it| it <= now) {
            if !self.vigil.is_bearing() {
                (self.touch)(&self.vigil);
            }
            self.touch_at = Some(now + self.touch_every);
        }
        let Mode::EngineIo(guard) = mode else {
            return Ok(self.touch_at);
        };
        let time = self.vigil.now();
        let due = guard.due(time).map_err(End::Over)?;
        // (Never sooner than a moment: a clock that stands must not make the bell ring on and on.)
        let due = due.map(|it| now + time.until(it).max(SOONEST).min(LATEST));
        Ok([due, self.touch_at]
            .into_iter()
            .flatten()
            .min()
            .or(Some(now + LATEST)))
    }

    /// What was judged while the session lived and is not written yet, `waiting` or not, must not
    /// be written any more.
    fn must_end(&mut self, waiting: bool) -> Result<(), End> {
        if std::mem::take(&mut self.has_begun_to_bear) && waiting {
            return Err(End::Over(Over::Session(Ended::Idle)));
        }
        Ok(())
    }

    fn lingered(&mut self, cx: &mut Context<'_>) -> bool {
        self.linger
            .get_or_insert_with(|| Box::pin(sleep(LINGER)))
            .as_mut()
            .poll(cx)
            .is_ready()
    }
}

/// One direction's buffers.
struct Direction {
    way: Way,
    lane: Lane,
    /// Read and not judged: the beginning of a frame.
    inbox: Vec<u8>,
    /// What was read before the relay began has not been judged yet.
    fresh: bool,
    /// Judged and not written.
    outbox: Outbox,
    eof: bool,
    unflushed: bool,
    /// How often in a row it was found that nothing of what waits was written.
    unread: u32,
}

impl Direction {
    fn new(way: Way, mode: &Mode, read: &Bytes) -> Self {
        Self {
            way,
            lane: Lane::new(way, mode),
            inbox: read.to_vec(),
            fresh: !read.is_empty(),
            outbox: Outbox::new(way),
            eof: false,
            unflushed: false,
            unread: 0,
        }
    }

    /// Whether something waits to be written.
    fn waits(&self) -> bool {
        !self.outbox.is_empty() || self.unflushed
    }

    fn gone(&self) -> End {
        match self.way {
            Way::Up => End::UpstreamGone,
            Way::Down => End::ClientGone,
        }
    }

    fn source_gone(&self) -> End {
        match self.way {
            Way::Up => End::ClientGone,
            Way::Down => End::UpstreamGone,
        }
    }
}

fn run<C, U, T>(
    (client, upstream): (&mut C, &mut U),
    (up, down): (&mut Direction, &mut Direction),
    mode: &mut Mode,
    watch: &mut Watch<T>,
    cx: &mut Context<'_>,
) -> Poll<End>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
    T: FnMut(&Vigil),
{
    let polled = watch.poll(mode, cx);
    let waiting = !up.outbox.is_empty() || !down.outbox.is_empty();
    if let Err(end) = polled.and_then(|()| watch.must_end(waiting)) {
        return Poll::Ready(end);
    }
    for way in [Way::Up, Way::Down, Way::Down] {
        // The second time for what the first let us add: a refusal that had to wait.
        if way == Way::Down {
            reply(mode, down);
        }
        let state = match way {
            Way::Up => pump(up, client, upstream, mode, watch, cx),
            Way::Down => pump(down, upstream, client, mode, watch, cx),
        };
        // (Its own was empty when it began to read.)
        let waiting = match way {
            Way::Up => !down.outbox.is_empty(),
            Way::Down => !up.outbox.is_empty(),
        };
        if let Err(end) = watch.must_end(waiting) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(end) = state {
            // A leg that goes away after a close frame was no accident.
            let said_goodbye = match end {
                End::ClientGone | End::UpstreamGone => up.lane.is_closed() || down.lane.is_closed(),
                End::Closed | End::Over(_) | End::Refused(..) | End::Unread(_) => false,
            };
            return Poll::Ready(if said_goodbye { End::Closed } else { end });
        }
    }
    if up.lane.is_closed() && down.lane.is_closed() && !up.waits() && !down.waits() {
        return Poll::Ready(End::Closed);
    }
    if let Some(way) = watch.stall.find(up, down, cx) {
        return Poll::Ready(End::Unread(way));
    }
    if (up.eof || down.eof) && watch.lingered(cx) {
        return Poll::Ready(if up.eof {
            End::ClientGone
        } else {
            End::UpstreamGone
        });
    }
    Poll::Pending
}

/// Adds what the guard has to tell the client.
fn reply(mode: &mut Mode, down: &mut Direction) {
    if let Mode::EngineIo(guard) = mode
        && !down.lane.is_closed()
    {
        for text in guard.take_replies() {
            down.outbox.push_text(&text);
        }
    }
}

/// Moves one direction on as far as it goes.
fn pump<S, D, T>(
    direction: &mut Direction,
    source: &mut S,
    sink: &mut D,
    mode: &mut Mode,
    watch: &mut Watch<T>,
    cx: &mut Context<'_>,
) -> Poll<End>
where
    S: AsyncRead + Unpin,
    D: AsyncWrite + Unpin,
    T: FnMut(&Vigil),
{
    for _ in 0..ROUNDS {
        while !direction.outbox.is_empty() {
            if let Err(end) = watch.check() {
                return Poll::Ready(end);
            }
            match Pin::new(&mut *sink).poll_write(cx, direction.outbox.rest()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_) | Ok(0)) => return Poll::Ready(direction.gone()),
                Poll::Ready(Ok(written)) => direction.outbox.advance(written),
            }
            direction.unflushed = true;
            direction.unread = 0;
        }
        if direction.unflushed {
            match Pin::new(&mut *sink).poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Err(_)) => return Poll::Ready(direction.gone()),
                Poll::Ready(Ok(())) => (direction.unflushed, direction.unread) = (false, 0),
            }
        }
        if direction.eof {
            return if direction.unflushed {
                Poll::Pending
            } else {
                Poll::Ready(direction.source_gone())
            };
        }
        let fresh = std::mem::take(&mut direction.fresh);
        let mut scratch = READ_INTO.take();
        scratch.resize(SCRATCH, 0);
        let read = if fresh {
            Poll::Ready(Ok(0))
        } else {
            let mut buffer = ReadBuf::new(&mut scratch);
            Pin::new(&mut *source)
                .poll_read(cx, &mut buffer)
                .map_ok(|()| buffer.filled().len())
        };
        let state = match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) if !fresh => {
                direction.eof = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(read)) => Poll::Ready(take_in(
                direction,
                scratch.get(..read).unwrap_or_default(),
                sink,
                mode,
                watch,
                cx,
            )),
            Poll::Ready(Err(_)) => {
                direction.eof = true;
                Poll::Ready(Ok(()))
            }
        };
        READ_INTO.set(scratch);
        match state {
            Poll::Pending => {
                direction.lane.rest_easy();
                return Poll::Pending;
            }
            Poll::Ready(Err(end)) => return Poll::Ready(end),
            Poll::Ready(Ok(())) => {}
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Judges what was read, together with what was left from before.
fn take_in<D, T>(
    direction: &mut Direction,
    read: &[u8],
    sink: &mut D,
    mode: &mut Mode,
    watch: &mut Watch<T>,
    cx: &mut Context<'_>,
) -> Result<(), End>
where
    D: AsyncWrite + Unpin,
    T: FnMut(&Vigil),
{
    if direction.inbox.is_empty() {
        let done = judge(direction, read, sink, mode, watch, cx)?;
        direction
            .inbox
            .extend_from_slice(read.get(done..).unwrap_or_default());
        return Ok(());
    }
    let mut inbox = std::mem::take(&mut direction.inbox);
    inbox.extend_from_slice(read);
    let done = judge(direction, &inbox, sink, mode, watch, cx)?;
    inbox.drain(..done);
    if !inbox.is_empty() {
        direction.inbox = inbox;
    }
    Ok(())
}

/// Judges all that can be judged of `input` and sends it on. How much of it is done with.
fn judge<D, T>(
    direction: &mut Direction,
    input: &[u8],
    sink: &mut D,
    mode: &mut Mode,
    watch: &mut Watch<T>,
    cx: &mut Context<'_>,
) -> Result<usize, End>
where
    D: AsyncWrite + Unpin,
    T: FnMut(&Vigil),
{
    let (mut done, mut used) = (0, 0);
    // What the last step put in a message's place, and what goes on but lies no longer as it came:
    // written in one go, as what was not changed is.
    let (mut out, mut batch) = (Vec::new(), Vec::new());
    watch.check_or_bear(mode)?;
    if let Mode::EngineIo(guard) = mode {
        guard.at(watch.now);
    }
    while done < input.len() {
        let rest = input.get(done..).unwrap_or_default();
        let run = match direction.lane.run(rest, mode, &mut out) {
            Ok(run) => run,
            Err(refused) => {
                send(direction, &batch, sink, watch, cx)?;
                return Err(End::Refused(direction.way, refused));
            }
        };
        let verbatim = rest.get(..run.verbatim).unwrap_or_default();
        if batch.is_empty() && out.is_empty() {
            send(direction, verbatim, sink, watch, cx)?;
        } else {
            batch.extend_from_slice(verbatim);
        }
        if mode.has_news() {
            // Under the login that it was judged by; what the news came with goes under the new one.
            send(direction, &batch, sink, watch, cx)?;
            batch.clear();
        }
        watch.hear(mode)?;
        batch.append(&mut out);
        used += run.used;
        for (counter, count) in watch.counters.iter().zip(run.counts) {
            if count > 0 {
                counter.inc_by(u64::from(count));
            }
        }
        done += run.consumed;
        if run.consumed == 0 {
            break;
        }
    }
    send(direction, &batch, sink, watch, cx)?;
    if used > 0 && direction.way == Way::Up && !watch.vigil.is_bearing() {
        (watch.touch)(&watch.vigil);
    }
    Ok(done)
}

/// Writes `bytes` at once if nothing waits in front of them, and keeps what is left.
fn send<D, T>(
    direction: &mut Direction,
    bytes: &[u8],
    sink: &mut D,
    watch: &mut Watch<T>,
    cx: &mut Context<'_>,
) -> Result<(), End>
where
    D: AsyncWrite + Unpin,
    T: FnMut(&Vigil),
{
    if bytes.is_empty() {
        return Ok(());
    }
    if !direction.outbox.is_empty() {
        direction.outbox.push(bytes);
        return Ok(());
    }
    watch.check()?;
    match Pin::new(sink).poll_write(cx, bytes) {
        Poll::Pending => direction.outbox.push(bytes),
        Poll::Ready(Err(_) | Ok(0)) => return Err(direction.gone()),
        Poll::Ready(Ok(written)) => {
            direction.outbox.wrote(bytes, written);
            direction.unflushed = true;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
