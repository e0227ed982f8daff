guard: a login ends at its hard limit
file: src/session/cell.rs
test: lib w3_idle_and_the_hard_limit_end_it_and_only_idle_is_extended_by_use
--- old
        if now >= self.login_exp {
            return Err(Ended::LoginExpired);
        }

--- new

--- end
