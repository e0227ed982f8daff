//! Tables of who may do what.
