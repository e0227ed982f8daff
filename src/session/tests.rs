//! What a login must do.
