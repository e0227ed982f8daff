guard: who reads nothing is closed
file: src/socket/relay/stall.rs
test: lib w16_who_reads_nothing_is_closed_and_who_reads_slowly_is_not
test: gateway w16_a_client_that_does_not_read_is_closed_and_its_tenant_goes_on
--- old
                if direction.unread > LOOKS {
--- new
                if direction.unread > LOOKS * 1000 {
--- end
