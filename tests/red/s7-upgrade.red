guard: an upgrade header goes no further
file: src/intake/strip.rs
test: lib s7_hop_by_hop_headers_stay_here
--- old
            | "upgrade"
            | "http2-settings"
--- new
            | "http2-settings"
--- end
