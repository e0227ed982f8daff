guard: a token keeps its own level
file: src/session/cell.rs
test: lib k4_a_step_up_raises_the_login_and_not_the_older_token
--- old
level: token_level.min(standing.level),
--- new
level: standing.level,
--- end
