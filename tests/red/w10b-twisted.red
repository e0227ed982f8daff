guard: a key that is encoded or repeated is refused
file: src/socket/engineio.rs
test: lib w10b_a_disguised_or_repeated_key_is_refused
test: gateway w10b_what_could_be_two_things_is_400_and_goes_nowhere
--- old
    if twisted {
--- new
    if twisted && path.is_empty() {
--- end
