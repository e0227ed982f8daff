guard: heads have bounds
file: src/intake/wire/scan.rs
test: lib h12_heads_have_bounds_and_cookies_a_wider_one
--- old
if self.head > self.bounds.head || self.line > line {
--- new
if self.head > self.bounds.head && self.line > line {
--- end
