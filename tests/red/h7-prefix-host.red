guard: what a trusted proxy says of the host is a host
file: src/intake/client.rs
test: lib h7_h8_only_a_trusted_proxy_is_heard_and_only_if_it_makes_sense
--- old
one("x-forwarded-host").filter(|it| super::host::parse(it).is_ok())
--- new
one("x-forwarded-host")
--- end
