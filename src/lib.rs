//! Portcullis: an authenticating reverse-proxy gateway for Node-RED and uibuilder containers.
//!
//! The modules stand in the order in which they may know each other: a module uses only
//! modules listed above it. `ARCHITECTURE.md` is the map; `tests/tidy.rs` holds the order.

// The shelves: anyone below may reach up to them.
pub mod clock;
pub mod random;
pub mod secret;
pub mod name;
pub mod breached;
pub mod config;
pub mod telemetry;
pub mod store;
pub mod token;
pub mod session;
pub mod account;
pub mod signin;

// The corridor, in the order a request walks it.
pub mod listen;
pub mod tls;
pub mod body;
pub mod intake;
pub mod limit;
pub mod route;
pub mod authn;
pub mod authz;
pub mod forward;
pub mod socket;
pub mod reply;
pub mod portal;
pub mod pipeline;
pub mod connection;

// The house.
pub mod docker;
pub mod discovery;
pub mod admin;
pub mod gateway;
pub mod demo;
pub mod cli;
