guard: the end of a grant ends that host
file: src/session/cell.rs
test: lib b4_the_end_of_a_grant_ends_that_host_alone
--- old
        grant.check()?;
        Ok(Lease {
--- new
        Ok(Lease {
--- end
