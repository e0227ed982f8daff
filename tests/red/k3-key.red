guard: a remembered token needs its key still
file: src/authn.rs
test: lib k3_a_remembered_signature_is_all_that_is_remembered
--- old
            && tokens.still_trusts(verified, now)

--- new

--- end
