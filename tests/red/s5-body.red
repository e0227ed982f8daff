guard: a handshake has no body
file: src/intake/handshake.rs
test: lib s5_s6_a_handshake_that_is_none_is_refused
--- old
        && !has_body

--- new

--- end
