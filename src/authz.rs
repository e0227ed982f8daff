//! May they? A pure function of the route, the request line, the identity and the clock.
