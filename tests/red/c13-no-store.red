guard: nothing of ours is kept by a cache
file: src/reply/headers.rs
test: lib c13_no_refusal_is_kept_by_a_cache
--- old
"private, no-store"
--- new
"public"
--- end
