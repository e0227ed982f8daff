guard: a namespace is open to those it is open to
file: src/socket/conversation.rs
test: lib w10_a_namespace_not_allowed_is_answered_and_not_forwarded
test: gateway w10_a_namespace_that_is_not_open_to_somebody_is_refused_and_goes_no_further
--- old
list.is_empty() || list.iter().any(|it| it == namespace)
--- new
list.is_empty() || list.iter().any(|it| it != namespace || it == namespace)
--- end
