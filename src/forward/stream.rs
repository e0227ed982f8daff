//! Bodies under way. Each piece is let through only while the vigil holds; a silent one is
//! woken when it is over; one that stalls is ended.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    body::{Body, BodyError},
    forward::{ForwardError, Patience, Pool, Shared, check, clean, pool::Conn},
};

/// The fate of a request's body, as its answer's side sees it.
#[derive(Debug, Default)]
pub(super) struct Broke {
    finished: Cell<bool>,
    pieces: Cell<u64>,
    why: Cell<Option<Fault>>,
}

#[derive(Debug, Clone, Copy, thiserror::Error)]
enum Fault {
    #[error("the request's body is too large")]
    TooLarge,
    #[error("the request's body stalled")]
    Stalled,
    #[error("the request's body broke off")]
    Broken,
    #[error(transparent)]
    Over(crate::authz::Over),
}

/// An answer that stalled.
#[derive(Debug, thiserror::Error)]
#[error("the answer stalled")]
struct AnswerStalled;

impl Broke {
    pub(super) fn finish(&self) {
        self.finished.set(true);
    }

    /// Whether all of it was sent.
    pub(super) fn is_finished(&self) -> bool {
        self.finished.get()
    }

    /// How many pieces were sent.
    pub(super) fn moved(&self) -> u64 {
        self.pieces.get()
    }

    /// Why it broke off, if it did.
    pub(super) fn why(&self) -> Option<ForwardError> {
        self.why.get().map(|it| match it {
            Fault::TooLarge => ForwardError::BodyTooLarge,
            Fault::Stalled => ForwardError::BodyStalled,
            Fault::Broken => ForwardError::BodyBroken,
            Fault::Over(over) => ForwardError::Over(over),
        })
    }
}

/// Ends a stream that is silent for too long, or whose vigil is over. Costs nothing until the
/// stream has nothing to give.
#[derive(Default)]
struct Waiting {
    patience: Option<Duration>,
    stall: Option<Pin<Box<Sleep>>>,
    alarm: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Since the last piece nothing was waited for.
    fresh: bool,
}

/// Why waiting ended.
enum Ended {
    Stalled,
    Over(crate::authz::Over),
}

impl Waiting {
    /// A piece came.
    fn moved(&mut self) {
        self.fresh = true;
    }

    fn poll(&mut self, vigil: Option<&Shared>, context: &mut Context<'_>) -> Poll<Ended> {
        if let Some(vigil) = vigil
            && let Poll::Ready(over) = self.poll_alarm(vigil, context)
        {
            return Poll::Ready(Ended::Over(over));
        }
        let Some(patience) = self.patience else {
            return Poll::Pending;
        };
        let fresh = std::mem::replace(&mut self.fresh, false);
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(patience)));
        if fresh {
            stall.as_mut().reset(Instant::now() + patience);
        }
        stall.as_mut().poll(context).map(|()| Ended::Stalled)
    }

    fn poll_alarm(
        &mut self,
        vigil: &Shared,
        context: &mut Context<'_>,
    ) -> Poll<crate::authz::Over> {
        loop {
            let alarm = self.alarm.get_or_insert_with(|| vigil.borrow().alarm());
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if let Err(over) = check(vigil) {
                return Poll::Ready(over);
            }
            if vigil.borrow().is_draining() {
                // What is in hand is finished, and asked about at each piece.
                self.alarm = Some(Box::pin(std::future::pending()));
                return Poll::Pending;
            }
            self.alarm = None;
        }
    }
}

/// A request's body on its way up.
pub(super) struct Upload {
    body: Body,
    vigil: Option<Shared>,
    waiting: Waiting,
    left: Option<u64>,
    broke: Rc<Broke>,
}

impl Upload {
    pub(super) fn new(
        body: Body,
        vigil: Option<Shared>,
        patience: Patience,
        broke: Rc<Broke>,
    ) -> Self {
        let waiting = Waiting {
            patience: Some(patience.body),
            ..Waiting::default()
        };
        Self {
            body,
            vigil,
            waiting,
            left: (patience.largest > 0).then_some(patience.largest),
            broke,
        }
    }

    fn fail(&self, why: Fault) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.broke.why.set(Some(why));
        Poll::Ready(Some(Err(why.into())))
    }

    /// Counts a piece against what may be sent.
    fn count(&mut self, bytes: &Bytes) -> Result<(), Fault> {
        self.broke.pieces.set(self.broke.pieces.get() + 1);
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(bytes.len() as u64)
                .ok_or(Fault::TooLarge)?;
        }
        Ok(())
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if let Some(Err(over)) = this.vigil.as_ref().map(check) {
                return this.fail(Fault::Over(over));
            }
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    this.broke.finish();
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(_))) => return this.fail(Fault::Broken),
                Poll::Ready(Some(Ok(frame))) => {
                    this.waiting.moved();
                    // A visitor's trailers end here.
                    if let Ok(bytes) = frame.into_data() {
                        if let Err(fault) = this.count(&bytes) {
                            return this.fail(fault);
                        }
                        if this.body.is_end_stream() {
                            this.broke.finish();
                        }
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
            }
        }
        match this.waiting.poll(this.vigil.as_ref(), context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ended::Stalled) => this.fail(Fault::Stalled),
            Poll::Ready(Ended::Over(over)) => this.fail(Fault::Over(over)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body on its way down. Gives the connection back when it ended cleanly.
pub(super) struct Download {
    body: Incoming,
    vigil: Option<Shared>,
    waiting: Waiting,
    conn: Option<(Rc<Pool>, Conn)>,
}

impl Download {
    pub(super) fn new(
        body: Incoming,
        vigil: Option<Shared>,
        conn: Option<(Rc<Pool>, Conn)>,
    ) -> Self {
        Self {
            body,
            vigil,
            waiting: Waiting::default(),
            conn,
        }
    }

    /// May be silent for so long; `None`: for ever.
    pub(super) fn patient(mut self, patience: Option<Duration>) -> Self {
        self.waiting.patience = patience;
        self
    }

    /// There is nothing (more) to come.
    pub(super) fn finish(mut self) {
        self.give_back();
    }

    fn give_back(&mut self) {
        if let Some((pool, conn)) = self.conn.take() {
            pool.put(conn);
        }
    }

    /// Breaks off: the visitor must not take what came so far for all of it.
    fn fail(&mut self, why: impl Into<BodyError>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.conn = None;
        Poll::Ready(Some(Err(why.into())))
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(Err(over)) = this.vigil.as_ref().map(check) {
            return this.fail(over);
        }
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(None) => {
                this.give_back();
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => return this.fail(error),
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting.moved();
                return Poll::Ready(Some(Ok(tame_trailers(frame))));
            }
            Poll::Pending => {}
        }
        match this.waiting.poll(this.vigil.as_ref(), context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ended::Stalled) => this.fail(AnswerStalled),
            Poll::Ready(Ended::Over(over)) => this.fail(over),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Download {
    /// hyper may not ask again after the last piece of a body whose length it knows.
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}

/// Trailers are headers too.
fn tame_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            clean::drop_reserved(&mut trailers as &mut HeaderMap);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}
