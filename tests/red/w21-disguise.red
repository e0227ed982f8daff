guard: a key in disguise is refused
file: src/socket/conversation.rs
test: lib w21_a_disguised_or_repeated_key_is_refused
test: gateway w21_what_no_encoder_writes_closes_and_goes_nowhere_by_either_transport
--- old
            Same::Disguised => return Err(Refused::Grammar("a key in disguise")),
--- new
            Same::Disguised => (),
--- end
