//! `read` and `stat`: the bytes asked for, and the metadata of those very bytes.

use nexus_core::{ByteRange, ErrorKind, Operation, ReadOptions, Version};

use super::cases;
use super::subject::{Subject, agree, done, refused};
use crate::support::{content, path, together};

cases! {
    serves_the_whole_with_its_metadata: |c| c.write,
    a_small_body_is_one_piece: |c| c.write,
    the_root_is_a_directory: |_| true,
    nothing_is_not_found: |_| true,
    a_directory_has_no_content: |c| c.write,
    below_a_file_is_nothing: |c| c.write,
    serves_ranges: |c| c.write,
    serves_ranges_of_nothing: |c| c.write,
    serves_ranges_of_a_large_object: |c| c.write,
    if_match_serves_one_version_only: |c| c.write && c.versions,
    if_none_match_serves_any_other_version: |c| c.write && c.versions,
    preconditions_of_nothing_are_not_found: |c| c.versions,
    a_body_outlives_its_object: |c| c.write,
    a_dropped_body_harms_nothing: |c| c.write,
    many_read_at_once: |c| c.write,
}

async fn serves_the_whole_with_its_metadata(store: &Subject) {
    let written = store.put("/d/a", "hello").await;
    let (metadata, bytes) = done(store.read("/d/a", &ReadOptions::default()).await);
    assert_eq!(bytes, "hello");
    assert_eq!(metadata.size, Some(5));
    agree(&metadata, &written);
    agree(&metadata, &done(store.stat("/d/a").await));
}

async fn a_small_body_is_one_piece(store: &Subject) {
    let small = content(6, 1000);
    store.put("/a", small.clone()).await;
    let object = done(store.backend().read(&path("/a"), &ReadOptions::default()).await);
    let mut body = object.body;
    assert_eq!(done(body.next().await.unwrap()), small);
    assert!(body.next().await.is_none());
}

async fn the_root_is_a_directory(store: &Subject) {
    assert!(done(store.stat("/").await).is_dir());
    let read = store.read("/", &ReadOptions::default()).await;
    refused(read, ErrorKind::IsADirectory, Operation::Read, &["/"]);
}

async fn nothing_is_not_found(store: &Subject) {
    for at in ["/nothing", "/no/such/place"] {
        refused(store.stat(at).await, ErrorKind::NotFound, Operation::Stat, &[at]);
        let read = store.read(at, &ReadOptions::default()).await;
        refused(read, ErrorKind::NotFound, Operation::Read, &[at]);
    }
}

async fn a_directory_has_no_content(store: &Subject) {
    store.put("/d/a", "x").await;
    assert!(done(store.stat("/d").await).is_dir());
    let read = store.read("/d", &ReadOptions::default()).await;
    refused(read, ErrorKind::IsADirectory, Operation::Read, &["/d"]);
}

async fn below_a_file_is_nothing(store: &Subject) {
    store.put("/f", "x").await;
    for at in ["/f/x", "/f/x/y"] {
        let read = store.read(at, &ReadOptions::default()).await.map(drop);
        for (result, operation) in
            [(store.stat(at).await.map(drop), Operation::Stat), (read, Operation::Read)]
        {
            let kind = match &result {
                Err(error) if error.kind() == ErrorKind::NotADirectory => ErrorKind::NotADirectory,
                _ => ErrorKind::NotFound,
            };
            refused(result, kind, operation, &[at]);
        }
    }
}

/// Reads `start..end` of an object of `size` bytes, which must be what slicing the content gives.
async fn serves(store: &Subject, at: &str, whole: &[u8], start: u64, end: Option<u64>) {
    let options = ReadOptions::range(ByteRange::new(start, end).unwrap());
    let read = store.read(at, &options).await;
    let size = whole.len() as u64;
    if start > size {
        refused(read, ErrorKind::RangeNotSatisfiable, Operation::Read, &[at]);
        return;
    }
    let (metadata, bytes) = done(read);
    let cut = end.unwrap_or(size).min(size);
    assert_eq!(metadata.size, Some(size), "the size of the whole");
    assert!(bytes == whole[start as usize..cut as usize], "other bytes for {start}..{end:?}");
}

async fn serves_ranges(store: &Subject) {
    store.put("/a", "0123456789").await;
    let ends = [None, Some(0), Some(1), Some(7), Some(10), Some(11), Some(u64::MAX)];
    for start in [0, 1, 5, 9, 10, 11, 4096, u64::MAX] {
        for end in ends.into_iter().filter(|end| end.is_none_or(|end| end >= start)) {
            serves(store, "/a", b"0123456789", start, end).await;
        }
    }
    serves(store, "/a", b"0123456789", 3, Some(3)).await;
}

async fn serves_ranges_of_nothing(store: &Subject) {
    store.put("/empty", "").await;
    for (start, end) in [(0, None), (0, Some(0)), (0, Some(9)), (1, None), (1, Some(1))] {
        serves(store, "/empty", b"", start, end).await;
    }
}

async fn serves_ranges_of_a_large_object(store: &Subject) {
    let whole = content(3, 2_500_003);
    store.put("/large", whole.clone()).await;
    for start in [0, 1, 4095, 65_536, 1 << 20, 2_500_002, 2_500_003, 2_500_004] {
        for length in [Some(0), Some(1), Some(65_537), Some(1_100_000), None] {
            serves(store, "/large", &whole, start, length.map(|length| start + length)).await;
        }
    }
}

async fn if_match_serves_one_version_only(store: &Subject) {
    let first = store.put("/a", "first").await.version.unwrap();
    let only = |version: &Version| ReadOptions {
        if_match: Some(version.clone()),
        range: Some(ByteRange::from(1..)),
        ..ReadOptions::default()
    };
    let (metadata, bytes) = done(store.read("/a", &only(&first)).await);
    assert_eq!((metadata.version, bytes), (Some(first.clone()), "irst".into()));
    let second = store.put("/a", "other").await.version.unwrap();
    let stale = store.read("/a", &only(&first)).await;
    refused(stale, ErrorKind::PreconditionFailed, Operation::Read, &["/a"]);
    assert_eq!(done(store.read("/a", &only(&second)).await).1, "ther");
}

async fn if_none_match_serves_any_other_version(store: &Subject) {
    let first = store.put("/a", "first").await.version.unwrap();
    let unless = |version: &Version| ReadOptions {
        if_none_match: Some(version.clone()),
        ..ReadOptions::default()
    };
    let same = store.read("/a", &unless(&first)).await;
    refused(same, ErrorKind::NotModified, Operation::Read, &["/a"]);
    let second = store.put("/a", "second").await.version;
    let (metadata, bytes) = done(store.read("/a", &unless(&first)).await);
    assert_eq!((metadata.version, bytes), (second, "second".into()));
}

async fn preconditions_of_nothing_are_not_found(store: &Subject) {
    let version = Some(Version::new("1"));
    for options in [
        ReadOptions { if_match: version.clone(), ..ReadOptions::default() },
        ReadOptions { if_none_match: version, ..ReadOptions::default() },
    ] {
        let read = store.read("/nothing", &options).await;
        refused(read, ErrorKind::NotFound, Operation::Read, &["/nothing"]);
    }
}

/// What was opened stays what it was, or the transfer fails; it never becomes another object.
async fn a_body_outlives_its_object(store: &Subject) {
    let (first, second) = (content(1, 6 << 20), content(2, 5 << 20));
    for replaced in [true, false] {
        store.put("/a", first.clone()).await;
        let object = store.backend().read(&path("/a"), &ReadOptions::default()).await;
        let mut body = done(object).body;
        let begin = done(body.next().await.unwrap());
        if replaced {
            store.put("/a", second.clone()).await;
        } else {
            done(store.delete("/a").await);
        }
        if let Ok(rest) = body.bytes(first.len()).await {
            assert!([begin, rest].concat() == first, "bytes of two objects in one body");
        }
    }
}

async fn a_dropped_body_harms_nothing(store: &Subject) {
    let whole = content(4, 4 << 20);
    store.put("/a", whole.clone()).await;
    for _ in 0..20 {
        let object = store.backend().read(&path("/a"), &ReadOptions::default()).await;
        let mut body = done(object).body;
        let first = done(body.next().await.unwrap());
        assert!(whole.starts_with(&first));
    }
    assert!(store.get("/a").await == whole);
    store.put("/a", "new").await;
    assert_eq!(store.get("/a").await, "new");
}

async fn many_read_at_once(store: &Subject) {
    let whole = content(5, 300_000);
    store.put("/a", whole.clone()).await;
    let read = together(16, |index| {
        let backend = store.shared();
        async move {
            let start = index as u64 * 10_000;
            let object = backend.read(&path("/a"), &ReadOptions::range(start..)).await?;
            object.body.bytes(1 << 20).await
        }
    })
    .await;
    for (index, bytes) in read.into_iter().enumerate() {
        assert!(done(bytes) == whole[index * 10_000..], "task {index}");
    }
}
