guard: a token of ours is taken out of a message
file: src/socket/conversation/event.rs
test: lib w18_in_band_a_message_needs_its_own_token_and_the_token_goes_no_further
test: lib in_session_mode_a_token_is_taken_out_and_a_bad_one_changes_nothing
--- old
Some(value) if auth == Some(member) => Fate::Become(value.to_owned()),
--- new
Some(value) if false && auth == Some(member) => Fate::Become(value.to_owned()),
--- end
