guard: a message has so many attachments
file: src/socket/socketio.rs
test: lib w13_attachments_are_counted
test: gateway w13_each_limit_of_a_message_has_its_code_and_is_counted
--- old
        if attachments > MOST_ATTACHMENTS {
--- new
        if attachments > MOST_ATTACHMENTS && attachments == 0 {
--- end
