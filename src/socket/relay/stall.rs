//! Who does not read: noticed by a clock that runs only while something waits to be written.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::Direction;
use crate::socket::Way;

/// So many looks in a row that find nothing written are the whole patience.
const LOOKS: u32 = 4;

/// Looks at the buffers every now and then.
#[derive(Debug)]
pub(super) struct Stall {
    every: Duration,
    next: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            every: patience / LOOKS,
            next: None,
        }
    }

    /// The way that nobody reads, if the patience is over.
    pub(super) fn find(
        &mut self,
        up: &mut Direction,
        down: &mut Direction,
        cx: &mut Context<'_>,
    ) -> Option<Way> {
        let is_waiting = up.waits() || down.waits();
        if self.next.is_none() && !is_waiting {
            return None;
        }
        let every = self.every;
        let next = self.next.get_or_insert_with(|| Box::pin(sleep(every)));
        while let Poll::Ready(()) = next.as_mut().poll(cx) {
            if !is_waiting {
                self.next = None;
                return None;
            }
            for direction in [&mut *up, &mut *down] {
                direction.unread = if direction.waits() {
                    direction.unread + 1
                } else {
                    0
                };
                // (The first look may come right after the last write.)
                if direction.unread > LOOKS {
                    return Some(direction.way);
                }
            }
            next.as_mut().reset(Instant::now() + every);
        }
        None
    }
}
