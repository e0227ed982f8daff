guard: a ticket is for one host, tenant and browser
file: src/store/sqlite/tickets.rs
test: lib c5_a_ticket_is_for_one_host_one_tenant_one_browser_and_thirty_seconds
--- old
if !fits || !lives(
--- new
if !lives(
--- end
