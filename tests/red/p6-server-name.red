guard: a connection is for the name it was made for
file: src/intake/admit.rs
test: lib p6_a_connection_is_for_the_name_it_was_made_for
--- old
Some(Some(name)) if name != host => Err(Malformed::Misdirected),
--- new
Some(Some(_)) if false => Err(Malformed::Misdirected),
--- end
