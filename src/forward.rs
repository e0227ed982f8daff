//! Carries it there and back: pool, headers, bodies.
