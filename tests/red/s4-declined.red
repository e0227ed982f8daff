guard: an upstream that declines opens no tunnel
file: src/forward/handshake.rs
test: lib s4_s6_an_upstream_that_refuses_opens_no_tunnel
--- old
if response.status() != StatusCode::SWITCHING_PROTOCOLS {
--- new
if false {
--- end
