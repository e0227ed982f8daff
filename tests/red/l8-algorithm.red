guard: the algorithm comes from the kind
file: src/token/form.rs
test: lib l8_the_algorithm_comes_from_the_kind_and_never_from_the_token
--- old
if header.typ != kind.typ() || header.alg != alg {
--- new
if header.typ != kind.typ() {
--- end
