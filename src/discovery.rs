//! discovery: see ARCHITECTURE.md.
