guard: a session that was ended is over
file: src/session/cell.rs
test: lib k2_a_cookie_from_before_the_logout_is_worth_nothing_fresh_or_stale
test: gateway k2_a_cookie_from_before_log_out_is_dead_at_once_and_is_not_renewed
--- old
    pub fn ended(&self) -> Option<Ended> {
        Ended::from_code(self.ended.load(Ordering::Acquire))
--- new
    pub fn ended(&self) -> Option<Ended> {
        None
--- end
