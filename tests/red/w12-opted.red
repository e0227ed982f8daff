guard: version 3 is served where a tenant asks for it, and nowhere else
file: src/socket/engineio.rs
test: lib w10b_a_disguised_or_repeated_key_is_refused
test: gateway w10b_what_could_be_two_things_is_400_and_goes_nowhere
--- old
        _ if eio3 => Version::Three,
--- new
        _ if eio3 || websocket || !websocket => Version::Three,
--- end
