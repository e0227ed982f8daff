guard: a code works once
file: src/store/sqlite/users.rs
test: lib l1_a_totp_step_is_taken_once_by_whoever_asks_first
--- old
WHERE id = ?1 AND totp_last_step < ?2"
--- new
WHERE id = ?1 AND (totp_last_step < ?2 OR 1)"
--- end
