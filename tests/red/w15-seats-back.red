guard: a socket that closes gives its seat back
file: src/socket/quota.rs
test: lib w15_seats_are_given_back_whatever_happens
test: gateway w15_a_login_has_so_many_sockets_on_a_tenant_and_each_seat_is_given_back
--- old
        self.0.fetch_sub(1, Ordering::Relaxed);
--- new
        self.0.fetch_sub(0, Ordering::Relaxed);
--- end
