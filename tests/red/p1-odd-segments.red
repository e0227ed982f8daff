guard: dot segments have two readings
file: src/intake/path.rs
test: lib p1_a_path_with_two_readings_is_ambiguous
--- old
if empty || name == "." || name == ".." {
--- new
if empty {
--- end
