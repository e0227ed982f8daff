//! The one source of randomness: ids, tickets, challenges.

use std::cell::RefCell;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// `N` random bytes from the operating system's generator.
///
/// # Panics
/// When the operating system has no randomness to give: nothing safe can be done then.
#[expect(
    clippy::expect_used,
    reason = "without randomness there is no safe way to go on"
)]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    aws_lc_rs::rand::fill(&mut out).expect("the operating system gives random bytes");
    out
}

/// How many identifiers' bytes are asked for at once.
const AHEAD: usize = 64;

thread_local! {
    /// Asked for and not given out yet: every request has an identifier, and the generator costs
    /// as much for one as for many. (No secret is ever made of these.)
    static UNUSED: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
}

/// A fresh identifier of 128 bits: 22 characters of base64url.
pub fn id() -> String {
    let fresh = UNUSED.with_borrow_mut(|unused| {
        if unused.is_empty() {
            let bytes = bytes::<{ 16 * AHEAD }>();
            unused.extend_from_slice(bytes.as_chunks().0);
        }
        unused.pop()
    });
    URL_SAFE_NO_PAD.encode(fresh.unwrap_or_else(bytes))
}

/// A fresh bearer secret of 256 bits: 43 characters of base64url.
pub fn ticket() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn identifiers_are_long_and_never_repeat() {
        assert_eq!(super::id().len(), 22);
        assert_eq!(super::ticket().len(), 43);
        assert_ne!(super::ticket(), super::ticket());
        let many: std::collections::HashSet<String> = (0..1000).map(|_| super::id()).collect();
        assert_eq!(many.len(), 1000);
    }
}
