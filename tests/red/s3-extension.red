guard: a chunk extension has a bound
file: src/intake/wire/scan.rs
test: lib s3_chunks_are_framed_strictly
--- old
b'\t' | b' '..=0x7e if self.line < EXTENSION => self.line += 1,
--- new
b'\t' | b' '..=0x7e => self.line += 1,
--- end
