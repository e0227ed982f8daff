guard: a token is for one host of one tenant
file: src/token.rs
test: lib c3_a_token_is_for_one_host_of_one_tenant
--- old
if self.aud != want.host.as_str() || self.tid != want.tenant.as_str() {
--- new
if false {
--- end
