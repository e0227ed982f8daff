//! Headers that a visitor may not send.
