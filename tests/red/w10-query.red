guard: what version 3 puts behind a namespace goes no further
file: src/socket/conversation.rs
test: lib w10_version_3s_query_of_a_namespace_goes_no_further
--- old
            (Version::Three, None) if packet.has_query => {
--- new
            (Version::Three, None) if packet.has_query && packet.has_ack => {
--- end
