//! Paths: what parses keeps its text and its invariant, by every way of taking it apart and putting
//! it together again; what does not parse is refused with the right kind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nexus_core::{ErrorKind, VfsPath};

fuzz_target!(|text: &str| {
    let path = match VfsPath::parse(text) {
        Ok(path) => path,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidPath);
            assert!(!is_valid(text), "refused a valid path");
            return;
        }
    };
    assert!(is_valid(text), "took an invalid path");
    assert_eq!(path.as_str(), text);
    assert_eq!(path.key(), &text[1..]);

    let rejoined = path.segments().try_fold(VfsPath::root(), |at, segment| at.join(segment));
    assert_eq!(rejoined.as_ref().ok(), Some(&path));

    match (path.parent(), path.file_name()) {
        (None, None) => assert!(path.is_root()),
        (Some(parent), Some(name)) => {
            assert_eq!(parent.join(name).ok().as_ref(), Some(&path));
            assert!(path.starts_with(&parent) && !parent.starts_with(&path));
            let inner = path.strip_prefix(&parent).expect("a child is below its parent");
            assert_eq!(inner.as_str(), format!("/{name}"));
        }
        other => panic!("a parent without a name, or the reverse: {other:?}"),
    }

    // Every ancestor, as a mount point: the path is the point and what is below it.
    let mut at = Some(path.clone());
    while let Some(point) = at {
        let inner = path.strip_prefix(&point).expect("a path is below its ancestors");
        assert_eq!(point.concat(&inner).ok().as_ref(), Some(&path));
        at = point.parent();
    }
});

/// The rule, written another way.
fn is_valid(text: &str) -> bool {
    let segments = || text.split('/').skip(1);
    text == "/"
        || text.starts_with('/')
            && text.len() <= VfsPath::MAX_BYTES
            && !text.contains('\0')
            && segments().all(|segment| !segment.is_empty() && segment != "." && segment != "..")
}
