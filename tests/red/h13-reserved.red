guard: a tenant says nothing that only the gateway says
file: src/forward/clean.rs
test: lib h13_a_tenant_speaks_for_itself_only
--- old
            drop_reserved(headers);
            guard(headers);
--- new
            guard(headers);
--- end
