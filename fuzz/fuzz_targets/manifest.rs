//! Manifests: whatever bytes a store holds, they decode to what encodes to the same bytes, or are refused
//! with the right kind; what decodes fits together.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nexus_cas::manifest::Manifest;
use nexus_core::{Digest, ErrorKind};

fuzz_target!(|body: &[u8]| {
    // The digest that the manifest names, where there is one.
    let named = body.get(1..33).and_then(|bytes| bytes.try_into().ok());
    let digest = Digest::from_bytes(named.unwrap_or_default());
    check(&digest, body);
    // With an id that fits, so that the parser behind it is reached.
    check(&digest, &[body, &id(body)].concat());
});

/// The id, written another way.
fn id(body: &[u8]) -> [u8; 32] {
    blake3::derive_key("nexus-fs 2026 manifest v1", body)
}

fn check(digest: &Digest, bytes: &[u8]) {
    let manifest = match Manifest::decode(digest, bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            let kinds = [ErrorKind::IntegrityMismatch, ErrorKind::Unsupported];
            assert!(kinds.contains(&error.kind()), "{:?}", error.kind());
            return;
        }
    };
    assert_eq!(manifest.digest(), *digest);
    assert_eq!(manifest.encode(), bytes);
    let mut at = 0;
    for chunk in manifest.chunks() {
        assert!(chunk.length > 0);
        assert!(manifest.offset_of(&chunk.digest).expect("it is one of the chunks") <= at);
        at += u64::from(chunk.length);
    }
    assert_eq!(at, manifest.size());
}
