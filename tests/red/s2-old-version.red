guard: no chunks in HTTP/1.0
file: src/intake/wire/scan.rs
test: lib s2_http_1_0_has_no_chunks
--- old
if self.chunked && (self.length.is_some() || self.old_version) {
--- new
if self.chunked && self.length.is_some() {
--- end
