//! limit: see ARCHITECTURE.md.
