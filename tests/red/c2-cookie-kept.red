guard: our cookies reach no tenant
file: src/intake/credentials.rs
test: lib c2_our_cookies_are_taken_out_and_the_rest_stays_byte_for_byte
--- old
        if is_cookie_of_ours(crumb, found) {
            ours = true;
        } else if first {
--- new
        ours |= is_cookie_of_ours(crumb, found);
        if first {
--- end
