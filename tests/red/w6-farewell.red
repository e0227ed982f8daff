guard: Socket.IO is told and disconnected
file: src/socket/conversation.rs
test: lib w6_w7_socket_io_is_told_and_disconnected_on_both_sides
test: lib w7_the_farewell_names_every_namespace_once
--- old
            out.push(packet('1', &it.name, ""));
        }
        out
--- new
        }
        out
--- end
