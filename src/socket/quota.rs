//! How many sockets may be open at once: of one login on one tenant, and of one tenant.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::{config::SocketRules, name::TenantId, session::Grant};

/// Why there is no seat for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// One login's sockets on one tenant.
    #[error("this login has too many sockets open here")]
    Login,
    /// One tenant's sockets.
    #[error("this tenant has too many sockets open")]
    Tenant,
}

impl Full {
    /// As it is counted (`portcullis_socket_limits`).
    pub fn limit(self) -> &'static str {
        match self {
            Self::Login => "per_session",
            Self::Tenant => "per_tenant",
        }
    }
}

/// Every tenant's open sockets. (A login's are counted in its grant.)
#[derive(Debug, Default)]
pub struct Quotas {
    tenants: papaya::HashMap<TenantId, Arc<AtomicU32>>,
}

impl Quotas {
    /// Seats for one more socket. Asked once per handshake, before a tenant hears of it.
    pub fn take(
        &self,
        tenant: &TenantId,
        grant: Option<&Arc<Grant>>,
        rules: &SocketRules,
    ) -> Result<Seats, Full> {
        let login = match grant {
            Some(it) => Some(Seat::take(&it.sockets, rules.per_session).ok_or(Full::Login)?),
            None => None,
        };
        let tenants = self.tenants.pin();
        let count = tenants.get_or_insert_with(tenant.clone(), Arc::default);
        let tenant = Seat::take(count, rules.per_tenant).ok_or(Full::Tenant)?;
        Ok(Seats {
            _login: login,
            _tenant: tenant,
        })
    }
}

/// What an open socket takes up; given back when it is dropped, however that comes about.
#[derive(Debug)]
pub struct Seats {
    _login: Option<Seat>,
    _tenant: Seat,
}

#[derive(Debug)]
struct Seat(Arc<AtomicU32>);

impl Seat {
    /// One of `most`; 0: of any number.
    fn take(count: &Arc<AtomicU32>, most: u32) -> Option<Self> {
        let one_more = |taken: u32| (most == 0 || taken < most).then(|| taken.saturating_add(1));
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
            .then(|| Self(Arc::clone(count)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fixture;

    #[test]
    fn w15_seats_are_given_back_whatever_happens() {
        let rules = SocketRules {
            per_session: 2,
            per_tenant: 3,
            ..SocketRules::default()
        };
        let quotas = Quotas::default();
        let (tenant, other) = (TenantId::from("t1"), TenantId::from("t2"));
        let cell = |user| fixture::cell(&fixture::user(user), 2, "r1.example.net", "t1");
        let (alice, bob) = (cell("alice"), cell("bob"));
        let (alice, bob) = (alice.standing.load(), bob.standing.load());
        let take = |tenant: &TenantId, grant| quotas.take(tenant, Some(grant), &rules);
        let first = take(&tenant, &alice.grants[0]).unwrap();
        let second = take(&tenant, &alice.grants[0]).unwrap();
        assert_eq!(take(&tenant, &alice.grants[0]).unwrap_err(), Full::Login);
        let his = take(&tenant, &bob.grants[0]).unwrap();
        assert_eq!(Full::Login.limit(), "per_session");
        assert_eq!(Full::Tenant.limit(), "per_tenant");
        // Refused by the tenant's number, he has not lost one of his own.
        for _ in 0..5 {
            assert_eq!(take(&tenant, &bob.grants[0]).unwrap_err(), Full::Tenant);
        }
        assert_eq!(
            quotas.take(&tenant, None, &rules).unwrap_err(),
            Full::Tenant
        );
        assert!(quotas.take(&other, None, &rules).is_ok());
        drop(first);
        let fell_over = std::thread::spawn(move || {
            let _held = second;
            panic!("in the middle of it");
        });
        assert!(fell_over.join().is_err());
        let again = [
            take(&tenant, &bob.grants[0]).unwrap(),
            take(&tenant, &alice.grants[0]).unwrap(),
        ];
        drop((his, again));
        assert!(take(&tenant, &alice.grants[0]).is_ok());
    }

    #[test]
    fn zero_is_any_number() {
        let rules = SocketRules {
            per_session: 0,
            per_tenant: 0,
            ..SocketRules::default()
        };
        let quotas = Quotas::default();
        let tenant = TenantId::from("t1");
        let held: Vec<_> = (0..1000)
            .map(|_| quotas.take(&tenant, None, &rules))
            .collect();
        assert!(held.iter().all(Result::is_ok));
    }
}
