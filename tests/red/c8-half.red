guard: a half-done login is for the host that it began on
file: src/signin/notes.rs
test: lib c8_a_half_done_login_is_no_session_no_state_and_no_ticket
--- old
        if h != host.as_str() {
--- new
        if false && h != host.as_str() {
--- end
