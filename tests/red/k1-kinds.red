guard: a verifier names the kind that it wants
file: src/token/form.rs
test: lib k1_no_kind_is_taken_for_another
--- old
if header.typ != kind.typ() || header.alg != alg {
--- new
if header.alg != alg {
--- end
