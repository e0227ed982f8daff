guard: a socket needs this very origin
file: src/authz/sibling.rs
test: lib w1_a_socket_needs_this_very_origin
test: gateway w1_a_handshake_needs_this_very_origin
--- old
return origin.is_some_and(|it| is_ours(it, ask, allowed));
--- new
return true;
--- end
