//! Handshake under a deadline; certificate by SNI, reload.
