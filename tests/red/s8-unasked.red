guard: nobody switches protocols unasked
file: src/forward.rs
test: lib s8_nobody_switches_protocols_unasked
--- old
if response.status() == StatusCode::SWITCHING_PROTOCOLS {
--- new
if false {
--- end
