guard: a header has nothing else in it
file: src/token/form.rs
test: lib l8_a_header_with_anything_else_in_it_is_refused
--- old
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
--- new
#[derive(Deserialize)]
struct Header {
--- end
