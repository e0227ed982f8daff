guard: a session that was ended is over
file: src/session/cell.rs
test: lib k2_a_cookie_from_before_the_logout_is_worth_nothing_fresh_or_stale
--- old
        if let Some(ended) = self.ended() {
            return Err(ended.into());
        }
        if self.confined_to
--- new
        if self.confined_to
--- end
