//! Identities for tests.
