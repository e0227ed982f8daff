//! listen: see ARCHITECTURE.md.
