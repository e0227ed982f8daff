guard: no service worker on our own paths, nor where the file says none
file: src/forward.rs
test: lib b2_service_workers_stay_where_they_may_be
--- old
if is_script && (route
--- new
if false && is_script && (route
--- end
