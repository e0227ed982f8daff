//! The one variable that kills the process on purpose, for tests of what survives it.

/// `PORTCULLIS_FAILPOINT`, as `name:N`: [`crate::store::failpoint`] says what it does.
pub fn failpoint() -> Option<String> {
    std::env::var_os("PORTCULLIS_FAILPOINT")?.into_string().ok()
}
