//! reply: see ARCHITECTURE.md.
