//! Paths: the raw form that is forwarded, and the one that decisions are made on.

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// It can be read in one way only: percent-decoded, begins with `/`.
    Plain(String),
    /// It could be read in two ways (encoded slash or dot, dot segments, backslash, NUL, `;` in
    /// a dot segment, `//`): refused wherever a path matters, untouched elsewhere.
    Ambiguous,
}
