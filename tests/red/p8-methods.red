guard: CONNECT, TRACE and the like are not served
file: src/intake/admit.rs
test: lib p8_methods_that_are_not_served_are_refused
--- old
if websocket || (!refused && name.len() <= LONGEST_METHOD) {
--- new
if websocket || !refused || name.len() <= LONGEST_METHOD {
--- end
