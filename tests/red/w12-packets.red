guard: a body of a client's has so many packets
file: src/socket/polling.rs
test: lib w12_packets_are_counted_where_a_client_sends_them_and_a_tenant_sends_all_it_has
test: gateway w12_a_body_has_so_many_packets_and_a_tenant_is_heard_whole
--- old
        if count >= most {
--- new
        if count >= most && count == 0 {
--- end
