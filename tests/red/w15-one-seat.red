guard: a connection that goes over to a WebSocket has one seat
file: src/socket/guard.rs
test: gateway w15_a_connection_that_goes_over_to_a_websocket_has_one_seat
--- old
                    upgrading.rise();
--- new
                    drop(upgrading.conversation());
--- end
