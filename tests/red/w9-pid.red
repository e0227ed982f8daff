guard: a pid is worth something to its own login alone
file: src/socket/conversation.rs
test: lib w9_a_pid_is_worth_something_to_its_owner_alone
test: gateway w9_a_connection_is_recovered_by_the_login_that_had_it_alone
--- old
        if opened.is_none() {
            gone.extend([pid]);
--- new
        if opened.is_none() && pid.key.is_empty() {
            gone.extend([pid]);
--- end
