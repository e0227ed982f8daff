guard: Connection cannot take away what requests are judged by
file: src/intake/strip.rs
test: lib h4_connection_takes_out_what_it_names_but_not_what_we_judge_by
--- old
.filter(|it: &HeaderName| !is_end_to_end(it.as_str()))
--- new
.filter(|_: &HeaderName| true)
--- end
