guard: no ticket for a fetch or a frame
file: src/portal/onward.rs
test: lib b3_a_fetch_or_a_frame_gets_a_page_and_no_ticket
--- old
        || !visit.asker.navigation

--- new

--- end
