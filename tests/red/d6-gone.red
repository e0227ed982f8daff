guard: a socket ends with the replica it leads to
file: src/authz/vigil.rs
test: lib w5_a_tenant_that_is_gone_or_another_closes_and_an_equal_table_does_not
test: gateway d6_when_a_replica_dies_its_sockets_close_and_nothing_goes_to_its_address_again
test: gateway w5_only_the_sockets_that_a_change_concerns_are_closed_each_with_its_code
--- old
        if !is_here {
--- new
        if !is_here && self.upstream.port() == 0 {
--- end
