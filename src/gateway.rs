//! gateway: see ARCHITECTURE.md.
