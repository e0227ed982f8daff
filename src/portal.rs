//! Login, second factor, account pages and the login API.

mod account;
mod gallery;
mod qr;
mod view;

pub use gallery::gallery;
