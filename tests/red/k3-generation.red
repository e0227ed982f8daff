guard: a generation that the session never had is refused
file: src/session/cell.rs
test: lib k3_a_generation_that_the_session_never_had_is_refused
--- old
if token_generation > standing.generation {
--- new
if false && token_generation > standing.generation {
--- end
