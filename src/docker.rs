//! docker: see ARCHITECTURE.md.
