guard: a rule's path ends where a segment does
file: src/config.rs
test: lib p3_the_query_and_a_longer_segment_open_nothing
--- old
rest.is_empty() || rest.starts_with('/')
--- new
rest.is_empty() || !rest.is_empty()
--- end
