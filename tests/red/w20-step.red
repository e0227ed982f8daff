guard: a wall clock that steps is followed a little at a time
file: src/clock.rs
test: lib w20_a_wall_clock_that_steps_is_followed_by_no_more_than_a_little_at_a_time
--- old
off.clamp(-most, most)
--- new
off.clamp(-most.abs().saturating_mul(1 << 30), most.saturating_mul(1 << 30))
--- end
