guard: our cookies are secure and host-only
file: src/signin/cookie.rs
test: lib h8_our_cookies_are_secure_and_host_only_whatever_the_request_said
--- old
; Secure; HttpOnly
--- new
; HttpOnly
--- end
