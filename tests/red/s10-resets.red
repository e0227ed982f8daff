guard: streams that are reset are counted
file: src/connection.rs
test: gateway s10_streams_opened_and_reset_end_the_connection_and_nobody_else_notices
--- old
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(256)
--- new
            .max_pending_accept_reset_streams(2_000_000)
            .max_local_error_reset_streams(2_000_000)
--- end
