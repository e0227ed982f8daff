guard: eight attempts at most
file: src/signin.rs
test: lib b3_eight_attempts_are_kept_and_the_oldest_goes
--- old
let surplus = (kept.len() + 1).saturating_sub(ATTEMPTS);
--- new
let surplus = 0;
--- end
