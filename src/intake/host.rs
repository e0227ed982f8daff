//! Host names in requests.
