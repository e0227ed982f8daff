//! Too often?

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use crate::config::Limits;

/// Too many requests from one address. 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests from one address")]
pub struct TooMany {
    /// When the next one would be let through.
    pub retry_after: Duration,
}

/// Counts requests per client address (an IPv6 one's /64). Shared by all cores.
#[derive(Debug, Default)]
pub struct Limiter {
    per_address: Option<DefaultKeyedRateLimiter<IpAddr>>,
    clock: DefaultClock,
}

impl Limiter {
    /// By these limits.
    pub fn new(limits: &Limits) -> Self {
        Self {
            per_address: NonZeroU32::new(limits.requests_per_address)
                .map(|it| RateLimiter::keyed(Quota::per_second(it))),
            clock: DefaultClock::default(),
        }
    }

    /// One more request from `client`.
    pub fn check(&self, client: IpAddr) -> Result<(), TooMany> {
        let Some(limiter) = &self.per_address else {
            return Ok(());
        };
        limiter.check_key(&prefix(client)).map_err(|until| TooMany {
            retry_after: until.wait_time_from(self.clock.now()),
        })
    }

    /// Forgets who has not been here lately. To be called every few seconds: the memory it
    /// takes would grow with every address otherwise.
    pub fn sweep(&self) {
        if let Some(limiter) = &self.per_address {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// One visitor: an IPv4 address, or the /64 that an IPv6 visitor has all to themselves.
fn prefix(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(it) => {
            let high = it.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(high).into()
        }
        it @ IpAddr::V4(_) => it,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(requests_per_address: u32) -> Limiter {
        Limiter::new(&Limits {
            requests_per_address,
            ..Limits::default()
        })
    }

    #[test]
    fn zero_is_any_number() {
        let limiter = limiter(0);
        let client = IpAddr::from([1, 2, 3, 4]);
        assert!((0..1000).all(|_| limiter.check(client).is_ok()));
        limiter.sweep();
    }

    #[test]
    fn one_address_does_not_use_up_anothers_share() {
        let limiter = limiter(3);
        let one = IpAddr::from([1, 2, 3, 4]);
        let other = IpAddr::from([1, 2, 3, 5]);
        assert!((0..3).all(|_| limiter.check(one).is_ok()));
        let refused = limiter.check(one).unwrap_err();
        assert!(
            refused.retry_after > Duration::ZERO && refused.retry_after < Duration::from_secs(1)
        );
        assert!(limiter.check(other).is_ok());
    }

    #[test]
    fn an_ipv6_visitor_cannot_hop_within_their_own_network() {
        let limiter = limiter(1);
        assert!(limiter.check("2001:db8::1".parse().unwrap()).is_ok());
        assert!(limiter.check("2001:db8::2".parse().unwrap()).is_err());
        assert!(limiter.check("2001:db8:0:1::2".parse().unwrap()).is_ok());
    }
}
