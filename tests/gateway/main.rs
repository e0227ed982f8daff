//! The default suite: the real gateway on port 0, a stub tenant behind it, real sockets between.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by falling over"
)]

/// The real house, a stub tenant, a browser.
mod support;

/// Who is let in, who is sent where.
mod access;
/// Engine.IO and Socket.IO, by both transports.
mod engine;
/// Requests and answers under way: streams, sizes, cuts.
mod forwarding;
/// Requests that no honest client sends.
mod hostile;
/// HTTP/2.
mod http2;
/// WebSockets over HTTP/2 (RFC 8441).
mod http2_sockets;
/// How much and how many of sockets and their messages.
mod limits;
/// What packets may say.
mod packets;
/// RFC 6455, case by case, both ways.
mod rfc6455;
/// Open sockets and the end of sessions.
mod sockets;
/// Handshakes and certificates.
mod tls;
/// Tokens in messages.
mod tokens;
