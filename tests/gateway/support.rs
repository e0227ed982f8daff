//! The real house, a stub tenant, a browser.

pub(crate) mod browser;
pub(crate) mod engine;
pub(crate) mod h2;
pub(crate) mod house;
pub(crate) mod instance;
pub(crate) mod script;
pub(crate) mod wire;

pub(crate) use browser::Browser;
pub(crate) use house::House;
pub(crate) use instance::Instance;
pub(crate) use script::Script;
pub(crate) use wire::{Answer, Wire};

use std::time::Duration;

/// The longest that anything in a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `future`, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(it) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("too slow: {what}");
    };
    it
}
