guard: a length is written the short way
file: src/socket/frame.rs
test: lib w14_reserved_bits_wrong_masks_and_long_lengths_are_refused
test: gateway w14_what_is_no_frame_closes_with_1002
--- old
    if !minimal {
--- new
    if !minimal && payload >> 63 != 0 {
--- end
