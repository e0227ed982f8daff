guard: nobody says who they are in a message
file: src/socket/conversation/event.rs
test: lib w23_client_and_foreign_socket_id_never_reach_a_flow
test: gateway w23_no_identity_and_no_token_that_a_client_sends_reaches_a_flow_or_a_room
--- old
if client == Some(member) || foreign == Some(member) {
--- new
if foreign == Some(member) {
--- end
