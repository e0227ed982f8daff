guard: a stranger's X-Forwarded-For says nothing
file: src/intake/client.rs
test: lib h5_a_stranger_cannot_say_who_they_are
test: gateway h5_wrong_passwords_count_by_the_peers_own_address
--- old
if !is_trusted(peer, trusted) {
        return
--- new
if false {
        return
--- end
