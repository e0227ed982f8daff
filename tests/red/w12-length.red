guard: a packet's length is written in one way
file: src/socket/payload.rs
test: lib w12_a_length_is_written_in_one_way
--- old
    if *digits.first()? == zero {
--- new
    if digits.is_empty() {
--- end
