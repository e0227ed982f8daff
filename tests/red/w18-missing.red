guard: an in-band message on a cookie's connection needs a token of its own
file: src/socket/conversation/word.rs
test: lib w18_in_band_a_message_needs_its_own_token_and_the_token_goes_no_further
test: gateway w18_in_band_each_message_shows_a_token_by_either_transport
--- old
Shown::Cookie => self.lacks("missing", terms),
--- new
Shown::Cookie => Heard::Passes,
--- end
