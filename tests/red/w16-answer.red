guard: a tenant's answer to a poll is bounded by its bytes
file: src/pipeline/engine.rs
test: gateway w16_a_tenants_answer_to_a_poll_is_bounded_by_its_bytes
--- old
collect(body, engine.max_answer).await
--- new
collect(body, usize::MAX).await
--- end
