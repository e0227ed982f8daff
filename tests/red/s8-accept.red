guard: a 101 proves that the key was read
file: src/forward/handshake.rs
test: lib s8_a_switch_must_be_the_one_that_was_asked_for
--- old
if !upgraded || !accepted ||
--- new
if !upgraded ||
--- end
