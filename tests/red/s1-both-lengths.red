guard: one length alone
file: src/intake/wire/scan.rs
test: lib s1_ambiguous_framing_is_refused
--- old
if self.chunked && (self.length.is_some() || self.old_version) {
--- new
if self.chunked && self.old_version {
--- end
