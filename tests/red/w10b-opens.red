guard: a plain WebSocket is no Engine.IO after all
file: src/socket/lane.rs
test: lib w10b_an_upstream_that_opens_engine_io_on_a_plain_websocket_is_refused
test: gateway w10b_what_could_be_two_things_is_400_and_goes_nowhere
--- old
if self.parts.starts_with(ENGINE_OPENS) {
--- new
if self.parts.len() > HELD as usize && self.parts.starts_with(ENGINE_OPENS) {
--- end
