//! The time of day, as something a test can hold.
//!
//! A running gateway reads the wall clock once, at start, and counts on from there with the
//! monotonic clock, so that a clock that steps (NTP, suspend, an operator) ends nobody's
//! session. [`Clock::slew`] draws the difference in, a little at a time.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A moment, in milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `secs` seconds after the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Whole seconds since the epoch, rounded down: a JWT's `NumericDate` (RFC 7519, section 2).
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment, `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// This moment, `by` earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// How long it is from `self` until `later`; zero when `later` has passed.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Tells the time. Cheap to clone; all clones agree.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// Wall time at `origin`, plus what the monotonic clock counted since, plus what was slewed.
    System {
        /// Tells the wall time.
        wall: fn() -> i64,
        wall_at_origin: i64,
        origin: Instant,
        slewed_millis: AtomicI64,
    },
    /// Stands still until it is moved.
    Held(AtomicI64),
}

impl Clock {
    /// The machine's time.
    pub fn system() -> Self {
        Self::by(wall)
    }

    fn by(wall: fn() -> i64) -> Self {
        Self(Arc::new(Source::System {
            wall,
            wall_at_origin: wall(),
            origin: Instant::now(),
            slewed_millis: AtomicI64::new(0),
        }))
    }

    /// A clock that stands at `at` until [`Clock::advance`] moves it. For tests.
    pub fn held(at: Timestamp) -> Self {
        Self(Arc::new(Source::Held(AtomicI64::new(at.0))))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::System {
                wall_at_origin,
                origin,
                slewed_millis,
                ..
            } => Timestamp(
                wall_at_origin
                    .saturating_add(millis(origin.elapsed()))
                    .saturating_add(slewed_millis.load(Ordering::Relaxed)),
            ),
            Source::Held(at) => Timestamp(at.load(Ordering::SeqCst)),
        }
    }

    /// Moves a held clock forward. A system clock takes no notice.
    pub fn advance(&self, by: Duration) {
        if let Source::Held(at) = &*self.0 {
            at.fetch_add(millis(by), Ordering::SeqCst);
        }
    }

    /// Draws a system clock towards the wall clock by at most `most`. Called once in a while.
    pub fn slew(&self, most: Duration) {
        if let Source::System {
            wall,
            slewed_millis,
            ..
        } = &*self.0
        {
            let off = wall().saturating_sub(self.now().0);
            let most = millis(most);
            slewed_millis.fetch_add(off.clamp(-most, most), Ordering::Relaxed);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the wall clock"
)]
fn wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    millis(since.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_clock_moves_only_when_told() {
        let clock = Clock::held(Timestamp::from_secs(100));
        assert_eq!(clock.now(), Timestamp::from_secs(100));
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now().secs(), 105);
    }

    #[test]
    fn w20_a_wall_clock_that_steps_is_followed_by_no_more_than_a_little_at_a_time() {
        static WALL: AtomicI64 = AtomicI64::new(1_800_000_000_000);
        const HOUR: i64 = 3_600_000;
        let most = Duration::from_millis(10);
        // (What the monotonic clock counts while the test runs.)
        let slack = 60_000;
        for step in [HOUR, -2 * HOUR, HOUR] {
            let clock = Clock::by(|| WALL.load(Ordering::SeqCst));
            let before = clock.now().0;
            WALL.fetch_add(step, Ordering::SeqCst);
            let moved = clock.now().0 - before;
            assert!((0..slack).contains(&moved), "{step}: {moved}");
            for _ in 0..100 {
                clock.slew(most);
            }
            let drawn = clock.now().0 - before;
            let expected = 100 * 10 * step.signum();
            assert!(
                (expected..expected + slack).contains(&drawn),
                "{step}: {drawn}"
            );
        }
        // Where nothing is off, nothing is drawn.
        let clock = Clock::by(|| 7);
        clock.slew(most);
        assert!((-3..slack).contains(&clock.now().0));
    }

    #[test]
    fn time_spans_never_underflow() {
        let early = Timestamp::from_secs(1);
        let late = Timestamp::from_secs(3);
        assert_eq!(early.until(late), Duration::from_secs(2));
        assert_eq!(late.until(early), Duration::ZERO);
    }
}
