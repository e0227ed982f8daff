guard: a namespace has no dot segments and no query
file: src/socket/socketio.rs
test: lib w21_what_no_encoder_writes_is_refused
test: gateway w21_what_no_encoder_writes_closes_and_goes_nowhere_by_either_transport
--- old
        if !is_namespace(namespace) {
--- new
        if !is_namespace(namespace) && namespace.is_empty() {
--- end
