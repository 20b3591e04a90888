//! Rows of refs: whatever bytes a store holds for a path, they decode to what encodes to the same bytes, or
//! are refused with the right kind; no row fits another path.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nexus_cas::record::Record;
use nexus_core::ErrorKind;

fuzz_target!(|body: &[u8]| {
    check("/a/b", body);
    // With a check that fits, so that the parser behind it is reached.
    let whole = [body, &seal("/a/b", body)].concat();
    check("/a/b", &whole);
    let error = Record::decode("/a/c", &whole).expect_err("a row of another path");
    assert_eq!(error.kind(), ErrorKind::IntegrityMismatch);
});

/// The check, written another way.
fn seal(path: &str, body: &[u8]) -> [u8; 16] {
    let length = (path.len() as u64).to_le_bytes();
    let sealed = [&length, path.as_bytes(), body].concat();
    let key = blake3::derive_key("nexus-fs 2026 ref record v1", &sealed);
    *key.first_chunk().expect("a key is longer")
}

fn check(path: &str, bytes: &[u8]) {
    match Record::decode(path, bytes) {
        Ok(record) => {
            assert_eq!(record.encode(path), bytes);
            let metadata = record.metadata();
            assert_eq!(metadata.digest, record.file().map(|file| file.digest));
        }
        Err(error) => {
            let kinds = [ErrorKind::IntegrityMismatch, ErrorKind::Unsupported];
            assert!(kinds.contains(&error.kind()), "{:?}", error.kind());
        }
    }
}
