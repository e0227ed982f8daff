//! Polling bodies of version 4, both ways. What goes on is packets that would pass one by one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::socket::engineio::Version;

fuzz_target!(|bytes: &[u8]| portcullis_fuzz::polling::run(bytes, Version::Four));
