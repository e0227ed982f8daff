guard: a query is what we wrote, to the letter
file: src/signin/query.rs
test: lib c6_an_altered_or_rearranged_query_is_refused
--- old
    if is_base64url {
--- new
    if is_base64url || true {
--- end
