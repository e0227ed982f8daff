guard: a polling id is worth something to its own login alone
file: src/socket/seal.rs
test: lib w11_no_byte_of_a_sealed_id_can_be_changed
test: lib w11_a_sid_of_somebody_else_opens_nothing
test: gateway w11_a_polling_id_is_worth_something_to_its_own_login_alone
--- old
secret::equal(expected.as_bytes(), mac.as_bytes()).then_some(Opened { id, replica })
--- new
(expected.len() == mac.len()).then_some(Opened { id, replica })
--- end
