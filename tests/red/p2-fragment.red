guard: no # in a target
file: src/intake/wire/scan.rs
test: lib p2_p4_a_target_without_sense_is_refused
--- old
0..=b' ' | b'#' | 0x7f
--- new
0..=b' ' | 0x7f
--- end
