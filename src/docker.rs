//! The Docker client: which containers run, what they carry, and the moment that changes.
//!
//! [`watch()`] follows one engine and tells complete snapshots. It never gives up: while the
//! engine is away the last snapshot stands. What a container asks for is none of its
//! business; `discovery` reads that.

mod container;
mod engine;
mod event;
#[cfg(test)]
pub(crate) mod fake;
mod own;
mod roll;
mod watch;

pub use container::{Attached, Container, Health, Origin, Port, Setting};
pub use engine::{EngineError, Source};
pub use own::GatewayNetworks;
pub use watch::{Running, Snapshot, survey, watch};
