//! Bodies on their way: each piece passes only while the vigil holds, within its time.

use std::{
    cell::Cell,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use tokio::time::{Instant, Sleep};

use crate::{
    authz::{Over, Vigil},
    body::{Body, BodyError},
    config::Limits,
    forward::{ForwardError, Pool},
};

/// A connection to be laid to rest once its answer has been read to the end.
pub(super) struct Keep {
    pool: Rc<Pool>,
    address: SocketAddr,
    sender: Option<SendRequest<Body>>,
    sent: Rc<Cell<bool>>,
}

impl Keep {
    pub(super) fn new(
        pool: Rc<Pool>,
        address: SocketAddr,
        sender: SendRequest<Body>,
        sent: Rc<Cell<bool>>,
    ) -> Self {
        Self {
            pool,
            address,
            sender: Some(sender),
            sent,
        }
    }

    /// The answer has ended as it should. An answer that came before the request's body was
    /// read leaves a connection that nobody may use again.
    fn rest(&mut self) {
        if let Some(sender) = self.sender.take()
            && self.sent.get()
        {
            self.pool.put(self.address, sender);
        }
    }
}

/// The time that the next piece may take, set anew at each piece.
struct Patience {
    most: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(most: Duration) -> Self {
        Self { most, sleep: None }
    }

    fn is_out(&mut self, context: &mut Context<'_>) -> bool {
        let most = self.most;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
        sleep.as_mut().poll(context).is_ready()
    }

    fn renew(&mut self) {
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(Instant::now() + self.most);
        }
    }
}

/// A vigil, and the alarm that wakes a body which waits.
struct Watched {
    vigil: Vigil,
    alarm: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Watched {
    fn new(vigil: Vigil) -> Self {
        Self { vigil, alarm: None }
    }

    fn check(&mut self) -> Result<(), Over> {
        self.vigil.check(self.vigil.now())
    }

    /// Whether it is over, else wakes the task when it may be.
    fn is_over(&mut self, context: &mut Context<'_>) -> Result<(), Over> {
        loop {
            let alarm = self.alarm.get_or_insert_with(|| self.vigil.alarm());
            if alarm.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            self.check()?;
            if self.vigil.is_draining() {
                // It may finish; and this alarm would ring for ever.
                self.alarm = Some(Box::pin(std::future::pending()));
                return Ok(());
            }
            self.alarm = None;
        }
    }
}

/// The answer's body as a [`Body`]: nothing to watch where it has ended already.
pub(super) fn download(body: Incoming, vigil: Vigil, mut keep: Keep, limits: &Limits) -> Body {
    if body.is_end_stream() {
        keep.rest();
        return Body::Empty;
    }
    Body::stream(Download {
        body,
        watched: Watched::new(vigil),
        keep,
        patience: Patience::new(limits.stream_timeout),
    })
}

/// From the upstream to the client.
struct Download {
    body: Incoming,
    watched: Watched,
    keep: Keep,
    patience: Patience,
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            self.watched.is_over(context)?;
            if self.patience.is_out(context) {
                return Poll::Ready(Some(Err(ForwardError::TooSlow.into())));
            }
            return Poll::Pending;
        };
        let Some(frame) = frame else {
            self.keep.rest();
            return Poll::Ready(None);
        };
        self.watched.check()?;
        self.patience.renew();
        if self.body.is_end_stream() {
            self.keep.rest();
        }
        Poll::Ready(Some(frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// From the client to the upstream.
pub(super) struct Upload {
    body: Body,
    watched: Watched,
    sent: Rc<Cell<bool>>,
    /// Bytes that may still come; `None`: any number.
    left: Option<u64>,
    patience: Patience,
}

impl Upload {
    pub(super) fn new(body: Body, vigil: Vigil, sent: Rc<Cell<bool>>, limits: &Limits) -> Self {
        Self {
            body,
            watched: Watched::new(vigil),
            sent,
            left: (limits.body > 0).then_some(limits.body),
            patience: Patience::new(limits.body_timeout),
        }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if Pin::new(&mut self.body).is_end_stream() {
            self.sent.set(true);
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                self.watched.is_over(context)?;
                if self.patience.is_out(context) {
                    return Poll::Ready(Some(Err(ForwardError::TooSlow.into())));
                }
                return Poll::Pending;
            }
        };
        let Some(frame) = frame.transpose()? else {
            self.sent.set(true);
            return Poll::Ready(None);
        };
        self.watched.check()?;
        self.patience.renew();
        let length = frame.data_ref().map_or(0, |it| it.len() as u64);
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(length).ok_or(ForwardError::TooLarge)?;
        }
        if self.body.is_end_stream() {
            self.sent.set(true);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
