guard: a client's frames are masked and a server's are not
file: src/socket/frame.rs
test: lib w14_reserved_bits_wrong_masks_and_long_lengths_are_refused
test: gateway w14_what_is_no_frame_closes_with_1002
--- old
if masked != (way == Way::Up) {
--- new
if masked && !masked && way == Way::Up {
--- end
