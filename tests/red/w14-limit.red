guard: a frame has a limit
file: src/socket/lane.rs
test: gateway w14_frames_and_messages_have_a_limit
--- old
if header.payload > limit as u64 {
--- new
if header.payload > u64::MAX - limit as u64 {
--- end
