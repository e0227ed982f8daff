guard: a tenant sets no cookie of ours, and none for its siblings
file: src/forward/clean.rs
test: lib h13_a_tenant_speaks_for_itself_only
--- old
        Level::Guarded => {
            drop_cookies(headers, rules);
--- new
        Level::Guarded => {
--- end
