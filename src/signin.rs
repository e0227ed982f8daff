//! The sign-in redirect between a tenant's host and the portal: sealed attempt cookies, sealed
//! state, one-time tickets.
