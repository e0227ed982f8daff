//! connection: see ARCHITECTURE.md.
