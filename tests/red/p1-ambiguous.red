guard: a path with two readings is refused where a rule hangs on it
file: src/authz.rs
test: gateway p1_a_path_with_two_readings_leads_around_no_rule
--- old
if route.path_matters && ask.path == Decided::Ambiguous {
--- new
if false {
--- end
