//! Who is told apart from whom.
