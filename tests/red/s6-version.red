guard: a handshake names version 13, once
file: src/intake/handshake.rs
test: lib s5_s6_a_handshake_that_is_none_is_refused
--- old
        && right_version()
        && has_key
--- new
        && has_key
--- end
