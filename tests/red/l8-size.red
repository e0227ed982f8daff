guard: a huge token is not even read
file: src/token/form.rs
test: lib l8_a_huge_token_is_not_even_read
--- old
if token.len() > LARGEST {
--- new
if false {
--- end
