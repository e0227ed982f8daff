guard: nobody gets a host of another's
file: src/discovery/claims.rs
test: lib p11_nobody_gets_a_host_of_anothers
--- old
        let Some(released) = held.released else {
            return Some(belongs_to(held));
        };
--- new
        let Some(released) = held.released else {
            return None;
        };
--- end
