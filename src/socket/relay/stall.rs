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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::socket::lane::Mode;

    const PATIENCE: Duration = Duration::from_secs(20);
    const FRAME: &[u8] = b"\x81\x01a";

    #[tokio::test(start_paused = true)]
    async fn w16_the_clock_starts_with_what_waits_and_stops_when_it_is_gone() {
        let mode = Mode::Plain { max_frame: 1024 };
        let mut up = Direction::new(Way::Up, &mode, &bytes::Bytes::new());
        let mut down = Direction::new(Way::Down, &mode, &bytes::Bytes::new());
        let mut stall = Stall::new(PATIENCE);
        let mut look = async |up: &mut Direction, down: &mut Direction, wait: Duration| {
            sleep(wait).await;
            let found = poll_fn(|cx| Poll::Ready(stall.find(up, down, cx))).await;
            (found, stall.next.is_some())
        };
        let every = PATIENCE / LOOKS;
        assert_eq!(look(&mut up, &mut down, PATIENCE * 9).await, (None, false));
        down.outbox.push(FRAME);
        for _ in 0..=LOOKS {
            assert_eq!(look(&mut up, &mut down, every).await, (None, true));
        }
        let found = look(&mut up, &mut down, every).await;
        assert_eq!(found, (Some(Way::Down), true));
        down.outbox.advance(FRAME.len());
        assert_eq!(look(&mut up, &mut down, every).await, (None, false));
    }
}
