//! Proof for [`super`].
