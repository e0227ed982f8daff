//! So many messages a second, and so many at once.
//!
//! A bucket is one number: the moment at which it will be full again. It is asked with the time
//! that the caller has read already, and shared without a lock.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::{clock::Timestamp, config::SocketRules};

const NANOS_PER_MILLI: i64 = 1_000_000;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A rate, and how far it may be run ahead of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long one message takes to be made up for, in nanoseconds.
    each: i64,
    /// How long a whole burst takes.
    burst: i64,
}

impl Pace {
    /// Of `[sockets]`; `None`: any number may come.
    pub fn new(rules: &SocketRules) -> Option<Self> {
        let per_second = i64::from(rules.messages_per_second);
        let each = NANOS_PER_SECOND.checked_div(per_second)?;
        let burst = each * i64::from(rules.message_burst.max(1));
        Some(Self { each, burst })
    }

    /// Takes `count` out of the bucket. `false`: there are not so many in it, and it stays as it is.
    pub fn take(self, bucket: &AtomicI64, count: u32, now: Timestamp) -> bool {
        let now = now.0.saturating_mul(NANOS_PER_MILLI);
        // What is larger than the bucket may have all of it.
        let cost = self.each.saturating_mul(count.into()).min(self.burst);
        let latest = now.saturating_add(self.burst);
        let mut full_at = bucket.load(Ordering::Relaxed);
        loop {
            let after = full_at.max(now).saturating_add(cost);
            if after > latest {
                return false;
            }
            match bucket.compare_exchange_weak(full_at, after, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(other) => full_at = other,
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn pace(messages_per_second: u32, message_burst: u32) -> Option<Pace> {
        Pace::new(&SocketRules {
            messages_per_second,
            message_burst,
            ..SocketRules::default()
        })
    }

    #[test]
    fn w15_a_burst_passes_and_then_so_many_a_second() {
        let (pace, bucket) = (pace(10, 100).unwrap(), AtomicI64::new(0));
        let at = |millis: i64| Timestamp(1_700_000_000_000 + millis);
        let sent = |millis| {
            (0..1000)
                .filter(|_| pace.take(&bucket, 1, at(millis)))
                .count()
        };
        assert_eq!(sent(0), 100);
        assert_eq!(sent(99), 0);
        assert_eq!(sent(100), 1);
        assert_eq!(sent(1100), 10);
        assert_eq!(sent(60_000), 100, "no more than a burst is saved up");
        assert_eq!(sent(59_000), 0, "a clock that goes back gives nothing");
        assert!(pace.take(&bucket, 7, at(60_700)));
        assert!(!pace.take(&bucket, 1, at(60_700)));
        assert!(pace.take(&bucket, 5000, at(120_000)), "all of it, once");
        assert!(!pace.take(&bucket, 1, at(120_000)));
    }

    #[test]
    fn zero_is_any_number() {
        assert_eq!(pace(0, 100), None);
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_what_the_time_makes_up_for(
            per_second in 1u32..5000,
            burst in 1u32..1000,
            steps in proptest::collection::vec((0i64..500, 1u32..20), 0..200),
        ) {
            let (pace, bucket) = (pace(per_second, burst).unwrap(), AtomicI64::new(0));
            let (mut now, mut passed) = (1_700_000_000_000, 0);
            let began = now;
            for (wait, count) in steps {
                now += wait;
                if pace.take(&bucket, count, Timestamp(now)) {
                    passed += i64::from(count.min(burst));
                }
            }
            let made_up = (now - began) * NANOS_PER_MILLI / pace.each;
            prop_assert!(passed <= i64::from(burst) + made_up + 1);
        }
    }
}
