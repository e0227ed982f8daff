guard: who goes on sending in vain is closed
file: src/socket/conversation/rate.rs
test: gateway w15_what_is_too_much_is_dropped_and_told_and_a_flood_is_closed
test: gateway w15_all_sockets_of_a_login_share_one_pace_by_either_transport
--- old
        if !pace.take(&self.rate.vain, count, self.rate.now) {
--- new
        if !pace.take(&self.rate.vain, count, self.rate.now) && count == 0 {
--- end
