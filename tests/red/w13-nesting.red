guard: arrays and objects nest so deep
file: src/socket/json.rs
test: lib w13_depth_is_bounded
test: gateway w13_each_limit_of_a_message_has_its_code_and_is_counted
--- old
                    if depth.saturating_add(level) > MOST_DEEP {
--- new
                    if depth.saturating_add(level) > u32::MAX - 1 {
--- end
