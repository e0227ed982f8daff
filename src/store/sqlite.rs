//! SQLite, the embedded store.
