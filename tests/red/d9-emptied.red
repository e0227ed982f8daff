guard: an emptied file does not open a gate
file: src/config/reload.rs
test: lib d9_an_emptied_file_does_not_open_a_gate_that_guards
--- old
if let (Some(before), None) = (&running.root_domain, &loaded.config.root_domain) {
--- new
if let (Some(before), None, true) = (&running.root_domain, &loaded.config.root_domain, false) {
--- end
