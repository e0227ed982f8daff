//! Tickets for resumption, shared by all cores.
//!
//! Their keys change every six hours, and at once with the certificates: a resumed session shows
//! none, so whoever holds an old ticket would go on under one that was taken away.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::{crypto::aws_lc_rs::Ticketer, server::ProducesTickets};

use crate::tls::Certificates;

/// Makes and reads tickets.
#[derive(Debug)]
pub(super) struct Tickets {
    certificates: Arc<Certificates>,
    made: ArcSwapOption<Made>,
}

/// What makes them, for one state of the certificates.
#[derive(Debug)]
struct Made {
    revision: u64,
    by: Arc<dyn ProducesTickets>,
}

impl Tickets {
    /// For handshakes with these certificates.
    pub(super) fn new(certificates: Arc<Certificates>) -> Self {
        Self {
            certificates,
            made: ArcSwapOption::empty(),
        }
    }

    /// `None`: there is no randomness to make a key of. Then nothing is resumed.
    fn current(&self) -> Option<Arc<Made>> {
        let revision = self.certificates.revision();
        if let Some(made) = self.made.load_full().filter(|it| it.revision == revision) {
            return Some(made);
        }
        // Two cores may both come here: tickets of the one that was slower open nothing, and a
        // whole handshake follows.
        let by = Ticketer::new().ok()?;
        let made = Arc::new(Made { revision, by });
        self.made.store(Some(Arc::clone(&made)));
        Some(made)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.current().is_some_and(|it| it.by.enabled())
    }

    fn lifetime(&self) -> u32 {
        self.current().map_or(0, |it| it.by.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.current()?.by.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.current()?.by.decrypt(cipher)
    }
}
