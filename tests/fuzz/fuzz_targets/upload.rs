//! The control plane's door for uploads: any message that can be decoded is refused, or becomes
//! records within the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| control_plane::fuzzing::upload(bytes));
