guard: nobody says who they are in CONNECT
file: src/socket/conversation.rs
test: lib w8_nobody_says_who_they_are_in_connect
--- old
const IDENTITY: [&str; 2] = ["user", "token"];
--- new
const IDENTITY: [&str; 2] = ["uzer", "token"];
--- end
