guard: a handshake is one however Connection is written
file: src/intake/handshake.rs
test: lib w18b_a_handshake_is_one_however_connection_is_written
--- old
.any(|it| it.trim().eq_ignore_ascii_case(token))
--- new
.any(|it| it.trim() == token)
--- end
