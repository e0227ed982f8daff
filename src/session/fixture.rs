//! Cells for tests.
