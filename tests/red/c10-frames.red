guard: nobody frames us
file: src/reply/headers.rs
test: lib c10_nobody_frames_us_or_holds_our_window
--- old
form-action 'self'; frame-ancestors 'none'; base-uri 'none'
--- new
form-action 'self'; base-uri 'none'
--- end
