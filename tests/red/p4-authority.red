guard: the target and Host agree
file: src/intake/admit.rs
test: lib p4_the_target_and_host_must_agree
test: lib s9_over_http_2_authority_and_host_agree
--- old
Some(line) if line != target => Err(Malformed::Authority),
--- new
Some(_) if false => Err(Malformed::Authority),
--- end
