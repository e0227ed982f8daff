//! What a sign-in must do.
