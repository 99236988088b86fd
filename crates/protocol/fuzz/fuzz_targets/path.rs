//! No path panics, and percent-encoding does not hide an administration path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman_protocol::{Api, Route};

fuzz_target!(|path: &str| {
    let route = Api::of("POST", path);
    if path == "/sleep" || path == "/v1/load_lora_adapter" {
        assert_eq!(route, Route::Administration);
    }
    let escaped: String = path.bytes().map(|byte| format!("%{byte:02x}")).collect();
    if route == Route::Administration && !path.contains(['?', '#']) {
        assert_eq!(Api::of("POST", &escaped), Route::Administration);
    }
});
