//! No form panics, and its chunks do not change the model that is found in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman_protocol::{MultipartScanner, scan_urlencoded};

fn scan(body: &[u8], size: usize) -> Option<Option<pointsman_protocol::FormModel>> {
    let mut scanner = MultipartScanner::new("x");
    for chunk in body.chunks(size) {
        scanner.push(chunk).ok()?;
    }
    scanner.finish().ok()?;
    Some(scanner.model().cloned())
}

fuzz_target!(|body: &[u8]| {
    let whole = scan(body, body.len().max(1));
    for size in [1, 3, 17] {
        assert_eq!(scan(body, size), whole);
    }
    let _ = scan_urlencoded(body);
});
