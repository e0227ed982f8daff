guard: the way back never leaves the host
file: src/signin/location.rs
test: lib c4_the_way_back_never_leaves_the_host
--- old
format!("https://{open}{host}{close}{port}{target}")
--- new
format!("{target}")
--- end
