guard: a login and a tenant have so many sockets and no more
file: src/socket/quota.rs
test: lib w15_seats_are_given_back_whatever_happens
test: gateway w15_a_login_has_so_many_sockets_on_a_tenant_and_each_seat_is_given_back
test: gateway w15_a_tenant_has_so_many_sockets_and_its_neighbours_have_their_own
--- old
(most == 0 || taken < most).then
--- new
(most == 0 || taken < u32::MAX).then
--- end
