guard: there is one Host
file: src/intake/wire/scan.rs
test: lib p5_there_is_one_host
--- old
b"host" if self.host => Err(Malformed::Host),
--- new
b"host" if false => Err(Malformed::Host),
--- end
