guard: a cookie that came twice counts for nothing
file: src/intake/credentials.rs
test: lib c1_a_cookie_that_came_twice_counts_for_nothing
--- old
            Some(_) => Err(Repeated),
--- new
            Some(ref first) => first.clone(),
--- end
