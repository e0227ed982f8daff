guard: what a former tenant left is cleared
file: src/signin/notes.rs
test: lib b2_a_browser_clears_what_a_former_tenant_left
--- old
clear: last.is_some() || changed_hands,
--- new
clear: false,
--- end
